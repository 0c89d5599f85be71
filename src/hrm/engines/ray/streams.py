"""Connections to programs on another machine, over calls of its agent.

Both ends know a connection by a number. What is read is asked for again and again, so a server that went away is
noticed by its silence. A lost answer may have lost bytes: the connection breaks then, and nothing is passed over.
"""

from __future__ import annotations

import asyncio
import itertools

from hrm.model.errors import NotFound
from hrm.model.streams import ByteStream

#: How long the agent waits for something to be read before it says that there is nothing.
READ_WAIT_S = 10.0
#: A connection that nobody reads for so long is closed.
SILENCE_S = 60.0


class OpenStreams:
    """The agent's end."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._open: dict[int, _Open] = {}

    def add(self, stream: ByteStream) -> int:
        number = next(self._numbers)
        self._open[number] = _Open(stream)
        self._watch(number)
        return number

    async def read(self, number: int) -> bytes | None:
        """None iff there is nothing yet. Raises NotFound for one that was closed."""
        one = self._of(number)
        one.read_at = asyncio.get_running_loop().time()
        if one.reading is None:
            one.reading = asyncio.ensure_future(one.stream.read())
        await asyncio.wait((one.reading,), timeout=READ_WAIT_S)
        if not one.reading.done():
            return None
        reading, one.reading = one.reading, None
        return reading.result()

    async def write(self, number: int, data: bytes) -> None:
        await self._of(number).stream.write(data)

    async def end(self, number: int) -> None:
        await self._of(number).stream.end()

    async def close(self, number: int) -> None:
        """No error if it was closed before."""
        if one := self._open.pop(number, None):
            if one.reading is not None:
                one.reading.cancel()
            await one.stream.close()

    def _of(self, number: int) -> _Open:
        if number not in self._open:
            raise NotFound("the connection is closed")
        return self._open[number]

    def _watch(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        if (one := self._open.get(number)) is None:
            return
        if loop.time() - one.read_at > SILENCE_S:
            one.closing = asyncio.ensure_future(self.close(number))
        else:
            loop.call_later(SILENCE_S / 2, self._watch, number)


class _Open:
    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self.reading: asyncio.Future[bytes] | None = None
        self.read_at = asyncio.get_running_loop().time()
        self.closing: asyncio.Future[None] | None = None
