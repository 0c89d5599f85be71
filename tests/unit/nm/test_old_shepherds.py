"""Shepherds that an older HRM started, and that live as long as their containers do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hrm.model.errors import ClusterError, Conflict
from hrm.nm.relaunches import Relaunches
from hrm.nm.shepherd import records, wire
from hrm.nm.shepherd_client import ShepherdClient


class OldShepherd:
    """Speaks a protocol of before, and hangs up on what it does not know."""

    def __init__(self) -> None:
        self.protocol = wire.OLDEST

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        message = next(iter(wire.Decoder().feed(await reader.readline())))
        if message["op"] == "hello":
            hello = {"protocol": self.protocol, "pid": 1, "incarnation": "x"}
            writer.write(wire.encode({"hello": hello, "isolation": [], "running": [], "ended": []}))
            await reader.read()
        writer.close()


@pytest.fixture
async def old(tmp_path: Path) -> AsyncIterator[OldShepherd]:
    shepherd = OldShepherd()
    server = await asyncio.start_unix_server(shepherd.serve, tmp_path / records.SOCKET)
    yield shepherd
    server.close()


async def greeted(state_dir: Path) -> list[dict[str, Any]]:
    heard: list[dict[str, Any]] = []
    client = ShepherdClient(state_dir, may_start=False)
    try:
        await client.connect(heard.append, heard.append, lambda: None)
    finally:
        client.close()
    return heard


async def test_the_version_before_is_understood_and_starts_nothing_anew(old: OldShepherd, tmp_path: Path) -> None:
    (greeting,) = await greeted(tmp_path)
    assert greeting["hello"]["protocol"] == wire.PROTOCOL - 1
    with pytest.raises(Conflict, match="starts nothing anew") as refused:
        await Relaunches(tmp_path, None).state("container_1")  # type: ignore[arg-type]
    assert "older HRM" in refused.value.next_step


@pytest.mark.parametrize("protocol", [wire.OLDEST - 1, wire.PROTOCOL + 1])
async def test_others_are_refused_and_told_what_to_do(old: OldShepherd, tmp_path: Path, protocol: int) -> None:
    old.protocol = protocol
    with pytest.raises(ClusterError, match=f"speaks protocol {protocol}, this server 6 to 7") as refused:
        await greeted(tmp_path)
    assert "until its containers have ended" in refused.value.next_step
