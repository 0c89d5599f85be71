"""Two users of one machine, with real sockets: the kernel says who is who."""

from __future__ import annotations

import asyncio

import pytest

from hrm.testing.hadoop_client import HadoopClient, RemoteError
from hrm.testing.other_user import OtherUser
from hrm.yarn.protocols import APPLICATION_CLIENT
from tests.scenarios.yarn.running_rpc import Echo, ask, running

pytestmark = pytest.mark.root


def told(address: tuple[str, int], user: str, real_user: str | None) -> str:
    """What the server answers to a process that says it is ``user``."""

    async def call() -> str:
        async with await HadoopClient.connect(address, user=user, real_user=real_user) as client:
            name: str = (await client.call(APPLICATION_CLIENT, "getQueueInfo", ask())).queueInfo.queueName
            return name

    try:
        return asyncio.run(call())
    except RemoteError as error:
        return error.message


@pytest.mark.parametrize(
    ("user", "real_user", "answer"),
    [
        ("nobody", None, "nobody x"),
        ("root", None, "User: nobody is not root, and may not say so"),
        ("dr.who", None, "User: nobody is not dr.who, and may not say so"),
        ("root", "nobody", "User: nobody is not allowed to impersonate root"),
        ("nobody", "root", "User: nobody is not root, and may not say so"),
    ],
)
async def test_another_user_of_the_machine_comes_in_as_itself_alone(
    nobody: OtherUser, user: str, real_user: str | None, answer: str
) -> None:
    async with running(Echo().service()) as server:
        assert await asyncio.to_thread(nobody.do, told, server.address, user, real_user) == answer
