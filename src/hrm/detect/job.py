"""Detection as an HRM job: a manifest that its tasks share, and the results they leave, put together at the end.

The job's own directory (``.hrm-detect-…`` under the output directory) holds ``manifest.json`` and ``results/``, one
file of JSON lines per attempt of a task. Tasks only ever add whole lines to a file of their own, so an attempt that
was lost, or runs twice, costs nothing and doubles nothing. All nodes must see photos, model and output under the same
paths.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from hrm.detect.models import check_device, find_model
from hrm.detect.photos import picture_names
from hrm.detect.results import RESULTS_DIR, PhotoResult, read_results
from hrm.model.errors import ClusterError, InvalidInput
from hrm.model.jobs import JobSpec, TaskGroupSpec
from hrm.model.resources import Resources

DEFAULT_MODEL = "yolov3-tiny"
#: Of the default number of tasks: loading the model costs each as much as about ten photos.
MAX_DEFAULT_TASKS = 64
DETECTIONS_FILE = "detections.jsonl"
_RETRIES = 2
_CPU_RESOURCES = Resources(memory_mib=1024, vcores_milli=1000)
_CUDA_RESOURCES = Resources(memory_mib=2048, vcores_milli=1000, gpus_milli=1000)


class PhotoTask(msgspec.Struct, frozen=True, kw_only=True):
    """One photo to do. Absolute paths."""

    path: str
    picture: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What all tasks of a job share."""

    #: Directory with the model's files.
    model: str
    threshold: float
    device: str
    photos: list[PhotoTask]


def detection_job(
    photos: Sequence[Path],
    out: Path,
    *,
    tasks: int | None = None,
    queue: str | None = None,
    model: str = DEFAULT_MODEL,
    threshold: float = 0.5,
    device: str = "cpu",
    home: Path | None = None,
) -> JobSpec:
    """A job of ``tasks`` tasks (default: one per photo, at most `MAX_DEFAULT_TASKS`) that finds boxes in ``photos``.

    Pictures go to ``out``; `collect` puts the rest there when the job has ended. Writes the manifest, so ``out`` is
    made. Raises NotFound if the model was not pulled, InvalidInput for values out of range or an ``out`` that cannot
    be a directory.
    """
    if not photos:
        raise InvalidInput("none given", field="photos")
    if not 0 < threshold < 1:
        raise InvalidInput(f"must be between 0 and 1: {threshold}", field="threshold")
    if tasks is not None and tasks < 1:
        raise InvalidInput(f"must be at least 1: {tasks}", field="tasks")
    check_device(device)
    files = find_model(model, home=home)
    # A task runs elsewhere, in a directory of its own.
    photos = [photo.expanduser().absolute() for photo in photos]
    out = out.expanduser().absolute()
    pictures = [out / name for name in picture_names(photos)]
    _refuse_overwriting(photos, pictures)
    manifest = Manifest(
        model=str(files.cfg.parent),
        threshold=threshold,
        device=device,
        photos=[
            PhotoTask(path=str(photo), picture=str(picture)) for photo, picture in zip(photos, pictures, strict=True)
        ],
    )
    return JobSpec(
        name="detect",
        queue=queue,
        groups=(
            TaskGroupSpec(
                name="detect",
                command=(
                    sys.executable,
                    "-P",
                    "-m",
                    "hrm.detect.worker",
                    "--manifest",
                    str(_write_manifest(manifest, out)),
                ),
                # More tasks than photos would have nothing to do.
                tasks=min(tasks or MAX_DEFAULT_TASKS, len(photos)),
                resources=_CUDA_RESOURCES if device == "cuda" else _CPU_RESOURCES,
                retries=_RETRIES,
            ),
        ),
    )


def manifest_path(job: JobSpec) -> Path:
    """Where a job of `detection_job` keeps its manifest."""
    command = job.groups[0].command
    return Path(command[command.index("--manifest") + 1])


def collect(job: JobSpec) -> list[PhotoResult]:
    """Put the results of an ended job together, in the order of its photos.

    They are written to ``detections.jsonl`` beside the pictures and returned. A photo that no task finished gets an
    ``error`` that says so. The job's own directory is removed afterwards.
    """
    path = manifest_path(job)
    manifest = read_manifest(path)
    done = {line.index: line.result for line in read_results(path.parent)}
    model = Path(manifest.model).name
    results = [
        done.get(index) or PhotoResult.failed(photo.path, model, "no task finished it")
        for index, photo in enumerate(manifest.photos)
    ]
    out = path.parent.parent
    partial = path.parent / DETECTIONS_FILE
    try:
        with partial.open("wb") as file:
            file.writelines(msgspec.json.encode(result) + b"\n" for result in results)
        partial.replace(out / DETECTIONS_FILE)
    except OSError as error:
        raise ClusterError(
            f"cannot write {out / DETECTIONS_FILE}: {error.strerror}", next_step="make room there"
        ) from error
    shutil.rmtree(path.parent, ignore_errors=True)
    return results


def discard(job: JobSpec) -> None:
    """Forget a job that will not run: remove its manifest and results."""
    shutil.rmtree(manifest_path(job).parent, ignore_errors=True)


def read_manifest(path: Path) -> Manifest:
    """Raises InvalidInput if there is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        raise InvalidInput(f"cannot be read: {error.strerror}", field=str(path)) from error
    except msgspec.MsgspecError as error:
        raise InvalidInput(f"not a manifest: {error}", field=str(path)) from error


def _refuse_overwriting(photos: Sequence[Path], pictures: Sequence[Path]) -> None:
    places = {picture.name: picture for picture in pictures}
    for photo in photos:
        place = places.get(photo.name)
        if place and place.exists() and photo.exists() and place.samefile(photo):
            raise InvalidInput(f"would overwrite the photo {photo}", field="out", next_step="choose another directory")


def _write_manifest(manifest: Manifest, out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
        directory = Path(tempfile.mkdtemp(prefix=".hrm-detect-", dir=out))
        (directory / RESULTS_DIR).mkdir()
        path = directory / "manifest.json"
        path.write_bytes(msgspec.json.encode(manifest))
    except OSError as error:
        raise InvalidInput(f"cannot be written: {error.strerror}", field=f"out {out}") from error
    return path
