"""Opportunistic containers of YARN's masters: asked for, ended for others, promoted and demoted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hrm.model.resources import Resources
from hrm.testing import eventually_async
from hrm.testing.lives import Lives, tasks
from hrm.yarn.proto import records_pb2 as records
from hrm.yarn.proto import service_pb2 as service
from hrm.yarn.proto.identifiers_pb2 import ContainerTokenIdentifierProto
from tests.scenarios.yarn.wire_masters import WireMaster, Yarn, opened

OPPORTUNISTIC, GUARANTEED = records.OPPORTUNISTIC, records.GUARANTEED
PROMOTE, DEMOTE = service.PROMOTE_EXECUTION_TYPE, service.DEMOTE_EXECUTION_TYPE
WANTED = records.ExecutionTypeRequestProto(execution_type=OPPORTUNISTIC, enforce_execution_type=True)


@pytest.fixture
async def yarn(lives: Lives, tmp_path: Path) -> AsyncIterator[Yarn]:
    async with opened(await lives.begin(), tmp_path) as yarn:
        yield yarn


async def borrowing(yarn: Yarn, **fields: Any) -> tuple[WireMaster, Any]:
    """A master, and an opportunistic container of its own in which something runs."""
    master = await yarn.begun()
    (container,) = await master.get(1, execution_type_request=WANTED, **fields)
    await master.start(container)
    return master, container


def wish(container: Any, kind: int, version: int = 0) -> Any:
    return service.UpdateContainerRequestProto(
        container_version=version, container_id=container.id, update_type=kind, execution_type=GUARANTEED
    )


async def updated(master: WireMaster, *wishes: Any) -> list[Any]:
    """What the heartbeat after the wishes tells."""
    first = await master.allocate(update_requests=wishes)
    assert [error.reason for error in first.update_errors] == []
    await master.yarn.life.settle()
    return [*first.updated_containers, *(await master.allocate()).updated_containers]


def queue_use(yarn: Yarn) -> tuple[int, int]:
    """MiB that count in the share of the root, and those that do not."""
    root = yarn.life.service.queues()[0]
    return root.used["memory_mib"], root.opportunistic_used.get("memory_mib", 0)


async def test_a_grant_and_its_token_say_what_it_is_and_it_counts_in_no_share(yarn: Yarn) -> None:
    _, container = await borrowing(yarn)

    token = ContainerTokenIdentifierProto.FromString(container.container_token.identifier)
    assert (container.execution_type, token.executionType) == (OPPORTUNISTIC, OPPORTUNISTIC)
    assert queue_use(yarn) == (1024, 512)


async def test_scheduling_requests_ask_for_them_too(yarn: Yarn) -> None:
    master = await yarn.begun()
    request = records.SchedulingRequestProto(
        allocationRequestId=1,
        priority=records.PriorityProto(priority=1),
        executionType=WANTED,
        allocationTags=["web"],
        resourceSizing=records.ResourceSizingProto(
            numAllocations=1, resources=records.ResourceProto(memory=512, virtual_cores=1)
        ),
    )
    (container,) = (await master.beat(scheduling_requests=[request])).allocated_containers
    assert container.execution_type == OPPORTUNISTIC


async def test_its_status_and_its_report_say_what_it_is(yarn: Yarn) -> None:
    master, container = await borrowing(yarn)

    answer = await master.at_node(
        container, "getContainerStatuses", service.GetContainerStatusesRequestProto(container_id=[container.id])
    )
    assert answer.status[0].executionType == OPPORTUNISTIC


async def test_it_ends_with_minus_102_for_somebody_guaranteed(yarn: Yarn) -> None:
    master, container = await borrowing(yarn, memory=6144)

    other = await yarn.life.submit(tasks(memory="6G"))
    await eventually_async(lambda: yarn.life.containers(other) != [], describe="its room is free")
    (status,) = (await master.allocate()).completed_container_statuses

    assert (status.container_id, status.exit_status, status.executionType) == (container.id, -102, OPPORTUNISTIC)
    assert [one.execution_type for one in yarn.life.service.containers(other)] == ["guaranteed"]


async def test_a_promoted_container_has_a_new_token_and_counts(yarn: Yarn) -> None:
    master, container = await borrowing(yarn)
    (update,) = await updated(master, wish(container, PROMOTE))

    now = update.container
    assert (update.update_type, now.id, now.version, now.execution_type) == (PROMOTE, container.id, 1, GUARANTEED)
    assert queue_use(yarn) == (1024 + 512, 0)
    for token, good in ((now.container_token, True), (container.container_token, False)):
        answer = await master.at_node(
            container, "updateContainer", service.ContainerUpdateRequestProto(update_container_token=[token])
        )
        assert bool(answer.succeeded_requests) is good


async def test_a_demoted_container_goes_on_and_counts_no_more(yarn: Yarn) -> None:
    master = await yarn.begun()
    (container,) = await master.get(1)
    await master.start(container)
    (update,) = await updated(master, wish(container, DEMOTE))

    assert (update.update_type, update.container.version) == (DEMOTE, 1)
    assert update.container.execution_type == OPPORTUNISTIC
    assert queue_use(yarn) == (1024, 512)
    assert len(yarn.life.service.containers(str(master.attempt.application))) == 2


async def test_what_cannot_be_promoted_is_told_with_why(yarn: Yarn) -> None:
    master, container = await borrowing(yarn)
    own = yarn.life.service.containers(str(master.attempt.application))[0]
    assert own.task_index == 0
    wrong = wish(container, PROMOTE, version=4)
    unknown = wish(container, PROMOTE)
    unknown.container_id.id += 77

    heard = await master.allocate(update_requests=[wrong, unknown, wish(container, DEMOTE), wish(container, PROMOTE)])

    assert [error.reason.split("|")[0].split(":")[0] for error in heard.update_errors] == [
        "INCORRECT_CONTAINER_VERSION_ERROR",
        "INVALID_CONTAINER_ID",
        "UPDATE_OUTSTANDING_ERROR",
    ]


async def test_a_restart_of_the_server_forgets_no_type(lives: Lives, tmp_path: Path) -> None:
    async with opened(await lives.begin(), tmp_path) as yarn:
        master, container = await borrowing(yarn)
        await yarn.life.kill()

    async with opened(await lives.begin(), tmp_path) as yarn:
        assert queue_use(yarn) == (1024, 512)
        master.yarn = yarn
        await master.register()
        (update,) = await updated(master, wish(container, PROMOTE))
        assert update.container.execution_type == GUARANTEED
        assert Resources.of(yarn.life.service.queues()[0].used).memory_mib == 1024 + 512
