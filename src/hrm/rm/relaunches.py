"""What own masters ask of containers that run: another launch in place, further files, and how it stands with them.

It is the node that decides whether that can be done, and answers when it has taken it on; nothing is stored here. Each
launch comes back as a start with a number (`hrm.rm.containers`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hrm.am.own_master import OwnMaster
from hrm.model.containers import LaunchSpec
from hrm.model.errors import Conflict, NotFound
from hrm.model.jobs import TaskGroupSpec
from hrm.model.relaunching import LaunchState, Relaunch, RelaunchKind
from hrm.model.states import ContainerState
from hrm.rm.applications import LiveApplication, LiveContainer
from hrm.rm.manager import ResourceManager
from hrm.rm.turn import STOP_GRACE_S


class Relaunches:
    """Of all masters. Every call raises NotFound for a container that is not the application's or has ended."""

    def __init__(self, manager: ResourceManager) -> None:
        self._manager = manager

    async def relaunch(
        self,
        app: LiveApplication,
        master: OwnMaster,
        container_id: str,
        kind: RelaunchKind,
        *,
        command: Sequence[str],
        env: Mapping[str, str],
        auto_commit: bool,
        key: str,
    ) -> None:
        """Raises Conflict, InvalidInput, ClusterError."""
        container = _running(app, container_id)
        spec = _spec(master, container, command or ("true",), env)
        order = Relaunch(
            kind=kind,
            spec=spec if kind is RelaunchKind.REPLACE else None,
            auto_commit=auto_commit,
            key=key,
            grace_s=STOP_GRACE_S,
        )
        await self._manager.engine.relaunch(container.row.node_id, container_id, order)

    async def localize(
        self, app: LiveApplication, master: OwnMaster, container_id: str, command: Sequence[str], env: Mapping[str, str]
    ) -> None:
        """Raises Conflict, InvalidInput, ClusterError."""
        container = _running(app, container_id)
        await self._manager.engine.localize(container.row.node_id, _spec(master, container, command, env))

    async def state(self, app: LiveApplication, container_id: str) -> LaunchState:
        """Raises Conflict for one that does not run yet, and ClusterError."""
        return await self._manager.engine.launch_state(_running(app, container_id).row.node_id, container_id)


def _running(app: LiveApplication, container_id: str) -> LiveContainer:
    container = app.containers.get(container_id)
    if container is None:
        raise NotFound(f"container {container_id} is not this application's, or has ended")
    if container.row.state is not ContainerState.RUNNING:
        raise Conflict(f"container {container_id} does not run: it is {container.row.state}")
    return container


def _spec(master: OwnMaster, container: LiveContainer, command: Sequence[str], env: Mapping[str, str]) -> LaunchSpec:
    group = TaskGroupSpec(command=tuple(command), env=env)
    row = container.row
    return master.spec_anew(row.container_id, row.resources, row.device_ids, group)
