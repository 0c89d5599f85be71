"""A connection to a program that sends back what it is sent (`hrm.model.streams.ByteStream`)."""

from __future__ import annotations

import asyncio


class Echo:
    """See the module."""

    def __init__(self) -> None:
        self._said: asyncio.Queue[bytes] = asyncio.Queue()
        self.closed = False

    async def read(self) -> bytes:
        return await self._said.get()

    async def write(self, data: bytes) -> None:
        await self._said.put(data)

    async def end(self) -> None:
        await self._said.put(b"")

    async def close(self) -> None:
        self.closed = True
