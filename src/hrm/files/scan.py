"""What is in a directory that somebody uploads, as a manifest, and its contents exactly as that says.

A file that changes between the two is noticed: by size, times and inode, looked at before and after it is read, and in
the end by its hash, for what is sent is hashed again where it arrives.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from pathspec import GitIgnoreSpec

from hrm.files.manifest import Entry, Kind, Manifest, check_link, make
from hrm.files.pack import PIECE_BYTES, pack
from hrm.model.errors import InvalidInput

IGNORE_FILE = ".hrmignore"
#: Nobody wants these on a node; a `.hrmignore` may take them in again (``!.git/``).
IGNORED = (".git/", "__pycache__/", ".venv/", ".hrm-*")
_LEAVE = f"leave it out by a line in {IGNORE_FILE}"
_State = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class _Found:
    path: Path
    state: _State


class Scan:
    """One look at ``directory``. Raises InvalidInput where a file cannot be read, or a link leads out of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        if not directory.is_dir():
            what = "is not a directory" if directory.exists() else "is not there"
            raise InvalidInput(f"{directory} {what}", field="upload", next_step="name a directory")
        self._ignored = GitIgnoreSpec.from_lines([*IGNORED, *_ignore_lines(directory)])
        self._by_digest: dict[str, _Found] = {}
        self.manifest: Manifest = make(self._entries())

    def pack(self, digests: Collection[str]) -> Iterator[bytes]:
        """Those contents as a pack. Raises InvalidInput, with its name, for a file that changed since the look."""
        sizes = self.manifest.contents
        return pack((digest, sizes[digest], partial(_steady, self._by_digest[digest])) for digest in sorted(digests))

    def _entries(self) -> Iterator[Entry]:
        unseen = [""]
        while unseen:
            folder = unseen.pop()
            for name in _names(self.directory / folder):
                path = f"{folder}/{name}" if folder else name
                entry = self._entry(path)
                if entry is not None:
                    if entry.kind is Kind.DIRECTORY:
                        unseen.append(path)
                    yield entry

    def _entry(self, path: str) -> Entry | None:
        where = self.directory / path
        try:
            path.encode()
        except UnicodeEncodeError:
            raise InvalidInput(f"{where!r} has a name that is not UTF-8", field="upload", next_step=_LEAVE) from None
        try:
            mode = where.lstat().st_mode
        except FileNotFoundError:
            raise _changed(where) from None
        if self._ignored.match_file(f"{path}/" if stat.S_ISDIR(mode) else path):
            return None
        if stat.S_ISDIR(mode):
            return Entry(path=path, kind=Kind.DIRECTORY)
        if stat.S_ISLNK(mode):
            target = os.readlink(where)
            try:
                check_link(path, target)
            except InvalidInput as error:
                raise InvalidInput(error.problem, field="upload", next_step=error.next_step) from None
            return Entry(path=path, kind=Kind.LINK, target=target)
        if not stat.S_ISREG(mode):
            raise InvalidInput(f"{where} is neither a file nor a directory", field="upload", next_step=_LEAVE)
        return self._file(path, where, executable=bool(mode & stat.S_IXUSR))

    def _file(self, path: str, where: Path, *, executable: bool) -> Entry:
        before = _state(where)
        digest = hashlib.sha256()
        size_bytes = 0
        with _open(where) as file:
            while data := file.read(PIECE_BYTES):
                digest.update(data)
                size_bytes += len(data)
        if _state(where) != before or size_bytes != before[0]:
            raise _changed(where)
        self._by_digest[digest.hexdigest()] = _Found(where, before)
        return Entry(path=path, kind=Kind.FILE, digest=digest.hexdigest(), size_bytes=size_bytes, executable=executable)


@contextmanager
def _steady(found: _Found) -> Iterator[BinaryIO]:
    """The file, if it is what was looked at, before and after it is read."""
    if _state(found.path) != found.state:
        raise _changed(found.path)
    try:
        with _open(found.path) as file:
            yield file
    except InvalidInput:
        raise _changed(found.path) from None
    if _state(found.path) != found.state:
        raise _changed(found.path)


def _names(folder: Path) -> Iterable[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise _unreadable(folder, error) from None


def _open(path: Path) -> BinaryIO:
    try:
        # What became a link or a FIFO meanwhile is not what was looked at.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _unreadable(path, error) from None
    return os.fdopen(fd, "rb", buffering=0)


def _state(path: Path) -> _State:
    """What tells whether a file has changed."""
    try:
        status = path.lstat()
    except OSError:
        raise _changed(path) from None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev


def _ignore_lines(directory: Path) -> list[str]:
    try:
        return (directory / IGNORE_FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except UnicodeDecodeError:
        raise InvalidInput(f"{directory / IGNORE_FILE} is not UTF-8", field="upload") from None
    except OSError as error:
        raise _unreadable(directory / IGNORE_FILE, error) from None


def _unreadable(path: Path, error: OSError) -> InvalidInput:
    return InvalidInput(
        f"{path} cannot be read: {error.strerror}", field="upload", next_step=f"make it readable, or {_LEAVE}"
    )


def _changed(path: Path) -> InvalidInput:
    return InvalidInput(
        f"{path} changed while it was uploaded",
        field="upload",
        next_step=f"wait until nothing writes to it, or {_LEAVE}",
    )
