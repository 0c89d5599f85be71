"""Carries what a container prints from its pipe to its log file, up to a limit, and counts what it drops.

Why pipes and not the files themselves as standard output: a file has no limit but RLIMIT_FSIZE, which kills; a poll
that cuts files down lets a fast writer fill a disk between two looks and cannot say what it cut; and a script that
writes to ``/dev/stderr`` would empty its own log, because that opens the file anew. Through a pipe the limit is exact,
and a container that prints nothing costs no file at all.

After the first piece the bytes never enter the shepherd's memory (splice). The loop looks at a stream once per
`REST_S` at most, however often it is written to, so that a container that prints without end takes a small share of
one core and delays no other.
"""

from __future__ import annotations

import fcntl
import os

#: How long a stream rests after each look. The delay is too short to be seen in a log that is followed.
REST_S = 0.005
_PIPE_BYTES = 1 << 16
#: Room of the pipe of a busy writer, so that it can go on while its stream rests: 200 MB/s.
_BUSY_PIPE_BYTES = 1 << 20


class Stream:
    """One of a container's output streams: the end that is read (not blocking), and the file it goes to."""

    __slots__ = (
        "_file_fd",
        "_is_terminal",
        "_null_fd",
        "_owner",
        "_path",
        "_room",
        "_widened",
        "dropped_bytes",
        "fd",
        "resting",
    )

    def __init__(
        self,
        fd: int,
        path: str,
        limit_bytes: int,
        null_fd: int,
        *,
        is_terminal: bool = False,
        owner: tuple[int, int] | None = None,
    ) -> None:
        """``owner`` (user and group) gets the file; None leaves it to us."""
        self.fd = fd
        self._owner = owner
        self.dropped_bytes = 0
        #: True iff it waits for its next look and the loop must not be told of it.
        self.resting = False
        self._path = path
        self._room = limit_bytes
        self._null_fd = null_fd
        self._is_terminal = is_terminal
        self._file_fd = -1
        self._widened = is_terminal

    def pump(self) -> int | None:
        """Move what there is, at most one full pipe. Bytes moved (0 if there was nothing); None at the end."""
        try:
            # The first piece is copied: the file is made only once there is something to put into it. Nothing can be
            # spliced from a terminal.
            moved = self._copy() if self._is_terminal or self._file_fd < 0 else self._splice()
        except BlockingIOError:
            return 0
        except OSError:
            # EIO: the last holder of the terminal is gone.
            return None
        if moved >= _PIPE_BYTES and not self._widened:
            self._widen()
        return moved or None

    def drain(self) -> None:
        """Move all that is there now, at most what a pipe can hold: who still writes has outlived its container."""
        left = _BUSY_PIPE_BYTES + _PIPE_BYTES
        while left > 0 and (moved := self.pump()):
            left -= moved

    def close(self) -> None:
        os.close(self.fd)
        if self._file_fd >= 0:
            os.close(self._file_fd)

    def _copy(self) -> int:
        data = os.read(self.fd, _PIPE_BYTES)
        if data:
            written = 0
            try:
                if self._file_fd < 0:
                    self._open()
                written = os.write(self._file_fd, data[: self._room])
            except OSError:
                # The disk is full or broken: the container goes on, and the gap is counted.
                pass
            self._room -= written
            self.dropped_bytes += len(data) - written
        return len(data)

    def _open(self) -> None:
        """Of a launch after others, the log goes on. Raises OSError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._file_fd = os.open(self._path, flags | os.O_EXCL, 0o600)
        except FileExistsError:
            self._file_fd = os.open(self._path, flags, 0o600)
            # Not O_APPEND: nothing can be spliced to what is opened so.
            self._room = max(0, self._room - os.lseek(self._file_fd, 0, os.SEEK_END))
        else:
            if self._owner:
                os.fchown(self._file_fd, *self._owner)

    def _splice(self) -> int:
        if self._room:
            try:
                moved = os.splice(self.fd, self._file_fd, min(self._room, _BUSY_PIPE_BYTES), flags=os.SPLICE_F_NONBLOCK)
            except BlockingIOError:
                raise
            except OSError:
                # As above: what cannot be kept is dropped, and the next piece is tried again.
                pass
            else:
                self._room -= moved
                return moved
        dropped = os.splice(self.fd, self._null_fd, _BUSY_PIPE_BYTES, flags=os.SPLICE_F_NONBLOCK)
        self.dropped_bytes += dropped
        return dropped

    def _widen(self) -> None:
        self._widened = True
        try:
            fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, _BUSY_PIPE_BYTES)
        except OSError:
            # Over the user's share of memory for pipes: the writer waits more often, nothing else.
            pass
