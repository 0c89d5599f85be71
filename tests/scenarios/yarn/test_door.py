from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from hrm.api.accounts import Accounts
from hrm.config.yarn_values import YarnConfig
from hrm.model.errors import Conflict
from hrm.testing.hadoop_client import HadoopClient, RemoteError
from hrm.yarn.door import Door, bind
from hrm.yarn.protocols import APPLICATION_CLIENT
from tests.scenarios.yarn.running_rpc import ATTEMPT, ME, Echo, ask, secrets

ANY = YarnConfig(enabled=True, client_port=0, master_port=0)


@pytest.fixture
async def door() -> AsyncIterator[tuple[Door, Echo]]:
    issuer = secrets()
    opened = Door(ANY, issuer, Accounts())
    echo = Echo()
    await opened.open(clients=[echo.service()], masters=[echo.service()], is_live=lambda attempt: attempt == ATTEMPT)
    yield opened, echo
    await opened.close()


async def test_clients_come_in_by_their_port_as_who_they_are(door: tuple[Door, Echo]) -> None:
    async with await HadoopClient.connect(door[0].client_address, user=ME) as client:
        assert (await client.call(APPLICATION_CLIENT, "getQueueInfo", ask())).queueInfo.queueName == f"{ME} x"


async def test_nobody_comes_in_by_the_masters_port_without_a_token(door: tuple[Door, Echo]) -> None:
    client = await HadoopClient.connect(door[0].master_address, user=ME)
    with pytest.raises((RemoteError, ConnectionError)):
        await client.call(APPLICATION_CLIENT, "getQueueInfo", ask())
    await client.close()


async def test_a_closed_door_ends_its_connections(door: tuple[Door, Echo]) -> None:
    client = await HadoopClient.connect(door[0].client_address, user=ME)
    await client.call(APPLICATION_CLIENT, "getQueueInfo", ask())
    await door[0].close()

    async with asyncio.timeout(30):
        with pytest.raises((ConnectionError, RemoteError)):
            while True:
                await client.call(APPLICATION_CLIENT, "getQueueInfo", ask())
    await client.close()


@pytest.mark.parametrize("key", ["client_port", "master_port"])
def test_a_port_that_is_taken_is_named_by_its_key(key: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = YarnConfig(enabled=True, **{"client_port": 0, "master_port": 0, key: taken.getsockname()[1]})

        with pytest.raises(Conflict) as raised:
            Door(config, secrets(), Accounts())

    assert f"yarn.{key}" in raised.value.next_step


def test_an_address_may_be_one_of_ipv6() -> None:
    with bind("::1", 0, key="yarn.client_port") as bound:
        assert bound.family == socket.AF_INET6
