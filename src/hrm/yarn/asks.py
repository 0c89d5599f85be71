"""What a master asks for, from YARN's messages to the model's requests, and back to the numbers that it knows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from hrm.config.yarn_values import YarnConfig
from hrm.model.jobs import MAX_TASKS
from hrm.model.node_needs import needs_of
from hrm.model.requests import ANY, ResourceRequest
from hrm.model.resources import Resources
from hrm.yarn.amounts import requested
from hrm.yarn.errors import InvalidLabelResourceRequest, InvalidResourceBlacklistRequest, InvalidResourceRequest
from hrm.yarn.execution_types import type_of
from hrm.yarn.node_words import label_of
from hrm.yarn.proto.records_pb2 import ResourceBlacklistRequestProto, ResourceRequestProto

_MAX_PLACE_CHARS = 255
#: Names that one master's blacklist may have, of nodes that are there or not.
MAX_BLACKLISTED = 10_000


def requests(
    messages: Iterable[ResourceRequestProto],
    *,
    config: YarnConfig,
    maximum: Resources,
    nodes_of: Callable[[str], Sequence[str]],
) -> list[ResourceRequest]:
    """Each ask with its absolute count. Raises InvalidResourceRequest and its like; nothing has changed then.

    ``nodes_of`` gives the ids of nodes on a host.
    """
    return [_request(message, config, maximum, nodes_of) for message in messages]


def _request(
    message: ResourceRequestProto, config: YarnConfig, maximum: Resources, nodes_of: Callable[[str], Sequence[str]]
) -> ResourceRequest:
    label = label_of(message)
    if label and message.resource_name not in ("", ANY):
        # As YARN: the label of the request for any place holds for those beside it.
        raise InvalidLabelResourceRequest(
            f"Invalid label resource request, it names the place {message.resource_name!r:.80} and a node label"
        )
    if not 0 <= message.num_containers <= MAX_TASKS:
        raise InvalidResourceRequest(
            f"Invalid resource request, requested number of containers is out of range: {message.num_containers}"
        )
    if not message.priority.priority >= 0:
        raise InvalidResourceRequest(f"Invalid resource request, priority below zero: {message.priority.priority}")
    if not message.HasField("capability"):
        raise InvalidResourceRequest("Invalid resource request, no resource is named")
    return ResourceRequest(
        resources=requested(message.capability, config, maximum),
        count=message.num_containers,
        priority=message.priority.priority,
        resource_name=_place(message.resource_name, nodes_of),
        relax_locality=message.relax_locality,
        allocation_request_id=number_of(message.allocation_request_id),
        needs=needs_of(frozenset(), None, label),
        execution_type=type_of(message.execution_type_request),
    )


def _place(name: str, nodes_of: Callable[[str], Sequence[str]]) -> str:
    if len(name) > _MAX_PLACE_CHARS:
        raise InvalidResourceRequest(f"Invalid resource request, not a place: {name!r:.80}")
    if name in ("", ANY) or name.startswith("/"):
        return name or ANY
    # A host that is no node's is no error: the data that a master would like to be near may lie anywhere.
    return next(iter(nodes_of(name)), name)


def number_of(allocation_request_id: int) -> int:
    """Ours begin with 0; a master that names none has -1."""
    if allocation_request_id < -1:
        raise InvalidResourceRequest(f"Invalid resource request, request id below zero: {allocation_request_id}")
    return allocation_request_id + 1


def request_id_of(number: int | None) -> int:
    """The master's own, of a grant; -1 where that is not known any more."""
    return -1 if number is None else number - 1


def blacklist(
    before: frozenset[str], message: ResourceBlacklistRequestProto, nodes_of: Callable[[str], Sequence[str]]
) -> frozenset[str]:
    """All nodes that the master does not want. Raises InvalidResourceBlacklistRequest."""
    added, removed = set(message.blacklist_additions), set(message.blacklist_removals)
    if ANY in added:
        raise InvalidResourceBlacklistRequest(f"Cannot add {ANY} to the blacklist!")
    if both := added & removed:
        raise InvalidResourceBlacklistRequest(f"both added to the blacklist and taken from it: {sorted(both)[0]!r:.80}")

    if long := [name for name in added if len(name) > _MAX_PLACE_CHARS]:
        raise InvalidResourceBlacklistRequest(f"not a place: {long[0]!r:.80}")

    def nodes(names: set[str]) -> set[str]:
        return {node for name in names for node in (nodes_of(name) or [name])}

    after = frozenset((before | nodes(added)) - nodes(removed))
    if len(after) > max(MAX_BLACKLISTED, len(before)):
        raise InvalidResourceBlacklistRequest(f"more than {MAX_BLACKLISTED} nodes on the blacklist: {len(after)}")
    return after
