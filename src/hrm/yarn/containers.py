"""What masters ask a node for (ContainerManagementProtocol): start what was granted, stop it, look at it.

A node's door stands in the server's process, and hands all of it to the facade: containers are launched by the same
NodeManager as all others, on whatever node the grant says. Each node has its door at a port of its own, since a master
tells nodes apart by that.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from typing import Any

from hrm.model.auxiliary import AuxiliaryService
from hrm.model.errors import HrmError, NotFound
from hrm.model.ids import AttemptId, ContainerId
from hrm.model.reports import ContainerReport
from hrm.model.resources import Resources
from hrm.model.states import ContainerState
from hrm.rm.facade import Facade
from hrm.yarn.amounts import resource_message
from hrm.yarn.calls import Caller, Service
from hrm.yarn.errors import InvalidAuxService, InvalidContainer, InvalidToken, YarnError, from_hrm
from hrm.yarn.grants import Grants
from hrm.yarn.ids import container_id, container_message
from hrm.yarn.launching import container_group, launch_context, node_variables
from hrm.yarn.nodes import NodeAddresses
from hrm.yarn.proto import records_pb2 as records
from hrm.yarn.proto import service_pb2 as service
from hrm.yarn.proto.identifiers_pb2 import ContainerTokenIdentifierProto
from hrm.yarn.proto.security_pb2 import TokenProto
from hrm.yarn.protocols import CONTAINER_MANAGEMENT
from hrm.yarn.sessions import Sessions
from hrm.yarn.tokens.secrets import TokenSecrets

#: Containers in one call.
MAX_AT_ONCE = 10_000
_SIGNALS = {
    service.OUTPUT_THREAD_DUMP: signal.SIGQUIT,
    service.GRACEFUL_SHUTDOWN: signal.SIGTERM,
    service.FORCEFUL_SHUTDOWN: signal.SIGKILL,
}
#: Of a container that has not ended (YARN's ContainerExitStatus.INVALID).
_NO_STATUS = -1000


def container_management_service(
    facade: Facade,
    *,
    node_id: str,
    secrets: TokenSecrets,
    sessions: Sessions,
    nodes: NodeAddresses,
    grants: Grants,
    services: Sequence[AuxiliaryService] = (),
) -> Service:
    """The door of one node. ``services`` are those that containers may ask for there."""
    door = _NodeDoor(facade, node_id, secrets, sessions, nodes, grants, {one.name: one for one in services})
    handlers: dict[str, Any] = {
        "startContainers": door.start,
        "stopContainers": door.stop,
        "getContainerStatuses": door.statuses,
        "signalToContainer": door.signal,
        "increaseContainersResource": door.increase,
        "updateContainer": door.update,
    }
    return Service(
        CONTAINER_MANAGEMENT,
        handlers=handlers,
        changes=frozenset({"startContainers", "stopContainers", "signalToContainer"}),
    )


class _NodeDoor:
    def __init__(
        self,
        facade: Facade,
        node_id: str,
        secrets: TokenSecrets,
        sessions: Sessions,
        nodes: NodeAddresses,
        grants: Grants,
        services: Mapping[str, AuxiliaryService],
    ) -> None:
        self._services = services
        self._facade = facade
        self._node_id = node_id
        self._secrets = secrets
        self._sessions = sessions
        self._nodes = nodes
        self._grants = grants

    async def start(
        self, request: service.StartContainersRequestProto, caller: Caller
    ) -> service.StartContainersResponseProto:
        attempt = self._attempt(caller)
        _check_count(request.start_container_request)
        response = service.StartContainersResponseProto(
            services_meta_data=[
                records.StringBytesMapProto(key=name, value=one.meta_data) for name, one in self._services.items()
            ]
        )
        for one in request.start_container_request:
            container = _named_by(one.container_token)
            try:
                await self._start(one, attempt)
            except (YarnError, HrmError) as error:
                response.failed_requests.append(_failure(container, error))
            else:
                response.succeeded_requests.append(container)
        return response

    async def _start(self, request: service.StartContainerRequestProto, attempt: AttemptId) -> None:
        node = self._grants.node_message(self._node_id)
        identifier = self._secrets.verify_container(request.container_token, node, attempt)
        name = str(container_id(identifier.containerId))
        session = self._sessions[attempt]
        if name in session.launched:
            raise InvalidContainer(f"Container {name} already is running on this node!!")
        granted = session.granted.get(name)
        if granted is None or granted.node_id != self._node_id:
            raise InvalidContainer(f"Container {name} is not granted to {attempt} on this node, or not any more")
        for service_data in request.container_launch_context.service_data:
            if service_data.key not in self._services:
                raise InvalidAuxService(
                    f"The auxService:{service_data.key} does not exist: yarn.auxiliary_services in hrm.yaml has none"
                )
        context = launch_context(request.container_launch_context)
        group = container_group(context, node_variables(self._nodes, self._node_id))
        session.launched.add(name)
        try:
            await self._facade.masters.launch(str(attempt), name, group.command, group.env, None)
        except HrmError:
            session.launched.discard(name)
            raise

    async def stop(
        self, request: service.StopContainersRequestProto, caller: Caller
    ) -> service.StopContainersResponseProto:
        attempt = self._attempt(caller)
        _check_count(request.container_id)
        response = service.StopContainersResponseProto()
        names = []
        for message in request.container_id:
            try:
                names.append(self._own(message, attempt))
            except YarnError as error:
                response.failed_requests.append(_failure(message, error))
            else:
                response.succeeded_requests.append(message)
        if names:
            await self._facade.masters.stop(str(attempt), names)
        return response

    def statuses(
        self, request: service.GetContainerStatusesRequestProto, caller: Caller
    ) -> service.GetContainerStatusesResponseProto:
        attempt = self._attempt(caller)
        _check_count(request.container_id)
        live = {report.container_id: report for report in self._facade.containers(str(attempt.application))}
        ends = self._sessions[attempt].ends
        response = service.GetContainerStatusesResponseProto()
        for message in request.container_id:
            try:
                name = self._own(message, attempt)
                if (report := live.get(name)) is not None and report.node_id == self._node_id:
                    response.status.append(_status(report))
                elif name in ends:
                    response.status.append(ends[name])
                else:
                    raise YarnError(f"Container {name} is not handled by this NodeManager")
            except YarnError as error:
                response.failed_requests.append(_failure(message, error))
        return response

    async def signal(
        self, request: service.SignalContainerRequestProto, caller: Caller
    ) -> service.SignalContainerResponseProto:
        attempt = self._attempt(caller)
        name = self._own(request.container_id, attempt)
        await self._facade.masters.signal(str(attempt), name, _SIGNALS[request.command])
        return service.SignalContainerResponseProto()

    def increase(
        self, request: service.IncreaseContainersResourceRequestProto, caller: Caller
    ) -> service.IncreaseContainersResourceResponseProto:
        """What clients before Hadoop 3 call it."""
        done, failed = self._updated(request.increase_containers, caller)
        return service.IncreaseContainersResourceResponseProto(succeeded_requests=done, failed_requests=failed)

    def update(
        self, request: service.ContainerUpdateRequestProto, caller: Caller
    ) -> service.ContainerUpdateResponseProto:
        """The container is held to its new size since that was granted: it is only looked whether the token says so."""
        done, failed = self._updated(request.update_container_token, caller)
        return service.ContainerUpdateResponseProto(succeeded_requests=done, failed_requests=failed)

    def _updated(
        self, tokens: Sequence[TokenProto], caller: Caller
    ) -> tuple[list[records.ContainerIdProto], list[service.ContainerExceptionMapProto]]:
        attempt = self._attempt(caller)
        _check_count(tokens)
        done, failed = [], []
        for token in tokens:
            container = _named_by(token)
            try:
                self._check_size(token, attempt)
            except (YarnError, HrmError) as error:
                failed.append(_failure(container, error))
            else:
                done.append(container)
        return done, failed

    def _check_size(self, token: TokenProto, attempt: AttemptId) -> None:
        """Raises InvalidToken, InvalidContainer and YarnError."""
        identifier = self._secrets.verify_container(token, self._grants.node_message(self._node_id), attempt)
        name, session = str(container_id(identifier.containerId)), self._sessions[attempt]
        granted = session.granted.get(name)
        if granted is None or name not in session.launched or granted.node_id != self._node_id:
            raise InvalidContainer(f"Container {name} is not handled by this NodeManager")
        if identifier.resource != resource_message(granted.resources, up=True):
            raise YarnError(f"Container {name} has another size by now: the token is of version {identifier.version}")

    def _attempt(self, caller: Caller) -> AttemptId:
        """Raises ApplicationAttemptNotFound: its token outlives it."""
        if caller.attempt is None:
            raise InvalidToken("a master speaks with the token of its attempt for this node")
        self._sessions.standing(caller.attempt)
        return caller.attempt

    @staticmethod
    def _own(message: records.ContainerIdProto, attempt: AttemptId) -> str:
        container = container_id(message)
        if container.attempt.application != attempt.application:
            raise YarnError(
                f"Container {container} attempted to be accessed by a non-owner: {attempt.application} "
                "has an NMToken for itself alone"
            )
        return str(container)


def _check_count(messages: object) -> None:
    if len(messages) > MAX_AT_ONCE:  # type: ignore[arg-type]
        raise YarnError(f"more than {MAX_AT_ONCE} containers at once")


def _named_by(token: TokenProto) -> records.ContainerIdProto:
    """The container that a token names, whether it is good or not."""
    try:
        return ContainerTokenIdentifierProto.FromString(token.identifier).containerId
    except ValueError:
        raise InvalidToken("the container's token cannot be read") from None


def _failure(container: records.ContainerIdProto, error: YarnError | HrmError) -> service.ContainerExceptionMapProto:
    """As Java makes an exception of it."""
    if isinstance(error, NotFound):
        error = InvalidContainer(str(error))
    elif isinstance(error, HrmError):
        error = from_hrm(error)
    return service.ContainerExceptionMapProto(
        container_id=container,
        exception=records.SerializedExceptionProto(message=str(error), class_name=error.java_class, trace=""),
    )


def _status(report: ContainerReport) -> records.ContainerStatusProto:
    began = report.state != ContainerState.ALLOCATED
    return records.ContainerStatusProto(
        container_id=container_message(ContainerId.parse(report.container_id)),
        state=records.C_RUNNING if began else records.C_NEW,
        container_sub_state=records.CSS_RUNNING if began else records.CSS_SCHEDULED,
        exit_status=_NO_STATUS,
        diagnostics="",
        capability=resource_message(Resources.of(report.resources), up=True),
    )
