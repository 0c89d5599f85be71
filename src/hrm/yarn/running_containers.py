"""What masters ask a node about containers that run: another program in place, and further files.

YARN's rules: only of a container that runs and is not being re-initialised already; what was replaced can be gone back
to until it is committed, by hand or because it fails.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from hrm.model.errors import ClusterError, Conflict, HrmError, NotFound
from hrm.model.ids import AttemptId
from hrm.model.relaunching import LocalizationState, RelaunchKind
from hrm.rm.facade import Facade
from hrm.yarn.calls import Caller
from hrm.yarn.errors import InvalidAuxService, YarnError, from_hrm
from hrm.yarn.ids import container_id
from hrm.yarn.launching import container_group, launch_context, node_variables
from hrm.yarn.node_calls import attempt_of, check_count, failure, own
from hrm.yarn.nodes import NodeAddresses
from hrm.yarn.proto import records_pb2 as records
from hrm.yarn.proto import service_pb2 as service
from hrm.yarn.sessions import Sessions

#: Of these a repeated call is not done twice.
CHANGES = frozenset(
    {
        "reInitializeContainer",
        "restartContainer",
        "rollbackLastReInitialization",
        "commitLastReInitialization",
        "localize",
    }
)
_STATES = {
    LocalizationState.PENDING: service.L_PENDING,
    LocalizationState.COMPLETED: service.L_COMPLETED,
    LocalizationState.FAILED: service.L_FAILED,
}
#: What YARN calls them in its errors.
_WORDS = {
    RelaunchKind.REPLACE: "RE_INIT",
    RelaunchKind.RESTART: "RE_INIT",
    RelaunchKind.ROLL_BACK: "ROLLBACK",
    RelaunchKind.COMMIT: "COMMIT",
}
_LOCALIZE = "LOCALIZE"


class RunningContainers:
    """Of one node. ``services`` are the names of those that containers may ask for there."""

    def __init__(
        self, facade: Facade, node_id: str, sessions: Sessions, nodes: NodeAddresses, services: Collection[str]
    ) -> None:
        self._facade = facade
        self._node_id = node_id
        self._sessions = sessions
        self._nodes = nodes
        self._services = services

    async def reinitialize(
        self, request: service.ReInitializeContainerRequestProto, caller: Caller
    ) -> service.ReInitializeContainerResponseProto:
        """Without a launch context it is a restart, as in YARN."""
        if not request.HasField("container_launch_context"):
            await self._order(request.container_id, caller, RelaunchKind.RESTART)
            return service.ReInitializeContainerResponseProto()
        message = request.container_launch_context
        for service_data in message.service_data:
            if service_data.key not in self._services:
                raise InvalidAuxService(f"The auxService:{service_data.key} does not exist")
        group = container_group(launch_context(message), node_variables(self._nodes, self._node_id))
        await self._order(
            request.container_id,
            caller,
            RelaunchKind.REPLACE,
            command=group.command,
            env=group.env,
            auto_commit=request.auto_commit,
        )
        return service.ReInitializeContainerResponseProto()

    async def restart(self, request: records.ContainerIdProto, caller: Caller) -> service.RestartContainerResponseProto:
        await self._order(request, caller, RelaunchKind.RESTART)
        return service.RestartContainerResponseProto()

    async def roll_back(self, request: records.ContainerIdProto, caller: Caller) -> service.RollbackResponseProto:
        await self._order(request, caller, RelaunchKind.ROLL_BACK)
        return service.RollbackResponseProto()

    async def commit(self, request: records.ContainerIdProto, caller: Caller) -> service.CommitResponseProto:
        await self._order(request, caller, RelaunchKind.COMMIT)
        return service.CommitResponseProto()

    async def localize(
        self, request: service.ResourceLocalizationRequestProto, caller: Caller
    ) -> service.ResourceLocalizationResponseProto:
        attempt = attempt_of(caller, self._sessions)
        name = self._here(request.container_id, attempt, _LOCALIZE)
        context = launch_context(
            # Nothing is run: a context says what is, and its files are what counts.
            records.ContainerLaunchContextProto(command=["true"], localResources=request.local_resources)
        )
        group = container_group(context, {})
        try:
            await self._facade.masters.localize(str(attempt), name, group.command, group.env)
        except HrmError as error:
            raise _refusal(_LOCALIZE, name, error) from None
        return service.ResourceLocalizationResponseProto()

    async def localizations(
        self, request: service.GetLocalizationStatusesRequestProto, caller: Caller
    ) -> service.GetLocalizationStatusesResponseProto:
        attempt = attempt_of(caller, self._sessions)
        check_count(request.container_id)
        response = service.GetLocalizationStatusesResponseProto()
        for message in request.container_id:
            try:
                told = await self._localizations(message, attempt)
            except (YarnError, HrmError) as error:
                response.failed_requests.append(failure(message, error))
            else:
                response.cntn_localization_statuses.append(told)
        return response

    async def _localizations(
        self, message: records.ContainerIdProto, attempt: AttemptId
    ) -> service.ContainerLocalizationStatusesProto:
        name = own(message, attempt)
        session = self._sessions[attempt]
        if name not in self._containers(attempt):
            lately = "was recently stopped on node manager." if name in session.ends else None
            raise YarnError(f"Container {name} {lately or 'is not handled by this NodeManager'}")
        told = service.ContainerLocalizationStatusesProto(container_id=message)
        try:
            state = await self._facade.masters.launch_state(str(attempt), name)
        except (Conflict, NotFound):
            # It has not begun: nobody knows of its files yet.
            return told
        for file in state.localizations:
            told.localization_statuses.add(
                resource_key=file.link, localization_state=_STATES[file.state], diagnostics=file.message
            )
        return told

    async def _order(
        self,
        message: records.ContainerIdProto,
        caller: Caller,
        kind: RelaunchKind,
        *,
        command: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
        auto_commit: bool = True,
    ) -> None:
        attempt = attempt_of(caller, self._sessions)
        name = self._here(message, attempt, _WORDS[kind])
        # A client repeats a call that had no answer to whoever answers next, be it another server.
        key = f"{caller.client_id.hex()}:{caller.call_id}" if caller.client_id else ""
        try:
            await self._facade.masters.relaunch(
                str(attempt), name, kind, command=command, env=env or {}, auto_commit=auto_commit, key=key
            )
        except HrmError as error:
            raise _refusal(_WORDS[kind], name, error) from None
        self._sessions[attempt].relaunched.add(name)

    def _here(self, message: records.ContainerIdProto, attempt: AttemptId, word: str) -> str:
        """The id of a container that is the application's own, on this node. Raises YarnError, IllegalArgument."""
        container = container_id(message)
        if container.attempt.application != attempt.application:
            raise YarnError(f"ApplicationMaster not authorized to perform [{word}] on Container [{container}]!!")
        name = str(container)
        if name not in self._containers(attempt):
            raise YarnError(f"Specified {name} does not exist!")
        return name

    def _containers(self, attempt: AttemptId) -> set[str]:
        reports = self._facade.containers(str(attempt.application))
        return {report.container_id for report in reports if report.node_id == self._node_id}


def _refusal(word: str, name: str, error: HrmError) -> YarnError:
    if isinstance(error, ClusterError):
        return from_hrm(error)
    return YarnError(f"Cannot perform {word} on [{name}]: {error}")
