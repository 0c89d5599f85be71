"""A port on a machine that leads to the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from hrm.engines.ray.relay import Relay
from hrm.model.errors import ClusterError


class Server:
    """Says its name, then whatever it is told until it is told no more."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.ended = 0

    async def start(self) -> tuple[str, int]:
        self.server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        host, port = self.server.sockets[0].getsockname()[:2]
        return host, port

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.name)
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        self.ended += 1
        writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server(b"one")
    yield server
    server.server.close()


async def said(address: tuple[str, int], data: bytes) -> bytes:
    """All that comes back for ``data`` and its end."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(data)
    writer.write_eof()
    async with asyncio.timeout(30):
        answer = await reader.read()
    writer.close()
    return answer


async def test_bytes_and_ends_go_both_ways(server: Server) -> None:
    address = await Relay().open("127.0.0.1", await server.start())
    large = bytes(range(256)) * 20_000
    assert await said(address, large) == b"one" + large
    assert server.ended == 1


async def test_it_stays_where_it_is_and_leads_to_where_the_server_is_now(server: Server) -> None:
    relay = Relay()
    address = await relay.open("127.0.0.1", await server.start())
    other = Server(b"two")
    assert await relay.open("127.0.0.1", await other.start()) == address
    assert await said(address, b"") == b"two"
    other.server.close()


async def test_where_nobody_listens_the_connection_ends(server: Server) -> None:
    to = await server.start()
    server.server.close()
    await server.server.wait_closed()
    assert await said(await Relay().open("127.0.0.1", to), b"") == b""


async def test_an_address_that_is_not_the_machines_is_refused() -> None:
    with pytest.raises(ClusterError, match=r"cannot listen on 192\.0\.2\.77"):
        await Relay().open("192.0.2.77", ("127.0.0.1", 1))
