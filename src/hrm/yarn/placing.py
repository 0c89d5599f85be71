"""Scheduling requests with placement constraints (SchedulingRequest), from YARN's messages to the model's.

What is understood: constraints on allocation tags with a node as their scope, and `and` and `or` of such. All else is
rejected one by one, as YARN's processor rejects what it cannot place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hrm.config.yarn_values import YarnConfig
from hrm.model.errors import InvalidInput
from hrm.model.jobs import MAX_TASKS
from hrm.model.requests import ResourceRequest
from hrm.model.resources import Resources
from hrm.model.tag_placements import AllOf, AnyOf, TagConstraint, TagCount, TagPlacement, Whose
from hrm.yarn.amounts import requested
from hrm.yarn.asks import number_of
from hrm.yarn.errors import InvalidResourceRequest, YarnError
from hrm.yarn.proto import records_pb2 as records

#: In one heartbeat, and constraints of one registration.
MAX_AT_ONCE = 1000
_NODE = "node"
_ANY_NUMBER = (1 << 31) - 1
_TARGET = records.PlacementConstraintTargetProto
_COMPOSITE = records.CompositePlacementConstraintProto
#: How deep constraints may lie in each other: the model's limit, before the message is walked.
_MAX_DEPTH = 8

#: By the tags of the requests that they are for; None: one that is not understood.
Constraints = Mapping[frozenset[str], TagConstraint | None]


class NotUnderstood(Exception):
    """A constraint of a kind that nothing here can keep."""


def constraints(entries: Iterable[records.PlacementConstraintMapEntryProto]) -> Constraints:
    """Of a registration. What is not understood has every request with these tags rejected."""
    found: dict[frozenset[str], TagConstraint | None] = {}
    for entry in entries:
        if len(found) >= MAX_AT_ONCE:
            raise YarnError(f"more than {MAX_AT_ONCE} placement constraints")
        try:
            found[frozenset(entry.allocation_tags)] = _constraint(entry.placement_constraint, 0)
        except (NotUnderstood, InvalidInput):
            found[frozenset(entry.allocation_tags)] = None
    return found


def requests(
    messages: Iterable[records.SchedulingRequestProto],
    registered: Constraints,
    *,
    config: YarnConfig,
    maximum: Resources,
) -> tuple[list[ResourceRequest], list[records.RejectedSchedulingRequestProto]]:
    """Those that are asked for, with absolute counts, and those that are not. Raises InvalidResourceRequest."""
    asked: list[ResourceRequest] = []
    rejected: list[records.RejectedSchedulingRequestProto] = []
    for message in messages:
        if len(asked) + len(rejected) >= MAX_AT_ONCE:
            raise YarnError(f"more than {MAX_AT_ONCE} scheduling requests at once")
        try:
            asked.append(_request(message, registered, config, maximum))
        except (NotUnderstood, InvalidInput):
            rejected.append(
                records.RejectedSchedulingRequestProto(reason=records.RRP_COULD_NOT_PLACE_ON_NODE, request=message)
            )
    return asked, rejected


def _request(
    message: records.SchedulingRequestProto, registered: Constraints, config: YarnConfig, maximum: Resources
) -> ResourceRequest:
    sizing, priority = message.resourceSizing, message.priority.priority
    if not sizing.HasField("resources"):
        raise NotUnderstood("no resource is named")
    if not 0 <= sizing.numAllocations <= MAX_TASKS or priority < 0:
        raise InvalidResourceRequest(
            f"Invalid resource request, {sizing.numAllocations} containers of priority {priority} are out of range"
        )
    tags = frozenset(message.allocationTags)
    parts: list[TagConstraint] = []
    if message.HasField("placementConstraint"):
        parts.append(_constraint(message.placementConstraint, 0))
    if tags in registered:
        if (of_all := registered[tags]) is None:
            raise NotUnderstood("the constraint that was registered for these tags")
        parts.append(of_all)
    constraint = AllOf(tuple(parts)) if len(parts) > 1 else parts[0] if parts else None
    return ResourceRequest(
        resources=requested(sizing.resources, config, maximum),
        count=sizing.numAllocations,
        priority=priority,
        allocation_request_id=number_of(message.allocationRequestId),
        placement=TagPlacement(tags=tags, constraint=constraint) if tags or constraint else None,
    )


def _constraint(message: records.PlacementConstraintProto, depth: int) -> TagConstraint:
    """Raises NotUnderstood, and InvalidInput of the model."""
    if depth > _MAX_DEPTH:
        raise NotUnderstood("constraints too deep in each other")
    if message.HasField("simpleConstraint"):
        return _simple(message.simpleConstraint)
    composite = message.compositeConstraint
    parts = tuple(_constraint(child, depth + 1) for child in composite.childConstraints)
    if not parts or composite.timedChildConstraints or composite.compositeType == _COMPOSITE.DELAYED_OR:
        raise NotUnderstood("neither a simple constraint nor `and` or `or` of such")
    return AnyOf(parts) if composite.compositeType == _COMPOSITE.OR else AllOf(parts)


def _simple(message: records.SimplePlacementConstraintProto) -> TagConstraint:
    if message.scope != _NODE:
        raise NotUnderstood(f"the scope {message.scope!r:.80}")
    if message.HasField("attributeOpCode") and message.attributeOpCode != records.NO_OP:
        raise NotUnderstood("node attributes")
    most = message.maxCardinality if message.HasField("maxCardinality") else _ANY_NUMBER
    counts = tuple(
        TagCount(
            tags=tuple(target.targetValues),
            whose=_whose(target),
            least=max(0, message.minCardinality),
            most=None if most == _ANY_NUMBER else most,
        )
        for target in message.targetExpressions
    )
    if not counts:
        raise NotUnderstood("a constraint without a target")
    return counts[0] if len(counts) == 1 else AllOf(counts)


def _whose(target: records.PlacementConstraintTargetProto) -> Whose:
    if target.targetType != _TARGET.ALLOCATION_TAG:
        raise NotUnderstood("a target that is no allocation tag")
    try:
        return Whose(target.targetKey or Whose.SELF)
    except ValueError:
        raise NotUnderstood(f"the namespace {target.targetKey!r:.80}") from None
