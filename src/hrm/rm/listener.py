"""What the engine tells the ResourceManager: each report becomes something that the next turn handles.

Registration is where two truths meet: what the store says should run on the node, and what the node says does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import structlog

from hrm.core.events import ContainerFinished, ContainerRecovered, NodeAdded, NodeRemoved, NodeResourceUpdate
from hrm.model.containers import ContainerUsage, ExitRecord, NodeUsage, StartRecord
from hrm.model.ids import ContainerId
from hrm.model.nodes import NodeSpec
from hrm.model.states import ContainerState, NodeState
from hrm.rm.applications import LiveContainer
from hrm.rm.manager import ResourceManager
from hrm.rm.nodes import LiveNode
from hrm.rm.turn import Turn

log = structlog.get_logger(__name__)


#: How long a restarted manager waits for the nodes on which its containers ran.
PATIENCE_S = 60.0


class Listener:
    """The manager's ear (`hrm.engines.base.EngineListener`).

    ``recovering`` are the containers that the store says were not over when the last server ended, and of which no
    node has spoken yet: neither the scheduler knows them nor is it known what became of them.
    """

    def __init__(self, manager: ResourceManager) -> None:
        self._manager = manager
        self.recovering: dict[ContainerId, LiveContainer] = {}

    # --- the engine's calls

    def node_registered(
        self, node: NodeSpec, running: Sequence[StartRecord], finished: Sequence[ExitRecord], isolation: str
    ) -> None:
        self._manager.post(self._registered, node, tuple(running), tuple(finished), isolation)

    def node_lost(self, node_id: str, reason: str) -> None:
        self._manager.post(self._lost, node_id, reason)

    def heartbeat(self, node_id: str, usage: NodeUsage, containers: Sequence[ContainerUsage]) -> None:
        self._manager.post(self._beat, node_id, usage, tuple(containers))

    def containers_started(self, node_id: str, started: Sequence[StartRecord]) -> None:
        for record in started:
            self._manager.post(
                self._manager.container_started, ContainerId.parse(record.container_id), record.pid, record.started_at
            )

    def containers_finished(self, node_id: str, finished: Sequence[ExitRecord]) -> None:
        for record in finished:
            self._manager.post(self._manager.container_finished, node_id, record)

    # --- in a turn

    def _registered(
        self,
        turn: Turn,
        spec: NodeSpec,
        running: tuple[StartRecord, ...],
        finished: tuple[ExitRecord, ...],
        isolation: str,
    ) -> None:
        manager = self._manager
        node = manager.nodes.get(spec.node_id)
        back = node is not None and node.state is not NodeState.LOST
        node = LiveNode(spec=spec, state=NodeState.RUNNING, isolation=isolation, last_heartbeat_at=turn.now)
        manager.nodes.put(node)
        turn.touch(node)
        manager.tell(turn, NodeResourceUpdate(spec) if back else NodeAdded(spec))
        manager.record(
            turn, "node_registered", node_id=spec.node_id, running=len(running), unacknowledged=len(finished)
        )
        told = {ContainerId.parse(text) for text in _named(running, finished)}
        for container in self._expected_on(spec.node_id):
            if container.id in told:
                self._recover(turn, container)
            else:
                self._missing(turn, container)
        for start in running:
            container_id = ContainerId.parse(start.container_id)
            if container_id in manager.containers:
                manager.container_started(turn, container_id, start.pid, start.started_at)
            else:
                log.warning("stopping a container nobody owns", container_id=start.container_id, node_id=spec.node_id)
                turn.stop(spec.node_id, start.container_id)
        for end in finished:
            manager.container_finished(turn, spec.node_id, end)
        manager.pacer.room(spec.node_id)

    def _expected_on(self, node_id: str) -> list[LiveContainer]:
        """What should run there. A launch that is still on its way is not expected yet."""
        return [
            container
            for container in self._manager.containers.values()
            if container.row.node_id == node_id
            and (container.id in self.recovering or container.row.state is not ContainerState.ALLOCATED)
        ]

    def _recover(self, turn: Turn, container: LiveContainer) -> None:
        if self.recovering.pop(container.id, None) is not None:
            row = container.row
            self._manager.tell(
                turn,
                ContainerRecovered(container.id, row.node_id, row.resources, row.device_ids, row.priority),
            )

    def _missing(self, turn: Turn, container: LiveContainer) -> None:
        """Its node does not know it: it never started, or its end was never seen."""
        if self.recovering.pop(container.id, None) is None:
            self._manager.tell(turn, ContainerFinished(container.id))
        self._manager.lose_container(turn, container, "its node does not know it")

    def _lost(self, turn: Turn, node_id: str, reason: str) -> None:
        manager = self._manager
        node = manager.nodes.get(node_id)
        if node is None or node.state is NodeState.LOST:
            return
        node.state, node.message = NodeState.LOST, reason
        turn.touch(node)
        manager.record(turn, "node_lost", node_id=node_id, message=reason)
        manager.pacer.forget(node_id)
        manager.tell(turn, NodeRemoved(node_id))

    def _beat(self, turn: Turn, node_id: str, usage: NodeUsage, containers: tuple[ContainerUsage, ...]) -> None:
        manager = self._manager
        node = manager.nodes.get(node_id)
        if node is None or node.state is NodeState.LOST:
            return
        node.usage, node.last_heartbeat_at = usage, turn.now
        for use in containers:
            container = manager.containers.get(ContainerId.parse(use.container_id))
            if container is None:
                continue
            container.usage = use
            app = manager.applications.get(container.id.attempt.application)
            if use.progress is not None and app is not None:
                app.master.report_progress(container.id, use.progress)
        manager.pacer.heartbeat(node_id)

    def give_up_recovering(self, turn: Turn) -> None:
        """The nodes of these did not come back in time."""
        for container in list(self.recovering.values()):
            del self.recovering[container.id]
            self._manager.lose_container(turn, container, f"its node {container.row.node_id} did not come back")


def _named(running: Sequence[StartRecord], finished: Sequence[ExitRecord]) -> Iterator[str]:
    for start in running:
        yield start.container_id
    for end in finished:
        yield end.container_id
