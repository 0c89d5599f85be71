"""Writes what tasks print to our own stdout and stderr."""

from __future__ import annotations

import errno
import os
import select

MAX_LINE_BYTES = 64 << 10


class Writer:
    """One task: its bytes as they come."""

    def write(self, stream: str, task_index: int, data: bytes) -> None:
        """Raises BrokenPipeError where nobody reads any more."""
        write_all(1 if stream == "stdout" else 2, data)

    def flush(self) -> None:
        """Write what is held back."""


class LineWriter(Writer):
    """Several tasks: whole lines, so that they do not run into each other; ``label`` puts the task's number first."""

    def __init__(self, *, label: bool, digits: int = 1) -> None:
        self._label = label
        self._digits = digits
        self._begun: dict[tuple[str, int], bytes] = {}

    def write(self, stream: str, task_index: int, data: bytes) -> None:
        whole, newline, rest = (self._begun.pop((stream, task_index), b"") + data).rpartition(b"\n")
        if len(rest) > MAX_LINE_BYTES:  # a line must not grow for ever in memory
            whole, newline, rest = whole + newline + rest, b"\n", b""
        if rest:
            self._begun[stream, task_index] = rest
        if newline:
            self._write_lines(stream, task_index, whole)

    def flush(self) -> None:
        begun, self._begun = self._begun, {}
        for (stream, task_index), line in begun.items():
            self._write_lines(stream, task_index, line)

    def _write_lines(self, stream: str, task_index: int, lines: bytes) -> None:
        if self._label:
            prefix = f"{task_index:>{self._digits}}: ".encode()
            lines = prefix + lines.replace(b"\n", b"\n" + prefix)
        write_all(1 if stream == "stdout" else 2, lines + b"\n")


def write_all(fd: int, data: bytes) -> None:
    """Raises BrokenPipeError where nobody reads any more, be it a pipe or a terminal that has gone."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # another program has made what we share with it non-blocking
            select.select([], [fd], [])
        except OSError as error:
            if error.errno == errno.EIO:
                raise BrokenPipeError from None
            raise
