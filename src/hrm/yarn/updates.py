"""What masters want changed of their containers (UpdateContainerRequest): checked here, decided by the scheduler."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hrm.config.yarn_values import YarnConfig
from hrm.model.ids import AttemptId
from hrm.model.masters import GrantedContainer, Heartbeat
from hrm.model.requests import ExecutionType
from hrm.model.resources import GPUS, Resources
from hrm.rm.facade import Facade
from hrm.yarn.amounts import requested
from hrm.yarn.errors import InvalidResourceRequest, YarnError
from hrm.yarn.grants import Grants
from hrm.yarn.ids import container_id
from hrm.yarn.proto import service_pb2 as service
from hrm.yarn.sessions import Session

#: In one heartbeat.
MAX_UPDATES = 1000
#: What clients of YARN look for in an error (RMServerUtils, ContainerUpdateType).
NOT_THIS_ONE = "INVALID_CONTAINER_ID"
OTHER_VERSION = "INCORRECT_CONTAINER_VERSION_ERROR"
TWICE = "UPDATE_OUTSTANDING_ERROR"
OUT_OF_RANGE = "RESOURCE_OUTSIDE_ALLOWED_RANGE"
_TYPES = {
    service.PROMOTE_EXECUTION_TYPE: ExecutionType.GUARANTEED,
    service.DEMOTE_EXECUTION_TYPE: ExecutionType.OPPORTUNISTIC,
}


class Updates:
    """Of one server."""

    def __init__(self, facade: Facade, config: YarnConfig, grants: Grants) -> None:
        self._facade = facade
        self._config = config
        self._grants = grants

    async def take(
        self,
        messages: Iterable[service.UpdateContainerRequestProto],
        session: Session,
        attempt: AttemptId,
        maximum: Resources,
    ) -> list[service.UpdateContainerErrorProto]:
        """Have them done; those that cannot be, each with why."""
        wanted: dict[str, Resources] = {}
        types: dict[str, ExecutionType] = {}
        by_name: dict[str, service.UpdateContainerRequestProto] = {}
        errors: list[service.UpdateContainerErrorProto] = []
        for message in messages:
            name = ""
            try:
                name = str(container_id(message.container_id))
                if name in by_name:
                    raise YarnError(f"{TWICE}: {name} is named twice")
                held = self._held(message, name, session)
                if message.update_type in _TYPES:
                    types[name] = _TYPES[message.update_type]
                else:
                    wanted[name] = self._size(message, name, held, session, maximum)
            except YarnError as error:
                errors.append(_error(message, str(error), session.versions.get(name, 0)))
            else:
                by_name[name] = message
        if types:
            refused = await self._facade.masters.retype(str(attempt), types)
            for name, why in refused.items():
                errors.append(_error(by_name[name], f"{NOT_THIS_ONE}: {why}", session.versions.get(name, 0)))
        if wanted:
            refused = await self._facade.masters.resize(str(attempt), wanted)
            for name, why in refused.items():
                errors.append(_error(by_name[name], f"{OUT_OF_RANGE}: {why}", session.versions.get(name, 0)))
        return errors

    @staticmethod
    def _held(message: service.UpdateContainerRequestProto, name: str, session: Session) -> GrantedContainer:
        """Raises YarnError where it is not there, or was updated since the master looked."""
        held = session.granted.get(name)
        if held is None:
            raise YarnError(f"{NOT_THIS_ONE}: {name} is not of this application, or has ended")
        # After a restart of the server nobody here knows: then the master's word counts.
        version = session.versions.get(name, message.container_version)
        if message.container_version != version:
            raise YarnError(f"{OTHER_VERSION}|{message.container_version}|{version}: {name} has another version")
        return held

    def _size(
        self,
        message: service.UpdateContainerRequestProto,
        name: str,
        held_by: GrantedContainer,
        session: Session,
        maximum: Resources,
    ) -> Resources:
        """What it is to hold. Raises YarnError."""
        if name not in session.launched:
            raise YarnError(f"{NOT_THIS_ONE}: nothing of this application runs in {name}")
        held = Resources.of(held_by.resources)
        try:
            wanted = requested(message.capability, self._config, maximum)
        except InvalidResourceRequest as error:
            raise YarnError(f"{OUT_OF_RANGE}: {error}") from None
        if not wanted.gpus_milli:
            # Clients that know nothing of GPUs name none.
            wanted = replace(wanted, gpus_milli=held.gpus_milli)
        if wanted.gpus_milli != held.gpus_milli:
            raise YarnError(f"{OUT_OF_RANGE}: a container keeps the {GPUS} that it was granted with")
        grows = message.update_type == service.INCREASE_RESOURCE
        small, large = (held, wanted) if grows else (wanted, held)
        if not small.fits_in(large) or small == large:
            raise YarnError(f"{OUT_OF_RANGE}: {wanted} is not {'more' if grows else 'less'} than the {held} it has")
        return wanted

    def told(self, heartbeat: Heartbeat, session: Session, user: str) -> list[service.UpdatedContainerProto]:
        """Those that hold more or less, or are of another type, since the last heartbeat, with new tokens.

        Older tokens are good no more.
        """
        found = []
        for name, execution_type in heartbeat.retyped.items():
            before = session.granted.get(name)
            if before is None:
                continue
            promoted = execution_type is ExecutionType.GUARANTEED
            now = session.granted[name] = replace(before, execution_type=execution_type)
            found.append(
                service.UpdatedContainerProto(
                    update_type=service.PROMOTE_EXECUTION_TYPE if promoted else service.DEMOTE_EXECUTION_TYPE,
                    container=self._grants.container(now, user, version=_next_version(session, name)),
                )
            )
        for name, resources in heartbeat.resized.items():
            before = session.granted.get(name)
            if before is None:
                continue
            grown = not Resources.of(resources).fits_in(Resources.of(before.resources))
            now = session.granted[name] = replace(before, resources=resources)
            found.append(
                service.UpdatedContainerProto(
                    update_type=service.INCREASE_RESOURCE if grown else service.DECREASE_RESOURCE,
                    container=self._grants.container(now, user, version=_next_version(session, name)),
                )
            )
        return found


def _next_version(session: Session, name: str) -> int:
    session.versions[name] = version = session.versions.get(name, 0) + 1
    return version


def check_count(messages: object) -> None:
    """Raises YarnError."""
    if len(messages) > MAX_UPDATES:  # type: ignore[arg-type]
        raise YarnError(f"more than {MAX_UPDATES} containers updated at once: {len(messages)}")  # type: ignore[arg-type]


def _error(message: service.UpdateContainerRequestProto, why: str, version: int) -> service.UpdateContainerErrorProto:
    return service.UpdateContainerErrorProto(reason=why, update_request=message, current_container_version=version)
