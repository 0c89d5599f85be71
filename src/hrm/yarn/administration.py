"""What administrators ask the ResourceManager for (ResourceManagerAdministrationProtocol, ``yarn rmadmin``).

It is answered at the clients' door, so that a command that means nothing here ends at once with a line that says what
does the same: without it a client knocks for minutes at a port where nobody is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NoReturn

from google.protobuf.message import Message

from hrm.rm.facade import Facade
from hrm.yarn.calls import Caller, Service
from hrm.yarn.errors import AccessDenied, Unsupported
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
    "addToClusterNodeLabels": "labels are declared by `hrm nodes labels --add`",
    "removeFromClusterNodeLabels": "labels are taken back by `hrm nodes labels --remove`",
    "replaceLabelsOnNodes": "nodes are given labels by `hrm nodes set NODE --label LABEL`",
    "mapAttributesToNodes": "attributes are set by `hrm nodes set NODE NAME=VALUE`",
    "refreshClusterMaxPriority": "priorities have no limit that could change",
}


def administration_service(facade: Facade, reload: Callable[[], Awaitable[object]]) -> Service:
    """``reload`` reads the queues of hrm.yaml anew. Raises HrmError for a file with mistakes, and changes nothing."""

    async def refresh_queues(request: Message, caller: Caller) -> Message:
        if not caller.admin:
            raise AccessDenied(f"User {caller.user} doesn't have permission to call 'refreshQueues'")
        await reload()
        return service.AdministrationResponseProto()

    async def groups(request: service.GetGroupsForUserRequestProto, caller: Caller) -> Message:
        return service.GetGroupsForUserResponseProto(groups=await facade.groups(request.user))

    handlers: dict[str, Any] = {
        "refreshQueues": refresh_queues,
        "getGroupsForUser": groups,
        **{name: partial(_not_here, name, instead) for name, instead in _INSTEAD.items()},
    }
    return Service(ADMINISTRATION, handlers=handlers, changes=frozenset({"refreshQueues"}))


def _not_here(name: str, instead: str, request: Message, caller: Caller) -> NoReturn:
    raise Unsupported(f"{name} does nothing here: {instead}")
