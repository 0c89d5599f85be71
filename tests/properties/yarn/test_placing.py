"""Scheduling requests of any kind: each is asked for or rejected, and what is asked for can be placed or not."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hrm.config.yarn_values import YarnConfig
from hrm.core.events import NodeUpdate, RequestsUpdated
from hrm.model.resources import Resources
from hrm.model.tag_placements import MAX_DEPTH, MAX_PARTS
from hrm.testing.builders import Scenario, queue, queues
from hrm.yarn.errors import YarnError
from hrm.yarn.placing import constraints, replacing, requests
from hrm.yarn.proto import records_pb2 as records

CONFIG, MAXIMUM = YarnConfig(enabled=True), Resources.parse(cpus=4, memory="4G", gpus=0)

NUMBERS = st.one_of(st.sampled_from([-1, 0, 1, 2, (1 << 31) - 1]), st.integers(-(1 << 31), (1 << 31) - 1))
TAGS = st.lists(st.one_of(st.sampled_from(["a", "b", ""]), st.text(max_size=300)), max_size=3)
KEYS = st.one_of(
    st.none(),
    st.sampled_from(
        [
            "",
            "self",
            "all",
            "not-self",
            "app-id/application_1_0001",
            "app-id/",
            "app-tag/t",
            "app-tag",
            "os",
            "rm.yarn.io/os",
            "yarn_node_partition/",
        ]
    ),
    st.text(max_size=20),
)
TARGETS = st.builds(
    lambda kind, key, values: records.PlacementConstraintTargetProto(
        targetType=kind, targetKey=key, targetValues=values
    ),
    st.sampled_from([1, 2, 2, 2, 3]),
    KEYS,
    TAGS,
)


def _simple(scope: str, targets: Any, least: int | None, most: int | None, op: int | None) -> Any:
    return records.PlacementConstraintProto(
        simpleConstraint=records.SimplePlacementConstraintProto(
            scope=scope, targetExpressions=targets, minCardinality=least, maxCardinality=most, attributeOpCode=op
        )
    )


SIMPLE = st.builds(
    _simple,
    st.one_of(st.sampled_from(["node", "node", "rack"]), st.text(max_size=5)),
    st.lists(TARGETS, max_size=2),
    st.one_of(st.none(), NUMBERS),
    st.one_of(st.none(), NUMBERS),
    st.sampled_from([None, None, records.NO_OP, records.EQ, records.NE]),
)


def _timed(constraint: Any, delay: int, unit: int) -> Any:
    return records.TimedPlacementConstraintProto(placementConstraint=constraint, schedulingDelay=delay, delayUnit=unit)


def _composite(kind: int, parts: Any, timed: Any) -> Any:
    return records.PlacementConstraintProto(
        compositeConstraint=records.CompositePlacementConstraintProto(
            compositeType=kind, childConstraints=parts, timedChildConstraints=timed
        )
    )


def _deeper(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    timed = st.builds(_timed, inner, st.integers(-(1 << 63), (1 << 63) - 1), st.sampled_from([1, 2]))
    some, none = st.lists(inner, max_size=3), st.just([])
    return st.one_of(
        st.builds(_composite, st.sampled_from([1, 2]), some, none),
        st.builds(_composite, st.just(3), none, st.lists(timed, max_size=3)),
        st.builds(_composite, st.sampled_from([1, 2, 3]), some, st.lists(timed, max_size=2)),
    )


CONSTRAINTS = st.recursive(st.one_of(SIMPLE, st.just(records.PlacementConstraintProto())), _deeper, max_leaves=12)


@st.composite
def scheduling(draw: st.DrawFn) -> Any:
    message = records.SchedulingRequestProto(
        allocationRequestId=draw(st.one_of(st.integers(-2, 3), st.integers(-(1 << 63), (1 << 63) - 1))),
        allocationTags=draw(TAGS),
        placementConstraint=draw(st.one_of(st.none(), CONSTRAINTS)),
    )
    if draw(st.booleans()):
        message.priority.priority = draw(st.one_of(st.integers(0, 2), NUMBERS))
    if draw(st.sampled_from([True, True, True, False])):
        message.resourceSizing.numAllocations = draw(st.one_of(st.integers(0, 3), NUMBERS))
        if draw(st.sampled_from([True, True, True, False])):
            message.resourceSizing.resources.memory = draw(st.one_of(st.just(512), NUMBERS))
    return message


ENTRIES = st.builds(
    lambda tags, constraint: records.PlacementConstraintMapEntryProto(
        allocation_tags=tags, placement_constraint=constraint
    ),
    TAGS,
    st.one_of(st.none(), CONSTRAINTS),
)


@given(st.lists(scheduling(), max_size=4), st.lists(ENTRIES, max_size=3))
@settings(deadline=None, max_examples=100)
def test_each_request_is_asked_for_or_rejected_or_an_error_of_yarns(messages: list[Any], entries: list[Any]) -> None:
    s = Scenario(queues(queue("all")))
    s.add_node("n1", cpus=4, memory="4G", os="debian12")
    s.add_node("n2", cpus=4, memory="4G", rack="/r2")
    app = s.submit("all")
    try:
        asked, rejected = requests(messages, constraints(entries), config=CONFIG, maximum=MAXIMUM)
    except YarnError:
        return
    told, _ = replacing(OrderedDict(), asked)
    s.handle(RequestsUpdated(app, tuple(told)))
    for node_id in ("n1", "n2", "n1"):
        s.handle(NodeUpdate(node_id))

    assert len(asked) + len(rejected) == len(messages)
    assert all(one.request in messages for one in rejected)
    assert s.explain(app).message


def nested(kind: int, depth: int) -> Any:
    constraint = _simple("node", [records.PlacementConstraintTargetProto(targetType=2, targetValues=["a"])], 0, 0, None)
    for _ in range(depth):
        constraint = _composite(kind, [constraint], []) if kind < 3 else _composite(3, [], [_timed(constraint, 1, 1)])
    return constraint


@given(st.sampled_from([1, 2, 3]), st.integers(0, 30), st.integers(1, 300))
@settings(deadline=None, max_examples=60)
def test_what_is_too_deep_or_too_large_is_rejected(kind: int, depth: int, width: int) -> None:
    inner = nested(kind, depth)
    wide = _composite(kind, [inner] * width, []) if kind < 3 else _composite(3, [], [_timed(inner, 1, 1)] * width)
    message = records.SchedulingRequestProto(placementConstraint=wide)
    message.resourceSizing.numAllocations = 1
    message.resourceSizing.resources.memory = 512
    asked, rejected = requests([message], {}, config=CONFIG, maximum=MAXIMUM)

    assert len(asked) + len(rejected) == 1
    assert bool(asked) == (depth < MAX_DEPTH and 1 + width * (1 + depth) <= MAX_PARTS)
