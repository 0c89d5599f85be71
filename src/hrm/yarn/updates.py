"""Containers that masters want larger or smaller (UpdateContainerRequest): checked here, decided by the scheduler."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hrm.config.yarn_values import YarnConfig
from hrm.model.ids import AttemptId
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
        by_name: dict[str, service.UpdateContainerRequestProto] = {}
        errors: list[service.UpdateContainerErrorProto] = []
        for message in messages:
            name = ""
            try:
                name = str(container_id(message.container_id))
                if name in wanted:
                    raise YarnError(f"{TWICE}: {name} is named twice")
                size = self._size(message, name, session, maximum)
            except YarnError as error:
                errors.append(_error(message, str(error), session.versions.get(name, 0)))
            else:
                wanted[name], by_name[name] = size, message
        if wanted:
            refused = await self._facade.masters.resize(str(attempt), wanted)
            for name, why in refused.items():
                errors.append(_error(by_name[name], f"{OUT_OF_RANGE}: {why}", session.versions.get(name, 0)))
        return errors

    def _size(
        self, message: service.UpdateContainerRequestProto, name: str, session: Session, maximum: Resources
    ) -> Resources:
        """What it is to hold. Raises YarnError."""
        held_by = session.granted.get(name)
        if held_by is None or name not in session.launched:
            raise YarnError(f"{NOT_THIS_ONE}: nothing of this application runs in {name}")
        # After a restart of the server nobody here knows: then the master's word counts.
        version = session.versions.get(name, message.container_version)
        if message.container_version != version:
            raise YarnError(f"{OTHER_VERSION}|{message.container_version}|{version}: {name} has another version")
        if message.update_type not in (service.INCREASE_RESOURCE, service.DECREASE_RESOURCE):
            raise YarnError(f"{TWICE}: all containers are guaranteed here, and stay so")
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

    def told(
        self, resized: dict[str, dict[str, int]], session: Session, user: str
    ) -> list[service.UpdatedContainerProto]:
        """Those that hold more or less since the last heartbeat, with new tokens; older ones are good no more."""
        found = []
        for name, resources in resized.items():
            before = session.granted.get(name)
            if before is None:
                continue
            grown = not Resources.of(resources).fits_in(Resources.of(before.resources))
            now = session.granted[name] = replace(before, resources=resources)
            session.versions[name] = version = session.versions.get(name, 0) + 1
            found.append(
                service.UpdatedContainerProto(
                    update_type=service.INCREASE_RESOURCE if grown else service.DECREASE_RESOURCE,
                    container=self._grants.container(now, user, version=version),
                )
            )
        return found


def check_count(messages: object) -> None:
    """Raises YarnError."""
    if len(messages) > MAX_UPDATES:  # type: ignore[arg-type]
        raise YarnError(f"more than {MAX_UPDATES} containers updated at once: {len(messages)}")  # type: ignore[arg-type]


def _error(message: service.UpdateContainerRequestProto, why: str, version: int) -> service.UpdateContainerErrorProto:
    return service.UpdateContainerErrorProto(reason=why, update_request=message, current_container_version=version)
