"""What administrators ask for by `yarn rmadmin`: done, or refused at once with what there is instead."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

from hrm.testing.hadoop_client import HadoopClient, RemoteError
from hrm.testing.lives import Life, Lives
from hrm.yarn.administration import administration_service
from hrm.yarn.calls import Caller
from hrm.yarn.errors import AccessDenied
from hrm.yarn.proto import service_pb2 as service
from hrm.yarn.protocols import ADMINISTRATION
from tests.scenarios.yarn.wire_masters import ME, Yarn, opened


@pytest.fixture
async def life(lives: Lives) -> Life:
    return await lives.begin()


@pytest.fixture
async def yarn(life: Life, tmp_path: Path) -> AsyncIterator[Yarn]:
    async with opened(life, tmp_path) as yarn:
        yield yarn


async def call(yarn: Yarn, method: str, request: Message) -> Any:
    """As this process's user, who is the server's own."""
    host, _, port = yarn.front.addresses["clients"].rpartition(":")
    async with await HadoopClient.connect((host, int(port)), user=ME) as client:
        return await client.call(ADMINISTRATION, method, request)


async def test_queues_are_read_anew_for_the_servers_own_user(yarn: Yarn) -> None:
    await call(yarn, "refreshQueues", service.AdministrationRequestProto())
    assert yarn.reloads == 1


async def test_and_for_nobody_else(life: Life) -> None:
    asked = []

    async def reload() -> None:
        asked.append(1)

    handler: Any = administration_service(life.service, reload).handlers["refreshQueues"]
    with pytest.raises(AccessDenied):
        await handler(service.AdministrationRequestProto(), Caller(user="ada"))
    assert not asked


async def test_a_users_groups_are_told(yarn: Yarn) -> None:
    answer = await call(yarn, "getGroupsForUser", service.GetGroupsForUserRequestProto(user=ME))
    assert tuple(answer.groups) == await yarn.life.service.groups(ME)


@pytest.mark.parametrize("method", [method.name for method in ADMINISTRATION.methods if method.name[:3] != "get"][1:])
async def test_all_else_is_refused_at_once_with_a_class_that_is_not_tried_again(yarn: Yarn, method: str) -> None:
    with pytest.raises(RemoteError) as refusal:
        await call(yarn, method, service.AdministrationRequestProto())
    assert refusal.value.java_class == "java.lang.UnsupportedOperationException"
