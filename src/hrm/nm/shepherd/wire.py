"""How the shepherd and a NodeManager talk: JSON objects, one a line, over a Unix stream socket.

A NodeManager sends ``{"op": …}``; the shepherd answers ``hello`` with what runs and what has ended, and from then on
tells by itself, many in one line: ``{"started": […], "ended": […], "dropped": {…}, "between": […]}``. A launch after
others is told as started too, and is told from them by its number; between two of them nothing runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

PROTOCOL = 7
#: The oldest that a NodeManager gets along with: before 7 no container is started anew in place.
OLDEST = 6
#: The longest line either side accepts. A command of 1 MiB and an environment of 512 KiB fit, even all escaped.
MAX_LINE_BYTES = 16 << 20
_encode = json.JSONEncoder(separators=(",", ":")).encode


class WireError(Exception):
    """The other side sent what is no message."""


def encode(message: dict[str, Any]) -> bytes:
    return f"{_encode(message)}\n".encode()


class Decoder:
    """Cuts a byte stream into messages."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """The messages that ``data`` completes. Raises WireError on a line that is too long or no JSON object."""
        if not self._buffer and data.endswith(b"\n"):
            lines = data.split(b"\n")[:-1]
        else:
            self._buffer += data
            *complete, rest = self._buffer.split(b"\n") if b"\n" in data else [self._buffer]
            lines = [bytes(line) for line in complete]
            self._buffer = bytearray(rest)
        if len(self._buffer) > MAX_LINE_BYTES:
            raise WireError(f"a line of more than {MAX_LINE_BYTES} bytes")
        for line in lines:
            if len(line) > MAX_LINE_BYTES:
                raise WireError(f"a line of {len(line)} bytes")
            try:
                message = json.loads(line)
            except ValueError as error:
                raise WireError(f"not JSON: {error}") from None
            if not isinstance(message, dict):
                raise WireError("not a JSON object")
            yield message
