"""Containers' output, read from their files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from hrm.model.containers import LogChunk, LogStream
from hrm.model.errors import ClusterError, NotFound
from hrm.nm.shepherd import records

_RECORDS = (records.RUNNING, records.ENDED, records.EXITS)


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
        if not any((state_dir / folder / container_id).exists() for folder in _RECORDS):
            raise NotFound(f"no logs of container {container_id}") from None
        return LogChunk(data=b"", next_offset=0, end=True)
    except OSError as error:
        raise ClusterError(f"cannot read {path}: {error.strerror}") from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise ClusterError(f"no plain file: {path}")
        begin = max(0, status.st_size + offset) if offset < 0 else min(offset, status.st_size)
        data = os.pread(fd, max(0, max_bytes), begin)
        return LogChunk(data=data, next_offset=begin + len(data), end=begin + len(data) >= status.st_size)
    finally:
        os.close(fd)


def dropped_of_ended(state_dir: Path, container_id: str) -> list[int]:
    """Bytes of stdout and stderr dropped, as the acknowledged record of an ended container says; [0, 0] without one."""
    try:
        _, record = records.read(str(state_dir / records.EXITS / container_id))
    except OSError:
        return [0, 0]
    return list(record["dropped"]) if record else [0, 0]
