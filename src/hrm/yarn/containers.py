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
from hrm.model.errors import HrmError
from hrm.model.ids import AttemptId, ContainerId
from hrm.model.relaunching import LaunchPhase, LaunchState
from hrm.model.reports import ContainerReport
from hrm.model.resources import Resources
from hrm.model.states import ContainerState
from hrm.rm.facade import Facade
from hrm.yarn.amounts import resource_message
from hrm.yarn.calls import Caller, Service
from hrm.yarn.errors import InvalidAuxService, InvalidContainer, InvalidToken, YarnError
from hrm.yarn.execution_types import message_of
from hrm.yarn.grants import Grants
from hrm.yarn.ids import container_id, container_message
from hrm.yarn.launching import container_group, launch_context, node_variables
from hrm.yarn.node_calls import attempt_of, check_count, failure, own
from hrm.yarn.nodes import NodeAddresses
from hrm.yarn.proto import records_pb2 as records
from hrm.yarn.proto import service_pb2 as service
from hrm.yarn.proto.identifiers_pb2 import ContainerTokenIdentifierProto
from hrm.yarn.proto.security_pb2 import TokenProto
from hrm.yarn.protocols import CONTAINER_MANAGEMENT
from hrm.yarn.running_containers import CHANGES as RUNNING_CHANGES
from hrm.yarn.running_containers import RunningContainers
from hrm.yarn.sessions import Sessions
from hrm.yarn.tokens.secrets import TokenSecrets

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
    known = {one.name: one for one in services}
    door = _NodeDoor(facade, node_id, secrets, sessions, nodes, grants, known)
    running = RunningContainers(facade, node_id, sessions, nodes, known)
    handlers: dict[str, Any] = {
        "startContainers": door.start,
        "stopContainers": door.stop,
        "getContainerStatuses": door.statuses,
        "signalToContainer": door.signal,
        "increaseContainersResource": door.increase,
        "updateContainer": door.update,
        "reInitializeContainer": running.reinitialize,
        "restartContainer": running.restart,
        "rollbackLastReInitialization": running.roll_back,
        "commitLastReInitialization": running.commit,
        "localize": running.localize,
        "getLocalizationStatuses": running.localizations,
    }
    return Service(
        CONTAINER_MANAGEMENT,
        handlers=handlers,
        changes=frozenset({"startContainers", "stopContainers", "signalToContainer", *RUNNING_CHANGES}),
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
        attempt = attempt_of(caller, self._sessions)
        check_count(request.start_container_request)
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
                response.failed_requests.append(failure(container, error))
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
        if context.retry is not None:
            session.relaunched.add(name)
        try:
            await self._facade.masters.launch(str(attempt), name, group.command, group.env, None)
        except HrmError:
            session.launched.discard(name)
            raise

    async def stop(
        self, request: service.StopContainersRequestProto, caller: Caller
    ) -> service.StopContainersResponseProto:
        attempt = attempt_of(caller, self._sessions)
        check_count(request.container_id)
        response = service.StopContainersResponseProto()
        names = []
        for message in request.container_id:
            try:
                names.append(own(message, attempt))
            except YarnError as error:
                response.failed_requests.append(failure(message, error))
            else:
                response.succeeded_requests.append(message)
        if names:
            await self._facade.masters.stop(str(attempt), names)
        return response

    async def statuses(
        self, request: service.GetContainerStatusesRequestProto, caller: Caller
    ) -> service.GetContainerStatusesResponseProto:
        attempt = attempt_of(caller, self._sessions)
        check_count(request.container_id)
        live = {report.container_id: report for report in self._facade.containers(str(attempt.application))}
        session = self._sessions[attempt]
        response = service.GetContainerStatusesResponseProto()
        for message in request.container_id:
            try:
                name = own(message, attempt)
                if (report := live.get(name)) is not None and report.node_id == self._node_id:
                    state = None
                    if report.launches > 1 or name in session.relaunched:
                        state = await self._state(attempt, name)
                    response.status.append(_status(report, state))
                elif name in session.ends:
                    response.status.append(session.ends[name])
                else:
                    raise YarnError(f"Container {name} is not handled by this NodeManager")
            except YarnError as error:
                response.failed_requests.append(failure(message, error))
        return response

    async def _state(self, attempt: AttemptId, name: str) -> LaunchState | None:
        """None where its node does not say."""
        try:
            return await self._facade.masters.launch_state(str(attempt), name)
        except HrmError:
            # It has just ended, or its node is away: the end will be told.
            return None

    async def signal(
        self, request: service.SignalContainerRequestProto, caller: Caller
    ) -> service.SignalContainerResponseProto:
        attempt = attempt_of(caller, self._sessions)
        name = own(request.container_id, attempt)
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
        attempt = attempt_of(caller, self._sessions)
        check_count(tokens)
        done, failed = [], []
        for token in tokens:
            container = _named_by(token)
            try:
                self._check_size(token, attempt)
            except (YarnError, HrmError) as error:
                failed.append(failure(container, error))
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
        if identifier.executionType != message_of(granted.execution_type):
            raise YarnError(f"Container {name} is {granted.execution_type} by now: the token is of an earlier version")
        if identifier.resource != resource_message(granted.resources, up=True):
            raise YarnError(f"Container {name} has another size by now: the token is of version {identifier.version}")


def _named_by(token: TokenProto) -> records.ContainerIdProto:
    """The container that a token names, whether it is good or not."""
    try:
        return ContainerTokenIdentifierProto.FromString(token.identifier).containerId
    except ValueError:
        raise InvalidToken("the container's token cannot be read") from None


def _status(report: ContainerReport, state: LaunchState | None) -> records.ContainerStatusProto:
    began = report.state != ContainerState.ALLOCATED
    between = state is not None and state.phase in (LaunchPhase.ENDS, LaunchPhase.WAITS)
    return records.ContainerStatusProto(
        container_id=container_message(ContainerId.parse(report.container_id)),
        state=records.C_RUNNING if began else records.C_NEW,
        container_sub_state=records.CSS_RUNNING if began and not between else records.CSS_SCHEDULED,
        exit_status=_NO_STATUS,
        diagnostics="".join(f"{note}\n" for note in state.notes) if state else "",
        capability=resource_message(Resources.of(report.resources), up=True),
        executionType=message_of(report.execution_type),
    )
