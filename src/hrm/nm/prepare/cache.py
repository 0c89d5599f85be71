"""A user's copies of files on a node: fetched once, shared by containers, cleared away when nobody uses them.

Each copy is a folder named after what it is a copy of, with a lock. Who uses it holds the lock shared; a container does
so by a descriptor that its program inherits, so that it is let go of when the last of its processes has ended, however
that comes. Who fetches or removes holds it alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hrm.model.launch_contexts import LocalResource, ResourceKind, Visibility
from hrm.nm.prepare import archives, sources

#: What all copies of a user may take on a node (YARN's localizer.cache.target-size-mb).
MAX_BYTES = 10 << 30
#: An application's own copies are kept this long after their last use: its next attempt may come.
APPLICATION_AGE_S = 600.0
#: How often it is looked at what can go.
CLEAN_INTERVAL_S = 600.0
_SHARED = "shared"
_LOCK = "lock"
_CONTENT = "content"
_CLEANED = ".cleaned"


class Cache:
    """In the user's own ``folder``; ``application_id`` is whose container this is."""

    def __init__(self, folder: Path, application_id: str, *, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._application_id = application_id
        self._clock = clock
        #: Of the locks that this container holds until it ends.
        self.held: list[int] = []

    def get(self, resource: LocalResource) -> Path:
        """Where the copy is: a file, or the folder that an archive was unpacked into. Raises PrepareError, OSError."""
        entry = self._entry(resource)
        content, name = entry / _CONTENT, sources.file_name(resource)
        while True:
            # Who uses it keeps others from holding it alone, and needs not: what is used is there.
            fd = _lock(entry, fcntl.LOCK_SH)
            if content.exists():
                break
            os.close(fd)
            fd = _lock(entry, fcntl.LOCK_EX)
            try:
                if not content.exists():
                    new = entry / "new"
                    shutil.rmtree(new, ignore_errors=True)
                    new.mkdir()
                    _make(resource, new / name)
                    new.rename(content)
                os.utime(entry / _LOCK)
            finally:
                # Between this and the next lock it may be cleared away: it is looked once more.
                os.close(fd)
        os.utime(entry / _LOCK)
        os.set_inheritable(fd, True)
        self.held.append(fd)
        return content / name

    def _entry(self, resource: LocalResource) -> Path:
        version = [resource.url, resource.timestamp_ms, resource.kind, resource.pattern]
        key = hashlib.sha256(json.dumps(version).encode()).hexdigest()[:40]
        # All containers of a user may read each other's files. What is PUBLIC the node may have for all users.
        room = self._application_id if resource.visibility is Visibility.APPLICATION else _SHARED
        return self._folder / room / key

    def clean(self, *, max_bytes: int = MAX_BYTES) -> None:
        """Now and then: clear away what other applications left, and of what is shared what was not used for longest.

        Raises OSError.
        """
        stamp = self._folder / _CLEANED
        now = self._clock()
        try:
            if now - stamp.stat().st_mtime < CLEAN_INTERVAL_S:
                return
        except FileNotFoundError:
            pass
        stamp.touch()
        os.utime(stamp, (now, now))
        for room in self._rooms():
            for used_at, entry in sorted(_entries(room)):
                if now - used_at >= APPLICATION_AGE_S:
                    _remove(entry)
            try:
                room.rmdir()
            except OSError:
                continue  # something is in use there
        entries = sorted(_entries(self._folder / _SHARED))
        sizes = {entry: size_of(entry) for _, entry in entries}
        total = sum(sizes.values())
        for _, entry in entries:
            if total <= max_bytes:
                return
            if _remove(entry):
                total -= sizes[entry]

    def _rooms(self) -> Iterator[Path]:
        for path in self._folder.iterdir():
            if path.is_dir() and path.name not in (_SHARED, self._application_id):
                yield path


def _make(resource: LocalResource, target: Path) -> None:
    if resource.kind is ResourceKind.FILE:
        sources.fetch(resource, target)
        return
    packed = target.with_name(".packed")
    sources.fetch(resource, packed)
    if resource.kind is ResourceKind.ARCHIVE:
        archives.unpack(packed, target, target.name)
        packed.unlink()
    else:
        archives.unpack(packed, target, target.name, pattern=resource.pattern or ".*")
        packed.rename(target / target.name)


def _lock(entry: Path, how: int) -> int:
    """A descriptor that holds the entry's lock; the entry is made if it is not there."""
    while True:
        entry.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            fd = os.open(entry / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue  # removed meanwhile
        fcntl.flock(fd, how)
        try:
            if os.path.samestat(os.fstat(fd), os.stat(entry / _LOCK)):
                return fd
        except FileNotFoundError:
            pass  # removed while this waited
        os.close(fd)


@contextmanager
def _alone(entry: Path) -> Iterator[bool]:
    """True iff nobody uses it, and nobody can while the block runs."""
    try:
        fd = os.open(entry / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(fd)


def _remove(entry: Path) -> bool:
    """True iff it is gone; False if somebody uses it."""
    with _alone(entry) as free:
        if not free:
            return False
        doomed = entry.with_name(f".{entry.name}.{os.getpid()}")
        entry.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)
    return True


def _entries(room: Path) -> Iterator[tuple[float, Path]]:
    """(when it was last used, where it is)."""
    if room.is_dir():
        for entry in room.iterdir():
            try:
                yield (entry / _LOCK).stat().st_mtime, entry
            except FileNotFoundError:
                continue


def size_of(entry: Path) -> int:
    """What it takes on the disk, in bytes."""
    total = 0
    for folder, _, files in os.walk(entry):
        for file in files:
            try:
                total += os.lstat(os.path.join(folder, file)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total
