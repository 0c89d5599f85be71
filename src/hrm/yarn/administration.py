"""What administrators ask the ResourceManager for (ResourceManagerAdministrationProtocol, ``yarn rmadmin``).

It is answered at the clients' door, so that a command that means nothing here ends at once with a line that says what
does the same: without it a client knocks for minutes at a port where nobody is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NoReturn

from google.protobuf.message import Message

from hrm.model.inventory import NodeLabel
from hrm.rm.facade import Facade
from hrm.yarn.calls import Caller, Service
from hrm.yarn.errors import AccessDenied, IllegalArgument, Unsupported
from hrm.yarn.node_words import nodes_at
from hrm.yarn.nodes import NodeAddresses
from hrm.yarn.proto import service_pb2 as service
from hrm.yarn.protocols import ADMINISTRATION

#: What there is instead.
_INSTEAD = {
    "refreshNodes": "nodes are let go by `hrm nodes drain`",
    "refreshSuperUserGroupsConfiguration": "only root and the server's own user act for others",
    "refreshUserToGroupsMappings": "groups are asked of the machine each time",
    "refreshAdminAcls": "queues' access lists are read anew by -refreshQueues; admins are root and the server's user",
    "refreshServiceAcls": "who comes in stands in hrm.yaml, under yarn.users and yarn.hosts, and is read at a start",
    "updateNodeResource": "what a node has stands in hrm.yaml, under node, and is read at a start",
    "refreshNodesResources": "what a node has stands in hrm.yaml, under node, and is read at a start",
    "checkForDecommissioningNodes": "nodes are let go by `hrm nodes drain`",
    "mapAttributesToNodes": "attributes are set by `hrm nodes set NODE NAME=VALUE`",
    "refreshClusterMaxPriority": "priorities have no limit that could change",
}


def administration_service(facade: Facade, reload: Callable[[], Awaitable[object]], nodes: NodeAddresses) -> Service:
    """``reload`` reads the queues of hrm.yaml anew. Raises HrmError for a file with mistakes, and changes nothing."""

    async def refresh_queues(request: Message, caller: Caller) -> Message:
        _check_admin(caller, "refreshQueues")
        await reload()
        return service.AdministrationResponseProto()

    async def add_labels(request: service.AddToClusterNodeLabelsRequestProto, caller: Caller) -> Message:
        _check_admin(caller, "addToClusterNodeLabels")
        # Old clients tell names alone, new ones both.
        labels = [NodeLabel(one.name, one.isExclusive) for one in request.nodeLabels]
        labels = labels or [NodeLabel(name) for name in request.deprecatedNodeLabels]
        await facade.node_words.add_labels(labels, by=caller.user)
        return service.AdministrationResponseProto()

    async def remove_labels(request: service.RemoveFromClusterNodeLabelsRequestProto, caller: Caller) -> Message:
        _check_admin(caller, "removeFromClusterNodeLabels")
        await facade.node_words.remove_labels(request.nodeLabels, by=caller.user)
        return service.AdministrationResponseProto()

    async def replace_labels(request: service.ReplaceLabelsOnNodeRequestProto, caller: Caller) -> Message:
        """A node that is not there is an error, also where a client would pass it over: all changes or nothing."""
        _check_admin(caller, "replaceLabelsOnNodes")
        wanted: dict[str, str | None] = {}
        for one in request.nodeToLabels:
            place, named = one.nodeId, [label for label in one.nodeLabels if label]
            found = nodes_at(facade.nodes(), nodes, place.host, place.port)
            if not found or len(named) > 1:
                problem = "a node has at most one label" if found else "no such node"
                raise IllegalArgument(f"{problem}: {place.host[:80]}:{place.port}={','.join(named)[:80]}")
            wanted |= dict.fromkeys((report.node_id for report in found), named[0] if named else "")
        await facade.node_words.set_labels(wanted, by=caller.user)
        return service.AdministrationResponseProto()

    async def groups(request: service.GetGroupsForUserRequestProto, caller: Caller) -> Message:
        return service.GetGroupsForUserResponseProto(groups=await facade.groups(request.user))

    handlers: dict[str, Any] = {
        "refreshQueues": refresh_queues,
        "getGroupsForUser": groups,
        "addToClusterNodeLabels": add_labels,
        "removeFromClusterNodeLabels": remove_labels,
        "replaceLabelsOnNodes": replace_labels,
        **{name: partial(_not_here, name, instead) for name, instead in _INSTEAD.items()},
    }
    return Service(
        ADMINISTRATION,
        handlers=handlers,
        changes=frozenset(
            {"refreshQueues", "addToClusterNodeLabels", "removeFromClusterNodeLabels", "replaceLabelsOnNodes"}
        ),
    )


def _check_admin(caller: Caller, what: str) -> None:
    if not caller.admin:
        raise AccessDenied(f"User {caller.user} doesn't have permission to call {what!r}")


def _not_here(name: str, instead: str, request: Message, caller: Caller) -> NoReturn:
    raise Unsupported(f"{name} does nothing here: {instead}")
