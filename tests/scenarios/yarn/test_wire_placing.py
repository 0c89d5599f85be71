"""Scheduling requests with placement constraints, as masters of YARN's make them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hrm.testing.builders import node
from hrm.testing.lives import Lives
from hrm.yarn.proto import records_pb2 as records
from tests.scenarios.yarn.test_wire_masters import refused
from tests.scenarios.yarn.wire_masters import WireMaster, Yarn, opened

TAG = records.PlacementConstraintTargetProto.ALLOCATION_TAG
AND, OR, DELAYED_OR = 1, 2, 3


@pytest.fixture
async def lives(tmp_path: Path) -> AsyncIterator[Lives]:
    """Three nodes of 4 vcores and 4 GiB."""
    async with Lives(tmp_path, [node(f"n{number}", cpus=4, memory="4G") for number in (1, 2, 3)]) as lives:
        yield lives


@pytest.fixture
async def yarn(lives: Lives, tmp_path: Path) -> AsyncIterator[Yarn]:
    async with opened(await lives.begin(), tmp_path) as yarn:
        yield yarn


def target(*tags: str, whose: str = "", kind: int = TAG) -> Any:
    return records.PlacementConstraintTargetProto(targetType=kind, targetKey=whose, targetValues=tags)


def simple(*targets: Any, least: int = 0, most: int | None = None, scope: str = "node", **more: Any) -> Any:
    if most is not None:
        more["maxCardinality"] = most
    constraint = records.SimplePlacementConstraintProto(
        scope=scope, targetExpressions=targets, minCardinality=least, **more
    )
    return records.PlacementConstraintProto(simpleConstraint=constraint)


def composite(kind: int, *parts: Any) -> Any:
    constraint = records.CompositePlacementConstraintProto(compositeType=kind, childConstraints=parts)
    return records.PlacementConstraintProto(compositeConstraint=constraint)


def scheduling(count: int, *tags: str, number: int = 1, memory: int = 512, constraint: Any = None) -> Any:
    return records.SchedulingRequestProto(
        allocationRequestId=number,
        priority=records.PriorityProto(priority=1),
        allocationTags=tags,
        resourceSizing=records.ResourceSizingProto(
            numAllocations=count, resources=records.ResourceProto(memory=memory, virtual_cores=1)
        ),
        placementConstraint=constraint,
    )


async def given(master: WireMaster, *wanted: Any) -> list[Any]:
    heard = await master.beat(scheduling_requests=wanted)
    assert list(heard.rejected_scheduling_requests) == []
    return sorted(heard.allocated_containers, key=lambda one: one.id.id)


NONE_BESIDE = simple(target("web"), most=0)


async def test_containers_lie_apart_where_none_of_their_tag_may_be_beside_them(yarn: Yarn) -> None:
    master = await yarn.begun()
    containers = await given(master, scheduling(5, "web", constraint=NONE_BESIDE))

    assert len({one.nodeId.port for one in containers}) == len(containers) == 3
    assert [(list(one.allocation_tags), one.allocation_request_id) for one in containers] == [(["web"], 1)] * 3
    explanation = await yarn.life.service.explain(str(master.attempt.application))
    assert explanation.reason == "placement_constraint"
    assert "what runs there is not what its placement constraint wants" in explanation.message


async def test_containers_lie_together_where_they_want_one_of_a_tag_beside_them(yarn: Yarn) -> None:
    master = await yarn.begun()
    (cache,) = await given(master, scheduling(1, "cache"))
    beside = simple(target("cache", whose="self"), least=1)
    containers = await given(master, scheduling(2, "web", number=2, constraint=beside))

    assert [one.nodeId for one in containers] == [cache.nodeId] * 2


async def test_counts_are_absolute(yarn: Yarn) -> None:
    master = await yarn.begun()
    await given(master, scheduling(5, "web", constraint=NONE_BESIDE))
    assert await given(master, scheduling(0, "web", constraint=NONE_BESIDE)) == []
    (waits,) = [one for one in yarn.life.service.work() if one.application_id == str(master.attempt.application)]
    assert waits.waiting == []


async def test_constraints_of_the_registration_hold_for_requests_with_these_tags(yarn: Yarn) -> None:
    master = yarn.master(await yarn.submit())
    entry = records.PlacementConstraintMapEntryProto(
        allocation_tags=["web"], placement_constraint=simple(target("web"), most=1)
    )
    await master.register(placement_constraints=[entry])
    tagged = await given(master, scheduling(5, "web"))
    other = await given(master, scheduling(5, "db", number=2))

    assert (len(tagged), len(other)) == (3, 5)


async def test_both_of_two_constraints_hold_and_one_of_two_alternatives(yarn: Yarn) -> None:
    master = await yarn.begun()
    (cache,) = await given(master, scheduling(1, "cache"))
    neither = composite(AND, simple(target("cache"), most=0), simple(target("web"), most=0))
    apart = await given(master, scheduling(5, "web", number=2, constraint=neither))
    either = composite(OR, simple(target("nothing"), least=1), simple(target("cache"), least=1))
    (beside,) = await given(master, scheduling(1, "x", number=3, constraint=either))

    assert len(apart) == 2
    assert cache.nodeId not in [one.nodeId for one in apart]
    assert beside.nodeId == cache.nodeId


@pytest.mark.parametrize(
    "constraint",
    [
        simple(target("web"), most=0, scope="rack"),
        simple(target("linux", kind=records.PlacementConstraintTargetProto.NODE_ATTRIBUTE)),
        simple(target("web"), attributeOpCode=records.EQ),
        simple(target("web", whose="app-label")),
        simple(target()),
        simple(),
        simple(target("web"), least=3, most=1),
        composite(DELAYED_OR, simple(target("web"), most=0)),
        composite(AND),
        records.PlacementConstraintProto(),
    ],
)
async def test_what_cannot_be_kept_is_rejected_one_by_one(yarn: Yarn, constraint: Any) -> None:
    master = await yarn.begun()
    bad, good = scheduling(1, "web", constraint=constraint), scheduling(1, "db", number=2)
    heard = await master.allocate(scheduling_requests=[bad, good])
    await yarn.life.settle()

    (rejected,) = heard.rejected_scheduling_requests
    assert (rejected.request, rejected.reason) == (bad, records.RRP_COULD_NOT_PLACE_ON_NODE)
    granted = [*heard.allocated_containers, *(await master.allocate()).allocated_containers]
    assert [list(one.allocation_tags) for one in granted] == [["db"]]


async def test_requests_whose_registered_constraint_is_not_understood_are_rejected(yarn: Yarn) -> None:
    master = yarn.master(await yarn.submit())
    entry = records.PlacementConstraintMapEntryProto(
        allocation_tags=["web"], placement_constraint=simple(target("web"), most=0, scope="rack")
    )
    await master.register(placement_constraints=[entry])
    heard = await master.allocate(scheduling_requests=[scheduling(1, "web")])
    assert len(heard.rejected_scheduling_requests) == 1


async def test_a_size_that_fits_on_no_node_is_an_error(yarn: Yarn) -> None:
    master = await yarn.begun()
    call = master.allocate(scheduling_requests=[scheduling(1, "web", memory=1 << 20)])
    assert "above the maximum" in await refused("InvalidResourceRequestException", call)


async def test_what_ran_before_a_restart_of_the_server_still_keeps_others_off(lives: Lives, tmp_path: Path) -> None:
    async with opened(await lives.begin(), tmp_path) as yarn:
        master = await yarn.begun()
        first, second = await given(master, scheduling(2, "web", constraint=NONE_BESIDE))
        for one in (first, second):
            await master.start(one)
        await yarn.life.kill()

    async with opened(await lives.begin(), tmp_path) as yarn:
        master.yarn = yarn
        await master.register()
        (third,) = await given(master, scheduling(3, "web", constraint=NONE_BESIDE))
        places = [one.node_id for one in yarn.life.service.containers() if one.task_index != 0]
        assert sorted(places) == ["n1", "n2", "n3"]
        assert list(third.allocation_tags) == ["web"]
