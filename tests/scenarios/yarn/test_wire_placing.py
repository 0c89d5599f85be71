"""Scheduling requests with placement constraints, as masters of YARN's make them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hrm.testing.builders import node
from hrm.testing.lives import Lives
from hrm.yarn.ids import container_id
from hrm.yarn.proto import records_pb2 as records
from tests.scenarios.yarn.test_wire_masters import refused
from tests.scenarios.yarn.wire_masters import WireMaster, Yarn, opened

TAG = records.PlacementConstraintTargetProto.ALLOCATION_TAG
ATTRIBUTE = records.PlacementConstraintTargetProto.NODE_ATTRIBUTE
AND, OR, DELAYED_OR = 1, 2, 3
MILLISECONDS, OPPORTUNITIES = 1, 2


@pytest.fixture
async def lives(tmp_path: Path) -> AsyncIterator[Lives]:
    """Three nodes of 4 vcores and 4 GiB, the last one in a rack of its own."""
    nodes = [node(f"n{number}", cpus=4, memory="4G", rack="/far" if number == 3 else "/near") for number in (1, 2, 3)]
    nodes[0], nodes[2] = nodes[0].with_attributes({"os": "debian12"}), nodes[2].with_attributes({"zone": "far"})
    async with Lives(tmp_path, nodes) as lives:
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


def composite(kind: int, *parts: Any, timed: Any = ()) -> Any:
    constraint = records.CompositePlacementConstraintProto(
        compositeType=kind, childConstraints=parts, timedChildConstraints=timed
    )
    return records.PlacementConstraintProto(compositeConstraint=constraint)


def timed(constraint: Any, delay: int, unit: int = MILLISECONDS) -> Any:
    return records.TimedPlacementConstraintProto(placementConstraint=constraint, schedulingDelay=delay, delayUnit=unit)


def nested(depth: int) -> Any:
    return NONE_BESIDE if not depth else composite(AND, nested(depth - 1))


NONE_BESIDE = simple(target("web"), most=0)


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


def racks(yarn: Yarn, containers: list[Any]) -> list[str]:
    """Of grants, each with its rack."""
    where = {one.container_id: one.node_id for one in yarn.life.service.containers()}
    return sorted("/far" if where[str(container_id(one.id))] == "n3" else "/near" for one in containers)


async def test_containers_lie_one_to_a_rack_where_none_of_their_tag_may_be_in_theirs(yarn: Yarn) -> None:
    master = await yarn.begun()
    containers = await given(master, scheduling(5, "web", constraint=simple(target("web"), most=0, scope="rack")))

    assert racks(yarn, containers) == ["/far", "/near"]
    explanation = await yarn.life.service.explain(str(master.attempt.application))
    assert "it wants no web of its own in the rack" in explanation.message


async def test_containers_lie_in_the_rack_of_those_of_another_application(yarn: Yarn) -> None:
    first, second = await yarn.begun(applicationTags=["Quiet"]), await yarn.begun()
    far = simple(target("far", kind=ATTRIBUTE, whose="zone"), attributeOpCode=records.EQ)
    await given(first, scheduling(1, "db", constraint=far))
    by_id = simple(target("db", whose=f"app-id/{first.attempt.application}"), least=1, scope="rack")
    by_tag = simple(target("db", whose="app-tag/Quiet"), least=1, scope="rack")
    containers = await given(
        second, scheduling(1, "web", constraint=by_id), scheduling(1, "web", number=2, constraint=by_tag)
    )

    assert racks(yarn, containers) == ["/far", "/far"]


async def test_the_next_alternative_will_do_after_its_time(yarn: Yarn) -> None:
    master = await yarn.begun()
    patient = composite(
        DELAYED_OR,
        timed=[timed(simple(target("cache"), least=1), 50_000), timed(NONE_BESIDE, 1, OPPORTUNITIES)],
    )
    before = await given(master, scheduling(2, "web", constraint=patient))
    explanation = await yarn.life.service.explain(str(master.attempt.application))
    await yarn.life.pass_time(50)
    await yarn.life.heartbeat()
    granted = (await master.allocate()).allocated_containers

    assert before == []
    assert "in less than a minute no web of its own on the node will do as well" in explanation.message
    assert len({one.nodeId.port for one in granted}) == len(granted) == 2


async def test_the_next_alternative_will_do_after_so_many_opportunities(yarn: Yarn) -> None:
    master = await yarn.begun()
    patient = composite(
        DELAYED_OR,
        timed=[timed(simple(target("cache"), least=1), 20, OPPORTUNITIES), timed(NONE_BESIDE, 1, OPPORTUNITIES)],
    )
    granted = await given(master, scheduling(2, "web", constraint=patient))
    explanation = await yarn.life.service.explain(str(master.attempt.application))
    beats = 0
    while len(granted) < 2:
        await yarn.life.heartbeat()
        granted += (await master.allocate()).allocated_containers
        beats += 1

    assert explanation.forecast is not None
    assert "more heartbeats no web of its own on the node will do as well" in explanation.forecast.text
    assert beats >= 20 // 3


@pytest.mark.parametrize(
    ("constraint", "found"),
    [
        (simple(target("debian12", kind=ATTRIBUTE, whose="os"), attributeOpCode=records.EQ), {"n1"}),
        (simple(target("debian12", kind=ATTRIBUTE, whose="rm.yarn.io/os"), attributeOpCode=records.NE), {"n2", "n3"}),
        (simple(target("debian12", "x", kind=ATTRIBUTE, whose="os"), least=1, most=(1 << 31) - 1), {"n1"}),
        (simple(target("debian12", "x", kind=ATTRIBUTE, whose="nm.yarn.io/os"), most=0), {"n2", "n3"}),
        (
            composite(
                OR,
                composite(AND, simple(target("debian12", kind=ATTRIBUTE, whose="os"), attributeOpCode=records.EQ)),
                simple(target("nothing"), least=1),
            ),
            {"n1"},
        ),
    ],
)
async def test_nodes_are_chosen_by_their_attributes(yarn: Yarn, constraint: Any, found: set[str]) -> None:
    master = await yarn.begun()
    apart = composite(AND, constraint, NONE_BESIDE)
    containers = await given(master, scheduling(3, "web", constraint=apart))
    where = {one.container_id: one.node_id for one in yarn.life.service.containers()}

    assert {where[str(container_id(one.id))] for one in containers} == found


async def test_attributes_that_no_node_has_are_told(yarn: Yarn) -> None:
    master = await yarn.begun()
    nowhere = simple(target("bsd", kind=ATTRIBUTE, whose="os"), attributeOpCode=records.EQ)
    assert await given(master, scheduling(1, "web", constraint=nowhere)) == []
    explanation = await yarn.life.service.explain(str(master.attempt.application))

    assert explanation.reason == "not_offered"
    assert "no node has os=bsd" in explanation.message


async def test_a_request_takes_the_place_of_the_one_before_it_of_its_id(yarn: Yarn) -> None:
    master = await yarn.begun()
    beside = simple(target("cache"), least=1)
    assert await given(master, scheduling(5, "web", constraint=beside)) == []
    granted = await given(master, scheduling(2, "db", memory=1024, constraint=NONE_BESIDE))
    (cache,) = await given(master, scheduling(1, "cache", number=2))
    (waits,) = [one for one in yarn.life.service.work() if one.application_id == str(master.attempt.application)]

    assert [list(one.allocation_tags) for one in granted] == [["db"]] * 2
    assert (list(cache.allocation_tags), waits.waiting) == (["cache"], [])


async def test_of_two_constraints_for_the_same_tags_the_last_holds_and_one_for_no_tags_is_for_nobody(
    yarn: Yarn,
) -> None:
    master = yarn.master(await yarn.submit())
    entries = [
        records.PlacementConstraintMapEntryProto(allocation_tags=tags, placement_constraint=constraint)
        for tags, constraint in (
            (["web"], simple(target("cache"), least=1)),
            (["web"], simple(target("web"), most=1)),
            ([], simple(target("cache"), least=1)),
        )
    ]
    await master.register(placement_constraints=entries)

    assert len(await given(master, scheduling(5, "web"))) == 3
    assert len(await given(master, scheduling(2, number=2))) == 2


CANNOT_BE_KEPT = [
    simple(target("web"), most=0, scope="cell"),
    simple(target("debian12", kind=ATTRIBUTE, whose="os")),
    simple(target(kind=ATTRIBUTE, whose="os"), attributeOpCode=records.EQ),
    simple(target("debian*", kind=ATTRIBUTE, whose="os"), attributeOpCode=records.EQ),
    simple(target("debian12", kind=ATTRIBUTE), attributeOpCode=records.EQ),
    simple(target("debian12", kind=ATTRIBUTE, whose="os"), scope="rack", attributeOpCode=records.EQ),
    simple(target("tape", kind=ATTRIBUTE, whose="yarn_node_partition/"), attributeOpCode=records.NE),
    simple(target("tape", "disk", kind=ATTRIBUTE, whose="yarn_node_partition/"), attributeOpCode=records.EQ),
    composite(OR, simple(target("tape", kind=ATTRIBUTE, whose="yarn_node_partition/"), attributeOpCode=records.EQ)),
    composite(
        AND,
        simple(target("tape", kind=ATTRIBUTE, whose="yarn_node_partition/"), attributeOpCode=records.EQ),
        simple(target(kind=ATTRIBUTE, whose="yarn_node_partition/"), attributeOpCode=records.EQ),
    ),
    simple(target("web"), attributeOpCode=records.EQ),
    simple(target("web", kind=records.PlacementConstraintTargetProto.SELF)),
    simple(target("web", whose="app-label")),
    simple(target("web", whose="app-id/7")),
    simple(target("web", whose="app-tag/")),
    simple(target("")),
    simple(target()),
    simple(),
    simple(target("web"), least=3, most=1),
    composite(DELAYED_OR, simple(target("web"), most=0)),
    composite(DELAYED_OR),
    composite(AND, timed=[timed(simple(target("web"), most=0), 1)]),
    composite(DELAYED_OR, timed=[timed(simple(target("web"), most=0), -1)]),
    composite(AND),
    composite(OR, *[simple(target("web"), most=0)] * 100),
    nested(20),
    records.PlacementConstraintProto(),
]


async def test_what_cannot_be_kept_is_rejected_one_by_one(yarn: Yarn) -> None:
    master = await yarn.begun()
    bad = [scheduling(1, "web", number=2 + at, constraint=one) for at, one in enumerate(CANNOT_BE_KEPT)]
    heard = await master.allocate(scheduling_requests=[*bad, scheduling(1, "db")])
    await yarn.life.settle()

    assert [one.request for one in heard.rejected_scheduling_requests] == bad
    assert {one.reason for one in heard.rejected_scheduling_requests} == {records.RRP_COULD_NOT_PLACE_ON_NODE}
    granted = [*heard.allocated_containers, *(await master.allocate()).allocated_containers]
    assert [list(one.allocation_tags) for one in granted] == [["db"]]


async def test_requests_whose_registered_constraint_is_not_understood_are_rejected(yarn: Yarn) -> None:
    master = yarn.master(await yarn.submit())
    entry = records.PlacementConstraintMapEntryProto(
        allocation_tags=["web"], placement_constraint=simple(target("web"), most=0, scope="cell")
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
