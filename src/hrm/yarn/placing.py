"""Scheduling requests with placement constraints (SchedulingRequest), from YARN's messages to the model's.

What cannot be kept is rejected one by one, as YARN's processor rejects what it cannot place.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import replace

import structlog

from hrm.config.yarn_values import YarnConfig
from hrm.model.errors import InvalidInput
from hrm.model.jobs import MAX_TASKS
from hrm.model.node_needs import needs_of
from hrm.model.requests import ResourceRequest
from hrm.model.resources import Resources
from hrm.model.tag_placements import TagPlacement
from hrm.yarn.amounts import requested
from hrm.yarn.asks import number_of
from hrm.yarn.errors import InvalidResourceRequest, YarnError
from hrm.yarn.execution_types import type_of
from hrm.yarn.placement_constraints import NotUnderstood, Wish, split, wish_of
from hrm.yarn.proto import records_pb2 as records

log = structlog.get_logger(__name__)
#: In one heartbeat, and constraints of one registration.
MAX_AT_ONCE = 1000
#: Of one attempt: requests that later ones may replace, the newest.
MAX_KNOWN = 10_000

#: By the tags of the requests that they are for; a text: why it cannot be kept.
Constraints = Mapping[frozenset[str], Wish | str]
#: What was asked for last, by priority and request id.
Placed = OrderedDict[tuple[int, int], ResourceRequest]


def constraints(entries: Iterable[records.PlacementConstraintMapEntryProto]) -> Constraints:
    """Of a registration (PlacementConstraintManager): of several for the same tags the last holds.

    What is not understood has every request with these tags rejected; one for no tags is for no request.
    """
    found: dict[frozenset[str], Wish | str] = {}
    for count, entry in enumerate(entries):
        if count >= MAX_AT_ONCE:
            raise YarnError(f"more than {MAX_AT_ONCE} placement constraints")
        if tags := frozenset(entry.allocation_tags):
            try:
                found[tags] = wish_of(entry.placement_constraint)
            except (NotUnderstood, InvalidInput) as error:
                found[tags] = str(error)
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
    why = ""
    for message in messages:
        if len(asked) + len(rejected) >= MAX_AT_ONCE:
            raise YarnError(f"more than {MAX_AT_ONCE} scheduling requests at once")
        try:
            asked.append(_request(message, registered, config, maximum))
        except (NotUnderstood, InvalidInput) as error:
            why = why or str(error)
            rejected.append(
                records.RejectedSchedulingRequestProto(reason=records.RRP_COULD_NOT_PLACE_ON_NODE, request=message)
            )
    if rejected:
        # The message has no room for it.
        log.info("scheduling_requests_rejected", count=len(rejected), first=why)
    return asked, rejected


def replacing(known: Placed, asked: Iterable[ResourceRequest]) -> tuple[list[ResourceRequest], Placed]:
    """What to ask for so that each takes the place of the one before it of its priority and request id.

    A count alone is changed as it is; before one that differs in more, what it replaces is withdrawn. YARN refuses
    such (SingleConstraintAppPlacementAllocator) and has its master withdraw first. ``known`` is left as it was.
    """
    after, told = OrderedDict(known), []
    for request in asked:
        key = request.priority, request.allocation_request_id
        before = after.pop(key, None)
        if before is not None and replace(before, count=request.count) != request:
            told.append(replace(before, count=0))
        told.append(request)
        if request.count:
            after[key] = request
    while len(after) > MAX_KNOWN:
        after.popitem(last=False)
    return told, after


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
    wish = wish_of(message.placementConstraint) if message.HasField("placementConstraint") else Wish()
    if tags in registered:
        if isinstance(of_all := registered[tags], str):
            raise NotUnderstood(f"the constraint that was registered for these tags: {of_all}")
        wish = wish.also(of_all)
    constraint, of_nodes = split(wish.constraint) if wish.constraint is not None else (None, None)
    return ResourceRequest(
        resources=requested(sizing.resources, config, maximum),
        count=sizing.numAllocations,
        priority=priority,
        allocation_request_id=number_of(message.allocationRequestId),
        needs=needs_of(frozenset(), None if of_nodes is None else str(of_nodes), wish.label),
        placement=TagPlacement(tags=tags, constraint=constraint) if tags or constraint else None,
        execution_type=type_of(message.executionType),
    )
