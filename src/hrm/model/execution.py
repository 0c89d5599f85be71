"""A program beside a task, in its container: what is to run, and the frames that its streams are carried in.

A `ByteStream` between the client and the program carries frames, and nobody in between looks into them: one byte says
the kind, four (big-endian) how many bytes follow.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from hrm.model.errors import InvalidInput
from hrm.model.jobs import TerminalSize

#: Of a command and its environment together.
MAX_COMMAND_BYTES = 128 << 10
_MAX_FRAME_BYTES = 1 << 20
_HEAD = struct.Struct(">BI")
_SIZE = struct.Struct(">HH")
_EXIT = struct.Struct(">i")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class FrameKind(IntEnum):
    """The first three go to the program, the others come from it."""

    STDIN = 0
    RESIZE = 1  #: rows and columns of the client's window
    SIGNAL = 2  #: its number, for the program's process group
    STDOUT = 3
    STDERR = 4
    EXIT = 5  #: the exit code; nothing comes after it


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecSpec:
    """A program to be started in a container that runs. Raises InvalidInput where it cannot be one."""

    command: tuple[str, ...]
    #: Besides what the container has.
    env: Mapping[str, str] = field(default_factory=dict)
    #: Absolute; None: where the container's first process stands.
    workdir: str | None = None
    #: None: it gets pipes.
    terminal: TerminalSize | None = None

    def __post_init__(self) -> None:
        if not self.command or not self.command[0]:
            raise InvalidInput("no command", field="command", next_step="for example `hrm exec APP -- nvidia-smi`")
        for name, value in self.env.items():
            if not _ENV_NAME.fullmatch(name):
                raise InvalidInput(f"not a variable's name: {name!r:.80}", field="env")
            if name.startswith("HRM_"):
                raise InvalidInput(f"{name} is HRM's to say", field="env", next_step="choose a name without HRM_")
            if "\0" in value:
                raise InvalidInput(f"the value of {name} has a NUL byte", field="env")
        if any("\0" in word for word in self.command):
            raise InvalidInput("has a NUL byte", field="command")
        if self.workdir is not None and (not self.workdir.startswith("/") or "\0" in self.workdir):
            raise InvalidInput(f"not an absolute path: {self.workdir!r:.200}", field="workdir")
        words = (*self.command, *self.env, *self.env.values())
        if sum(len(word.encode(errors="surrogateescape")) for word in words) > MAX_COMMAND_BYTES:
            raise InvalidInput(f"more than {MAX_COMMAND_BYTES} bytes", field="command", next_step="put it into a file")


def exec_to_dict(spec: ExecSpec) -> dict[str, Any]:
    """As JSON can hold it."""
    terminal = spec.terminal
    return {
        "command": list(spec.command),
        "env": dict(spec.env),
        "workdir": spec.workdir,
        "terminal": [terminal.rows, terminal.columns] if terminal else None,
    }


def exec_from_dict(data: Any) -> ExecSpec:
    """Raises InvalidInput for what is none."""
    if not isinstance(data, dict):
        raise InvalidInput("not an object", field="exec")
    command, env, workdir = data.get("command"), data.get("env") or {}, data.get("workdir")
    if not isinstance(command, list) or not all(isinstance(word, str) for word in command):
        raise InvalidInput("not a list of strings", field="command")
    if not isinstance(env, dict) or not all(isinstance(value, str) for value in env.values()):
        raise InvalidInput("not names with strings", field="env")
    if workdir is not None and not isinstance(workdir, str):
        raise InvalidInput("not a string", field="workdir")
    return ExecSpec(command=tuple(command), env=env, workdir=workdir, terminal=_terminal(data.get("terminal")))


def _terminal(size: Any) -> TerminalSize | None:
    if size is None:
        return None
    if not (isinstance(size, list) and len(size) == 2 and all(type(number) is int for number in size)):
        raise InvalidInput("not [rows, columns]", field="terminal")
    return TerminalSize(rows=size[0], columns=size[1])


def frame(kind: FrameKind, payload: bytes = b"") -> bytes:
    """One frame, as it goes over the wire."""
    return _HEAD.pack(kind, len(payload)) + payload


def resize_frame(rows: int, columns: int) -> bytes:
    """The client's window has this size now."""
    return frame(FrameKind.RESIZE, _SIZE.pack(rows, columns))


def signal_frame(signum: int) -> bytes:
    """One signal to the program's process group."""
    return frame(FrameKind.SIGNAL, bytes((signum,)))


def exit_frame(code: int) -> bytes:
    """The program's last word."""
    return frame(FrameKind.EXIT, _EXIT.pack(code))


def size_of(payload: bytes) -> tuple[int, int]:
    """Rows and columns. Raises InvalidInput."""
    try:
        rows, columns = _SIZE.unpack(payload)
    except struct.error:
        raise InvalidInput("a frame that says no size") from None
    return rows, columns


def exit_code_of(payload: bytes) -> int:
    """Raises InvalidInput."""
    try:
        (code,) = _EXIT.unpack(payload)
    except struct.error:
        raise InvalidInput("a frame that says no exit code") from None
    return int(code)


class FrameDecoder:
    """Cuts bytes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[FrameKind, bytes]]:
        """Those that ``data`` completes. Raises InvalidInput for what is no frame."""
        self._buffer += data
        while len(self._buffer) >= _HEAD.size:
            number, length = _HEAD.unpack_from(self._buffer)
            if length > _MAX_FRAME_BYTES or number not in FrameKind._value2member_map_:
                raise InvalidInput(f"not a frame: kind {number}, {length} bytes")
            if len(self._buffer) < _HEAD.size + length:
                return
            payload = bytes(self._buffer[_HEAD.size : _HEAD.size + length])
            del self._buffer[: _HEAD.size + length]
            yield FrameKind(number), payload
