"""Containers that masters of YARN's make larger and smaller while something runs in them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hrm.model.resources import Resources
from hrm.testing.lives import Lives, tasks
from hrm.yarn.proto import records_pb2 as records
from hrm.yarn.proto import service_pb2 as service
from tests.scenarios.yarn.wire_masters import WireMaster, Yarn, ask, opened

MORE, LESS = service.INCREASE_RESOURCE, service.DECREASE_RESOURCE


@pytest.fixture
async def yarn(lives: Lives, tmp_path: Path) -> AsyncIterator[Yarn]:
    async with opened(await lives.begin(), tmp_path) as yarn:
        yield yarn


async def running(yarn: Yarn) -> tuple[WireMaster, Any]:
    """A master, and a container of 512 MiB and one CPU in which something runs."""
    master = await yarn.begun()
    (container,) = await master.get(1)
    await master.start(container)
    return master, container


def wish(container: Any, kind: int, *, memory: int, vcores: int = 1, version: int | None = None) -> Any:
    return service.UpdateContainerRequestProto(
        container_version=container.version if version is None else version,
        container_id=container.id,
        update_type=kind,
        capability=records.ResourceProto(memory=memory, virtual_cores=vcores),
    )


async def updated(master: WireMaster, *wishes: Any) -> list[Any]:
    """What the heartbeat after the wishes tells."""
    first = await master.allocate(update_requests=wishes)
    assert [error.reason for error in first.update_errors] == []
    await master.yarn.life.settle()
    return [*first.updated_containers, *(await master.allocate()).updated_containers]


def held_to(yarn: Yarn) -> dict[str, Resources]:
    """What containers' nodes hold them to, since they were told another size."""
    nodes = yarn.life.engine.cluster.nodes.values()
    return {name: one.held_to for node in nodes for name, one in node.containers.items() if one.held_to is not None}


async def test_a_container_grows_and_its_node_holds_it_to_the_new_size(yarn: Yarn) -> None:
    master, container = await running(yarn)
    (update,) = await updated(master, wish(container, MORE, memory=2048, vcores=2))

    assert update.update_type == MORE
    now = update.container
    assert (now.id, now.version, now.resource.memory, now.resource.virtual_cores) == (container.id, 1, 2048, 2)
    assert list(held_to(yarn).values()) == [Resources(memory_mib=2048, vcores_milli=2000)]
    assert yarn.life.service.nodes()[0].used["memory_mib"] == 1024 + 2048


async def test_one_that_shrinks_leaves_room_for_another(yarn: Yarn) -> None:
    master, container = await running(yarn)
    (grown,) = await updated(master, wish(container, MORE, memory=7168))
    assert (await master.beat(ask(1, memory=4096))).allocated_containers == []
    first = await master.allocate(update_requests=[wish(grown.container, LESS, memory=1024)])
    await yarn.life.settle()
    second = await master.allocate()

    (shrunk,) = [*first.updated_containers, *second.updated_containers]
    assert (shrunk.update_type, shrunk.container.version, shrunk.container.resource.memory) == (LESS, 2, 1024)
    assert [one.resource.memory for one in second.allocated_containers] == [4096]


async def test_more_than_is_free_is_waited_for(yarn: Yarn) -> None:
    other = await yarn.life.submit(tasks(memory="6G"))
    await yarn.life.settle()
    master, container = await running(yarn)
    assert await updated(master, wish(container, MORE, memory=4096)) == []
    explanation = await yarn.life.service.explain(str(master.attempt.application))
    assert explanation.reason == "insufficient_memory"

    (theirs,) = yarn.life.service.containers(other)
    await yarn.life.finish(theirs.container_id)

    assert [one.container.resource.memory for one in (await master.allocate()).updated_containers] == [4096]


async def test_its_new_token_is_good_at_its_node_and_the_one_before_is_not(yarn: Yarn) -> None:
    master, container = await running(yarn)
    (update,) = await updated(master, wish(container, MORE, memory=1024))

    for method, kind, field in (
        ("updateContainer", service.ContainerUpdateRequestProto, "update_container_token"),
        ("increaseContainersResource", service.IncreaseContainersResourceRequestProto, "increase_containers"),
    ):
        good = await master.at_node(container, method, kind(**{field: [update.container.container_token]}))
        assert [one.id for one in good.succeeded_requests] == [container.id.id]
        old = await master.at_node(container, method, kind(**{field: [container.container_token]}))
        assert "another size" in old.failed_requests[0].exception.message


async def test_its_status_tells_the_size_that_it_has(yarn: Yarn) -> None:
    master, container = await running(yarn)
    await updated(master, wish(container, MORE, memory=1024))
    answer = await master.at_node(
        container, "getContainerStatuses", service.GetContainerStatusesRequestProto(container_id=[container.id])
    )
    assert answer.status[0].capability.memory == 1024


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"version": 3}, "INCORRECT_CONTAINER_VERSION_ERROR|3|0"),
        ({"memory": 512}, "RESOURCE_OUTSIDE_ALLOWED_RANGE"),
        ({"memory": 256}, "RESOURCE_OUTSIDE_ALLOWED_RANGE"),
        ({"memory": 1 << 20}, "RESOURCE_OUTSIDE_ALLOWED_RANGE"),
        ({"kind": LESS}, "RESOURCE_OUTSIDE_ALLOWED_RANGE"),
    ],
)
async def test_what_cannot_be_is_told_with_why_and_changes_nothing(yarn: Yarn, wrong: dict[str, int], why: str) -> None:
    master, container = await running(yarn)
    request = wish(container, **{"kind": MORE, "memory": 1024, **wrong})
    heard = await master.allocate(update_requests=[request])

    (error,) = heard.update_errors
    assert error.update_request == request
    assert why in error.reason
    assert held_to(yarn) == {}


async def test_one_in_which_nothing_runs_and_another_applications_keep_their_size(yarn: Yarn) -> None:
    master = await yarn.begun()
    (unused,) = await master.get(1)
    _, theirs = await running(yarn)
    heard = await master.allocate(update_requests=[wish(one, MORE, memory=1024) for one in (unused, theirs)])
    assert ["INVALID_CONTAINER_ID" in error.reason for error in heard.update_errors] == [True, True]


async def test_of_two_wishes_for_one_container_the_first_counts(yarn: Yarn) -> None:
    master, container = await running(yarn)
    wishes = [wish(container, MORE, memory=1024), wish(container, MORE, memory=2048)]
    heard = await master.allocate(update_requests=wishes)
    assert ["UPDATE_OUTSTANDING_ERROR" in error.reason for error in heard.update_errors] == [True]
    await yarn.life.settle()
    assert [one.container.resource.memory for one in (await master.allocate()).updated_containers] == [1024]


async def test_a_restart_of_the_server_forgets_no_size_and_tells_the_node_again(lives: Lives, tmp_path: Path) -> None:
    async with opened(await lives.begin(), tmp_path) as yarn:
        master, container = await running(yarn)
        (update,) = await updated(master, wish(container, MORE, memory=2048))
        await yarn.life.kill()
    for machine in lives.cluster.nodes.values():
        for one in machine.containers.values():
            one.held_to = None

    async with opened(await lives.begin(), tmp_path) as yarn:
        assert Resources(memory_mib=2048, vcores_milli=1000) in held_to(yarn).values()
        master.yarn = yarn
        await master.register()
        (again,) = await updated(master, wish(update.container, LESS, memory=1024))
        assert again.container.resource.memory == 1024
