"""Programs beside a task that are played (`hrm.model.streams.ByteStream`, with the frames of `hrm.model.execution`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hrm.model.errors import NotFound
from hrm.model.execution import ExecSpec, FrameDecoder, FrameKind, exit_frame, frame
from hrm.testing.fake_programs import CommandNotFound, Program

_KINDS = {"stdout": FrameKind.STDOUT, "stderr": FrameKind.STDERR}
_KILL = 9


class PlayedGuest:
    """``make`` gives the program, whose output goes to what it is handed. Raises NotFound for none of the few."""

    def __init__(self, make: Callable[[Callable[[str, bytes], None]], Program]) -> None:
        self._said: asyncio.Queue[bytes] = asyncio.Queue()
        self._decoder = FrameDecoder()
        self._program = make(lambda stream, data: self._said.put_nowait(frame(_KINDS[stream], data)))
        try:
            self._program.start(self._ended)
        except CommandNotFound as error:
            raise NotFound(f"command not found: {error}") from None

    def _ended(self, code: int) -> None:
        self._said.put_nowait(exit_frame(code))
        self._said.put_nowait(b"")

    def kill(self) -> None:
        """Its container ends."""
        self._program.signal(_KILL)

    async def read(self) -> bytes:
        return await self._said.get()

    async def write(self, data: bytes) -> None:
        for kind, payload in self._decoder.feed(data):
            if kind is FrameKind.STDIN:
                self._program.feed(payload)
            elif kind is FrameKind.SIGNAL:
                self._program.signal(payload[0])

    async def end(self) -> None:
        self._program.feed(None)

    async def close(self) -> None:
        self.kill()


class EchoingGuest:
    """Says what it was asked for, then what it is told, and ends with 7 at the end of its input."""

    def __init__(self, spec: ExecSpec) -> None:
        self._said: asyncio.Queue[bytes] = asyncio.Queue()
        self._decoder = FrameDecoder()
        self._said.put_nowait(frame(FrameKind.STDOUT, f"{spec!r}\n".encode()))

    async def read(self) -> bytes:
        return await self._said.get()

    async def write(self, data: bytes) -> None:
        for kind, payload in self._decoder.feed(data):
            said = payload if kind is FrameKind.STDIN else f"{kind.name} {payload.hex()}\n".encode()
            self._said.put_nowait(frame(FrameKind.STDERR, said))

    async def end(self) -> None:
        self._said.put_nowait(exit_frame(7))
        self._said.put_nowait(b"")

    async def close(self) -> None:
        self._said.put_nowait(b"")
