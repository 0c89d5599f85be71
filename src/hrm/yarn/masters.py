"""What masters ask the ResourceManager for (ApplicationMasterProtocol), answered through the facade.

One more translation of what every master of its own says (`hrm.rm.facade.Masters`): what YARN's masters expect besides
is kept in `hrm.yarn.sessions` and made of what the cluster looks like.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from hrm.config.yarn_values import YarnConfig
from hrm.model.errors import Conflict, InvalidInput, InvalidNodeLabel, Unauthenticated
from hrm.model.ids import AttemptId
from hrm.model.masters import EndedContainer, FinalStatus, Heartbeat, MasterStanding
from hrm.model.resources import Resources
from hrm.model.states import TaskState
from hrm.rm.facade import Facade
from hrm.yarn import asks as asking
from hrm.yarn import placing
from hrm.yarn import profiles as profiling
from hrm.yarn.amounts import resource_message, resource_types
from hrm.yarn.calls import Caller, Service
from hrm.yarn.cluster_view import ClusterView
from hrm.yarn.errors import (
    ApplicationAttemptNotFound,
    ApplicationMasterNotRegistered,
    IllegalArgument,
    InvalidApplicationMasterRequest,
    InvalidContainerRelease,
    InvalidResourceRequest,
    InvalidToken,
    YarnError,
    from_hrm,
)
from hrm.yarn.execution_types import message_of
from hrm.yarn.exits import completed_status
from hrm.yarn.grants import Grants
from hrm.yarn.ids import container_id
from hrm.yarn.preempting import preemption_message
from hrm.yarn.proto import records_pb2 as records
from hrm.yarn.proto import service_pb2 as service
from hrm.yarn.proto.security_pb2 import TokenProto
from hrm.yarn.protocols import APPLICATION_MASTER
from hrm.yarn.sessions import Session, Sessions
from hrm.yarn.tokens.secrets import TokenSecrets
from hrm.yarn.updates import Updates, check_count

_FINAL = {
    records.APP_SUCCEEDED: FinalStatus.SUCCEEDED,
    records.APP_FAILED: FinalStatus.FAILED,
    records.APP_KILLED: FinalStatus.KILLED,
    # A master that does not say how it went, or only that it ended, has unregistered all the same.
    records.APP_UNDEFINED: FinalStatus.SUCCEEDED,
    records.APP_ENDED: FinalStatus.SUCCEEDED,
}
MAX_RELEASES = 10_000


def application_master_service(
    facade: Facade,
    *,
    config: YarnConfig,
    secrets: TokenSecrets,
    sessions: Sessions,
    cluster: ClusterView,
    grants: Grants,
    clock: Callable[[], float] = time.time,
) -> Service:
    door = _MasterDoor(facade, config, secrets, sessions, cluster, grants, clock)
    handlers: dict[str, Any] = {
        "registerApplicationMaster": door.register,
        "allocate": door.allocate,
        "finishApplicationMaster": door.finish,
    }
    return Service(
        APPLICATION_MASTER,
        handlers=handlers,
        changes=frozenset({"registerApplicationMaster", "finishApplicationMaster"}),
    )


class _MasterDoor:
    def __init__(
        self,
        facade: Facade,
        config: YarnConfig,
        secrets: TokenSecrets,
        sessions: Sessions,
        cluster: ClusterView,
        grants: Grants,
        clock: Callable[[], float],
    ) -> None:
        self._facade = facade
        self._config = config
        self._secrets = secrets
        self._sessions = sessions
        self._cluster = cluster
        self._grants = grants
        self._clock = clock
        self._updates = Updates(facade, config, grants)

    # --- register

    async def register(
        self, request: service.RegisterApplicationMasterRequestProto, caller: Caller
    ) -> service.RegisterApplicationMasterResponseProto:
        attempt = _attempt(caller)
        if self._sessions.standing(attempt).registered:
            raise InvalidApplicationMasterRequest(f"Application Master is already registered : {attempt.application}")
        constraints = placing.constraints(request.placement_constraints)
        try:
            registration = await self._facade.masters.register(
                str(attempt),
                host=request.host,
                rpc_port=request.rpc_port if request.HasField("rpc_port") else -1,
                tracking_url=request.tracking_url,
            )
        except Conflict as error:
            raise InvalidApplicationMasterRequest(error.message) from None
        standing = self._sessions.standing(attempt)
        session = self._sessions.begin(attempt)
        session.constraints = constraints
        session.node_changes = self._cluster.fresh().changes
        cluster = self._cluster.fresh()
        response = service.RegisterApplicationMasterResponseProto(
            maximumCapability=resource_message(cluster.maximum),
            client_to_am_token_master_key=self._secrets.client_to_am_key(attempt),
            queue=registration.queue,
            scheduler_resource_types=[service.MEMORY, service.CPU],
            resource_types=resource_types(cluster.maximum.names()),
        )
        if (profiles := profiling.profiles(self._config, cluster.maximum)) is not None:
            response.resource_profiles.CopyFrom(profiles)
        for granted in registration.running:
            session.granted[granted.container_id] = granted
            session.launched.add(granted.container_id)
            if standing.keep_containers and attempt.number > 1:
                session.versions[granted.container_id] = 0
                response.containers_from_previous_attempts.append(self._grants.container(granted, standing.user))
        nodes = [granted.node_id for granted in registration.running]
        response.nm_tokens_from_previous_attempts.extend(
            self._grants.node_tokens(session, attempt, standing.user, nodes)
        )
        for ended in registration.ended_lately:
            # It ended while there was no server to hear of it; a master counts an end that it is told twice as two.
            session.given_back.append(completed_status(ended))
        return response

    # --- allocate

    async def allocate(self, request: service.AllocateRequestProto, caller: Caller) -> service.AllocateResponseProto:
        attempt = _attempt(caller)
        standing = self._sessions.standing(attempt)
        if not standing.registered:
            raise _not_registered(attempt)
        session = self._sessions[attempt]
        if session.answered is not None and request.response_id + 1 == session.answered.response_id:
            return session.answered
        cluster = self._cluster.fresh()
        asks = asking.requests(request.ask, config=self._config, maximum=cluster.maximum, nodes_of=cluster.nodes_of)
        placed, rejected = placing.requests(
            request.scheduling_requests, session.constraints, config=self._config, maximum=cluster.maximum
        )
        placed, known = placing.replacing(session.placed, placed)
        shunned = None
        if request.HasField("blacklist_request"):
            shunned = asking.blacklist(session.blacklist, request.blacklist_request, cluster.nodes_of)
        releases = self._releases(request.release, attempt)
        check_count(request.update_requests)
        try:
            heartbeat = await self._facade.masters.allocate(
                str(attempt),
                request.response_id,
                asks=[*asks, *placed],
                releases=[name for name in releases if name not in session.launched],
                progress=min(1.0, max(0.0, request.progress)) if request.HasField("progress") else None,
                blacklist=shunned,
                tracking_url=request.tracking_url if request.HasField("tracking_url") else None,
            )
        except InvalidInput as error:
            raise _refusal(error, attempt) from None
        except Unauthenticated as error:
            raise ApplicationAttemptNotFound(error.message) from None
        if heartbeat.resync:
            raise _not_registered(attempt)
        if running := [name for name in releases if name in session.launched]:
            # With its attempt they end anyway.
            with suppress(Unauthenticated):
                await self._facade.masters.stop(str(attempt), running)
        session.placed = known
        if shunned is not None:
            session.blacklist = shunned
        for name in releases:
            self._given_back(session, name)
        errors = await self._updates.take(request.update_requests, session, attempt, cluster.maximum)
        response = self._answer(session, attempt, standing, heartbeat, cluster)
        response.update_errors.extend(errors)
        response.rejected_scheduling_requests.extend(rejected)
        if (token := self._renewed(caller)) is not None:
            response.am_rm_token.CopyFrom(token)
        session.answered = response
        return response

    def _releases(self, messages: Sequence[records.ContainerIdProto], attempt: AttemptId) -> list[str]:
        if len(messages) > MAX_RELEASES:
            raise YarnError(f"more than {MAX_RELEASES} containers given back at once: {len(messages)}")
        released = [container_id(message) for message in messages]
        for container in released:
            if container.attempt.application != attempt.application:
                raise InvalidContainerRelease(
                    f"Cannot release container : {container} not belonging to this application : {attempt.application}"
                )
        return [str(container) for container in released]

    def _given_back(self, session: Session, name: str) -> None:
        if name in session.launched:
            # Its end will be told when it has come.
            session.released.add(name)
        elif (granted := session.granted.pop(name, None)) is not None:
            ended = EndedContainer(container_id=name, state=TaskState.KILLED, exit_code=None, message="")
            status = completed_status(ended, Resources.of(granted.resources), released=True)
            status.executionType = message_of(granted.execution_type)
            session.ended(name, status)
            session.given_back.append(status)

    def _answer(
        self,
        session: Session,
        attempt: AttemptId,
        standing: MasterStanding,
        heartbeat: Heartbeat,
        cluster: ClusterView,
    ) -> service.AllocateResponseProto:
        completed, session.given_back = session.given_back, []
        for granted in heartbeat.allocated:
            session.granted[granted.container_id] = granted
            session.versions[granted.container_id] = 0
            session.kept_back.append(granted)
        for ended in heartbeat.ended:
            completed.append(self._ended(session, ended))
        for warned in heartbeat.warned:
            session.warned[warned.container_id] = warned
        for name in heartbeat.spared:
            session.warned.pop(name, None)
        told = [granted for granted in session.kept_back if self._grants.is_found(granted.node_id)]
        session.kept_back = [granted for granted in session.kept_back if granted not in told]
        response = service.AllocateResponseProto(
            response_id=heartbeat.response_id,
            allocated_containers=[self._grants.container(granted, standing.user) for granted in told],
            completed_container_statuses=completed,
            updated_containers=self._updates.told(heartbeat, session, standing.user),
            limit=cluster.limit(standing.queue),
            num_cluster_nodes=cluster.node_count,
            nm_tokens=self._grants.node_tokens(session, attempt, standing.user, [granted.node_id for granted in told]),
            application_priority=records.PriorityProto(priority=max(0, standing.priority)),
        )
        if changed := cluster.changed_since(session.node_changes):
            response.updated_nodes.extend(changed)
            session.node_changes = cluster.changes
        preemption = preemption_message(session.warned.values(), session.granted, self._clock())
        if preemption is not None:
            response.preempt.CopyFrom(preemption)
        return response

    def _ended(self, session: Session, ended: EndedContainer) -> records.ContainerStatusProto:
        name = ended.container_id
        granted = session.granted.get(name)
        resources = Resources.of(granted.resources) if granted is not None else None
        status = completed_status(ended, resources, released=name in session.released)
        if granted is not None:
            status.executionType = message_of(granted.execution_type)
        session.ended(name, status)
        return status

    def _renewed(self, caller: Caller) -> TokenProto | None:
        return self._secrets.renew_amrm(caller.token) if caller.token is not None else None

    # --- finish

    async def finish(
        self, request: service.FinishApplicationMasterRequestProto, caller: Caller
    ) -> service.FinishApplicationMasterResponseProto:
        attempt = _attempt(caller)
        standing = self._sessions.standing(attempt)
        if standing.finished:
            # The first word stands.
            return service.FinishApplicationMasterResponseProto(isUnregistered=True)
        if not standing.registered:
            raise _not_registered(attempt)
        try:
            await self._facade.masters.finish(
                str(attempt),
                _FINAL[request.final_application_status],
                request.diagnostics,
                tracking_url=request.tracking_url,
            )
        except Conflict:
            raise _not_registered(attempt) from None
        return service.FinishApplicationMasterResponseProto(isUnregistered=True)


def _attempt(caller: Caller) -> AttemptId:
    if caller.attempt is None:
        raise InvalidToken("a master speaks with the token of its attempt")
    return caller.attempt


def _not_registered(attempt: AttemptId) -> ApplicationMasterNotRegistered:
    return ApplicationMasterNotRegistered(
        f"Application Master is not registered for known application: {attempt.application}. Let AM resync."
    )


def _refusal(error: InvalidInput, attempt: AttemptId) -> YarnError:
    if error.field == "response_id":
        return InvalidApplicationMasterRequest(
            f"Invalid responseId in AllocateRequest from application attempt: {attempt}, {error.problem}"
        )
    if error.field.startswith("asks"):
        return InvalidResourceRequest(f"Invalid resource request, {error.problem}")
    return from_hrm(error) if isinstance(error, InvalidNodeLabel) else IllegalArgument(str(error))
