"""The server's end of a connection to a program on another machine (`hrm.engines.ray.streams`)."""

from __future__ import annotations

from hrm.engines.ray.link import Link


class RemoteStream:
    """See the module (`hrm.model.streams.ByteStream`)."""

    def __init__(self, link: Link, number: int) -> None:
        self._link = link
        self._number = number

    async def read(self) -> bytes:
        while (data := await self._link.ask("read_stream", self._number)) is None:
            continue
        return bytes(data)

    async def write(self, data: bytes) -> None:
        await self._link.ask("write_stream", self._number, data)

    async def end(self) -> None:
        await self._link.ask("end_stream", self._number)

    async def close(self) -> None:
        await self._link.ask("close_stream", self._number)
