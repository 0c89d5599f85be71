"""Unix sockets at paths of any length.

A socket's name has room for 107 bytes (unix(7)), and a home directory may well lie deeper. A longer path is reached
through a descriptor of its folder, ``/proc/self/fd/N/NAME``, so the socket still stands where it is looked for.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hrm.model.errors import ClusterError, Conflict

MAX_NAME_BYTES = 107


def listen(path: Path, *, mode: int, backlog: int = 512) -> socket.socket:
    """Listen at ``path``, which gets ``mode`` before anybody can connect. What a dead server left there is replaced.

    Call it under a lock that makes this the only server there. Raises Conflict (something else stands there) and
    ClusterError.
    """
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_old(path)
        with _short(path) as name:
            listening.bind(name)
        path.chmod(mode)
        listening.listen(backlog)
    except OSError as error:
        listening.close()
        raise ClusterError(f"cannot listen at {path}: {error.strerror}", next_step="check the filesystem") from None
    except BaseException:
        listening.close()
        raise
    return listening


def connect(path: Path, *, timeout_s: float) -> socket.socket:
    """A connection to who listens at ``path``, on which each operation then waits ``timeout_s``. Raises OSError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # A non-blocking connect to a busy server fails at once (EAGAIN) where this one waits for its turn.
        seconds, rest = divmod(timeout_s, 1)
        limit = struct.pack("ll", int(seconds), int(rest * 1_000_000))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        with _short(path) as name:
            connection.connect(name)
        connection.settimeout(timeout_s)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _short(path: Path) -> Iterator[str]:
    if len(os.fsencode(path)) <= MAX_NAME_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _remove_old(path: Path) -> None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise Conflict(f"{path} is no socket, and the server's is to be there", next_step="move it away")
    path.unlink()
