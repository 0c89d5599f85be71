"""Containers' output, read from their files: what they printed, and what they wrote beside that to ``logs`` in their
own directory (YARN's ``<LOG_DIR>``)."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from hrm.model.containers import LogChunk, LogFile, LogStream
from hrm.model.errors import ClusterError, NotFound
from hrm.nm.shepherd import records

_RECORDS = (records.RUNNING, records.ENDED, records.EXITS)
_STREAMS = tuple(stream.value for stream in LogStream)
#: In a container's directory.
_BESIDE = "logs"
#: Of one container's files so many are listed, the first by name.
MAX_FILES = 1000


def log_files(state_dir: Path, container_id: str) -> list[LogFile]:
    """Its two streams, and the plain files that it wrote beside them, by name.

    Raises NotFound if there never was such a container, ClusterError if its files cannot be looked at.
    """
    _check_known(state_dir, container_id)
    found = []
    for stream in _STREAMS:
        try:
            status = os.stat(state_dir / records.LOGS / f"{container_id}.{stream}", follow_symlinks=False)
            found.append(LogFile(name=stream, size_bytes=status.st_size, modified_at=status.st_mtime))
        except FileNotFoundError:
            found.append(LogFile(name=stream, size_bytes=0))
    try:
        with _beside(state_dir, container_id) as (folder, owner):
            for name in sorted(os.listdir(folder))[: MAX_FILES + len(_STREAMS)]:
                try:
                    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                except FileNotFoundError:
                    continue  # it went meanwhile
                if name not in _STREAMS and stat.S_ISREG(status.st_mode) and status.st_uid == owner and _fits(name):
                    found.append(LogFile(name=name, size_bytes=status.st_size, modified_at=status.st_mtime))
    except FileNotFoundError:
        pass  # it wrote none, or its directory was cleared away
    except OSError as error:
        raise ClusterError(f"cannot look at the logs of {container_id}: {error.strerror}") from None
    return found


def read_log_file(state_dir: Path, container_id: str, name: str, *, offset: int, max_bytes: int) -> LogChunk:
    """As `read_log`, of a file that the container wrote beside its streams. Raises NotFound where there is none."""
    _check_known(state_dir, container_id)
    none = NotFound(
        f"{container_id} has no log file {name[:80]!r}", next_step="`hrm logs APP --list` shows those that it has"
    )
    if not _fits(name):
        raise none
    try:
        with _beside(state_dir, container_id) as (folder, owner):
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        raise none from None
    try:
        status = os.fstat(fd)
        # The directory is the program's own: a link there must not show what the server may read and the user not.
        if not stat.S_ISREG(status.st_mode) or status.st_uid != owner:
            raise none
        return _chunk(fd, status.st_size, offset, max_bytes)
    finally:
        os.close(fd)


def _fits(name: str) -> bool:
    """True iff it is a name that can be told and asked for."""
    return name not in ("", ".", "..") and "/" not in name and name.isprintable()


@contextlib.contextmanager
def _beside(state_dir: Path, container_id: str) -> Iterator[tuple[int, int]]:
    """Its folder for logs, open, and whose the container is. Raises OSError."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    home = os.open(state_dir / records.CONTAINERS / container_id, flags)
    try:
        owner = os.fstat(home).st_uid
        folder = os.open(_BESIDE, flags, dir_fd=home)
    finally:
        os.close(home)
    try:
        yield folder, owner
    finally:
        os.close(folder)


def _check_known(state_dir: Path, container_id: str) -> None:
    if not any((state_dir / folder / container_id).exists() for folder in _RECORDS):
        raise NotFound(f"no logs of container {container_id}") from None


def read_log(state_dir: Path, container_id: str, stream: LogStream, *, offset: int, max_bytes: int) -> LogChunk:
    """Bytes of a log from ``offset`` (negative: from that far before the end).

    ``end`` says that no more bytes are there now; whether the container has ended the caller knows. A container
    that printed nothing has no file. Raises NotFound if there never was such a container, ClusterError if its log
    cannot be read.
    """
    path = state_dir / records.LOGS / f"{container_id}.{stream.value}"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        _check_known(state_dir, container_id)
        return LogChunk(data=b"", next_offset=0, end=True)
    except OSError as error:
        raise ClusterError(f"cannot read {path}: {error.strerror}") from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise ClusterError(f"no plain file: {path}")
        return _chunk(fd, status.st_size, offset, max_bytes)
    finally:
        os.close(fd)


def _chunk(fd: int, size: int, offset: int, max_bytes: int) -> LogChunk:
    begin = max(0, size + offset) if offset < 0 else min(offset, size)
    data = os.pread(fd, max(0, max_bytes), begin)
    return LogChunk(data=data, next_offset=begin + len(data), end=begin + len(data) >= size)


def dropped_of_ended(state_dir: Path, container_id: str) -> list[int]:
    """Bytes of stdout and stderr dropped, as the acknowledged record of an ended container says; [0, 0] without one."""
    try:
        _, record = records.read(str(state_dir / records.EXITS / container_id))
    except OSError:
        return [0, 0]
    return list(record["dropped"]) if record else [0, 0]
