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
from hrm.yarn.nodes import NodeAddresses
from hrm.yarn.proto import records_pb2 as records
from hrm.yarn.proto import service_pb2 as service
from hrm.yarn.protocols import ADMINISTRATION
from tests.scenarios.yarn.wire_masters import ME, Yarn, opened

CHANGES = ("refreshQueues", "addToClusterNodeLabels", "removeFromClusterNodeLabels", "replaceLabelsOnNodes")
REFUSED = [one.name for one in ADMINISTRATION.methods if one.name[:3] != "get" and one.name not in CHANGES]


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

    handlers: Any = administration_service(life.service, reload, NodeAddresses("rm:8088")).handlers
    for method in CHANGES:
        with pytest.raises(AccessDenied):
            await handlers[method](service.AdministrationRequestProto(), Caller(user="ada"))
    assert not asked


async def test_a_users_groups_are_told(yarn: Yarn) -> None:
    answer = await call(yarn, "getGroupsForUser", service.GetGroupsForUserRequestProto(user=ME))
    assert tuple(answer.groups) == await yarn.life.service.groups(ME)


async def test_labels_are_added_given_to_nodes_and_removed(yarn: Yarn) -> None:
    labels = [records.NodeLabelProto(name="tape"), records.NodeLabelProto(name="spare", isExclusive=False)]
    await call(yarn, "addToClusterNodeLabels", service.AddToClusterNodeLabelsRequestProto(nodeLabels=labels))
    given = records.NodeIdToLabelsProto(nodeId=records.NodeIdProto(host="127.0.0.1", port=0), nodeLabels=["tape"])
    await call(yarn, "replaceLabelsOnNodes", service.ReplaceLabelsOnNodeRequestProto(nodeToLabels=[given]))

    words = yarn.life.service.node_words
    assert [(one.name, one.exclusive, one.nodes) for one in words.labels()] == [
        ("tape", True, ["n1"]), ("spare", False, []),
    ]  # fmt: skip

    given.nodeId.port = 1
    with pytest.raises(RemoteError, match="no such node"):
        await call(yarn, "replaceLabelsOnNodes", service.ReplaceLabelsOnNodeRequestProto(nodeToLabels=[given]))
    gone = service.RemoveFromClusterNodeLabelsRequestProto(nodeLabels=["tape", "spare"])
    await call(yarn, "removeFromClusterNodeLabels", gone)
    assert (words.labels(), yarn.life.service.nodes()[0].label) == ([], "")


@pytest.mark.parametrize("method", REFUSED)
async def test_all_else_is_refused_at_once_with_a_class_that_is_not_tried_again(yarn: Yarn, method: str) -> None:
    with pytest.raises(RemoteError) as refusal:
        await call(yarn, method, service.AdministrationRequestProto())
    assert refusal.value.java_class == "java.lang.UnsupportedOperationException"
