"""What the engine tells the ResourceManager: each report becomes something that the next turn handles.

Registration is where two truths meet: what the store says should run on the node, and what the node says does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from hrm.am.gang import GANG_ID
from hrm.core.events import (
    ContainerFinished,
    ContainerRecovered,
    NodeAdded,
    NodeRemoved,
    NodeResourceUpdate,
    NodeSchedulable,
)
from hrm.model.containers import ContainerUsage, ExitRecord, NodeUsage, StartRecord
from hrm.model.findings import DoctorReport
from hrm.model.isolation import Isolation
from hrm.model.nodes import NodeSpec
from hrm.model.states import ContainerState, NodeState
from hrm.rm import suspension
from hrm.rm.applications import LiveContainer
from hrm.rm.health import Health
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

    def __init__(self, manager: ResourceManager, health: Health) -> None:
        self._manager = manager
        self._health = health
        self.recovering: dict[str, LiveContainer] = {}

    # --- the engine's calls

    def node_registered(
        self, node: NodeSpec, running: Sequence[StartRecord], finished: Sequence[ExitRecord], isolation: Isolation
    ) -> None:
        self._manager.post(self._registered, node, tuple(running), tuple(finished), isolation)

    def node_changed(self, node: NodeSpec, message: str, lost_devices: Mapping[str, str]) -> None:
        self._manager.post(self._changed, node, message, dict(lost_devices))

    def node_examined(self, node_id: str, report: DoctorReport) -> None:
        self._manager.post(self._health.examined, node_id, report)

    def node_lost(self, node_id: str, reason: str) -> None:
        self._manager.post(self._lost, node_id, reason)

    def node_refused(self, name: str, reason: str) -> None:
        self._manager.post(self._refused, name, reason)

    def heartbeat(self, node_id: str, usage: NodeUsage, containers: Sequence[ContainerUsage]) -> None:
        self._manager.post(self._beat, node_id, usage, tuple(containers))

    def containers_started(self, node_id: str, started: Sequence[StartRecord]) -> None:
        self._manager.post(self._started, node_id, started)

    def containers_finished(self, node_id: str, finished: Sequence[ExitRecord]) -> None:
        self._manager.post(self._finished, node_id, finished)

    # --- in a turn

    def _registered(
        self,
        turn: Turn,
        spec: NodeSpec,
        running: tuple[StartRecord, ...],
        finished: tuple[ExitRecord, ...],
        isolation: Isolation,
    ) -> None:
        manager = self._manager
        node_id = spec.node_id
        back = manager.nodes.is_up(node_id)
        itself, whole = spec, manager.nodes.dressed(spec)
        spec = self._health.lent(whole)
        node = LiveNode(
            spec=spec,
            whole=whole,
            told=itself,
            state=NodeState.RUNNING,
            isolation=isolation,
            last_heartbeat_at=turn.now,
        )
        manager.nodes.put(node)
        self._health.greet(node)
        turn.touch(node)
        manager.tell(turn, NodeResourceUpdate(spec) if back else NodeAdded(spec))
        manager.tell(turn, NodeSchedulable(node_id, manager.nodes.is_schedulable(node_id)))
        manager.record(turn, "node_registered", node_id=node_id, running=len(running), unacknowledged=len(finished))
        started = {start.container_id: start.started_at for start in running}
        told = started.keys() | {end.container_id for end in finished}
        expected = [one for one in manager.containers.values() if one.row.node_id == node_id]
        # At once, or what runs there would be granted a second time.
        for container in expected:
            if container.row.container_id in told:
                self._recover(turn, container, started.get(container.row.container_id))
            else:
                self._missing(turn, container)
        self._finished(turn, node_id, finished)
        self._started(turn, node_id, running)
        manager.places_changed()
        manager.pacer.room(node_id)

    def _started(self, turn: Turn, node_id: str, started: Sequence[StartRecord]) -> None:
        def one(turn: Turn, record: StartRecord) -> None:
            self._manager.containers.started(turn, node_id, record)

        self._manager.turns.each(turn, one, started)

    def _finished(self, turn: Turn, node_id: str, finished: Sequence[ExitRecord]) -> None:
        def one(turn: Turn, record: ExitRecord) -> None:
            self._manager.containers.finished(turn, node_id, record)

        self._manager.turns.each(turn, one, finished)

    def _recover(self, turn: Turn, container: LiveContainer, started_at: float | None) -> None:
        """``started_at`` is None iff it does not run any more."""
        row = container.row
        recovering = self.recovering.pop(row.container_id, None) is not None
        if recovering:
            app = self._manager.applications.get(container.id.attempt.application)
            self._manager.tell(
                turn,
                ContainerRecovered(
                    container.id,
                    row.node_id,
                    row.resources,
                    row.device_ids,
                    row.priority,
                    started_at=started_at or row.started_at,
                    for_master=app is not None and app.job.master is not None and row.task_index == 0,
                    gang_id=GANG_ID if app is not None and app.job.gang else None,
                    tags=frozenset(row.tags or ()),
                    execution_type=row.execution_type,
                ),
            )
        if started_at is not None:
            self._manager.preemptions.registered(turn, container, recovering=recovering)
            suspension.registered(turn, self._manager, container)
            app = self._manager.applications.get(container.id.attempt.application)
            if app is not None and app.job.master is not None:
                # It may have been resized while the node was away, or the server died before it told the node.
                turn.resize(row.node_id, row.container_id, row.resources)
        if row.state is ContainerState.STOPPING and not (row.preemption and row.preemption.killed):
            # It may not have heard.
            turn.stop(row.node_id, row.container_id)

    def _missing(self, turn: Turn, container: LiveContainer) -> None:
        """Its node does not know it."""
        if self.recovering.pop(container.row.container_id, None) is not None:
            self._manager.containers.lose(turn, container, "its node does not know it")
        elif container.row.state is not ContainerState.ALLOCATED:
            self._manager.tell(turn, ContainerFinished(container.id))
            self._manager.containers.lose(turn, container, "its node does not know it")
        elif container.launch is not None:
            # The launch is on its way, or was lost on it. Asking twice is harmless.
            turn.launch(container.row.node_id, container.launch)

    def _changed(self, turn: Turn, spec: NodeSpec, message: str, lost_devices: dict[str, str]) -> None:
        manager = self._manager
        node = manager.nodes.get(spec.node_id)
        if node is None or node.state is NodeState.LOST:
            return
        whole = manager.nodes.dressed(spec)
        node.spec, node.whole, node.told, node.message = self._health.lent(whole), whole, spec, message
        turn.touch(node)
        manager.record(turn, "node_changed", node_id=spec.node_id, gpus=len(spec.devices), message=message)
        manager.tell(turn, NodeResourceUpdate(node.spec))
        if lost_devices:
            manager.containers.lose_devices(turn, spec.node_id, lost_devices)
        manager.places_changed()
        manager.pacer.room(spec.node_id)

    def _lost(self, turn: Turn, node_id: str, reason: str) -> None:
        manager = self._manager
        node = manager.nodes.get(node_id)
        if node is None or node.state is NodeState.LOST:
            return
        node.state, node.message = NodeState.LOST, reason
        turn.touch(node)
        manager.record(turn, "node_lost", node_id=node_id, message=reason)
        manager.places_changed()
        manager.pacer.forget(node_id)
        manager.turns.each(turn, manager.obey_one, manager.scheduler.handle(NodeRemoved(node_id), turn.now))

    def _refused(self, turn: Turn, name: str, reason: str) -> None:
        if self._manager.nodes.refuse(name, reason):
            self._manager.record(turn, "node_refused", name=name, message=reason)

    def _beat(self, turn: Turn, node_id: str, usage: NodeUsage, containers: tuple[ContainerUsage, ...]) -> None:
        manager = self._manager
        node = manager.nodes.get(node_id)
        if node is None or node.state is NodeState.LOST:
            return
        node.usage, node.last_heartbeat_at = usage, turn.now
        manager.pacer.heartbeat(node_id)
        manager.turns.each(turn, manager.containers.used, containers)

    def give_up_recovering(self, turn: Turn) -> None:
        """The nodes of these did not come back in time."""
        for name, container in self.recovering.items():
            # Its end may have been told meanwhile.
            if name in self._manager.containers:
                self._manager.containers.lose(turn, container, f"its node {container.row.node_id} did not come back")
        self.recovering.clear()
