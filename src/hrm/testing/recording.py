"""An ear that remembers what an engine tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hrm.model.containers import ContainerUsage, ExitRecord, NodeUsage, StartRecord
from hrm.model.findings import DoctorReport
from hrm.model.isolation import Isolation
from hrm.model.nodes import NodeSpec


class RecordingListener:
    """Remembers what an engine tells."""

    def __init__(self) -> None:
        self.nodes: dict[str, NodeSpec] = {}
        self.isolation: dict[str, Isolation] = {}
        #: The lists given with the latest registration.
        self.registered_running: list[StartRecord] = []
        self.registered_finished: list[ExitRecord] = []
        self.examined: list[DoctorReport] = []
        #: (node, message, lost devices) of each `node_changed`.
        self.changes: list[tuple[NodeSpec, str, Mapping[str, str]]] = []
        self.lost: list[tuple[str, str]] = []
        #: Machines that cannot be nodes, and why; "" once they can.
        self.refused: dict[str, str] = {}
        self.heartbeats: list[tuple[NodeUsage, Sequence[ContainerUsage]]] = []
        self.starts: list[StartRecord] = []
        self.ends: list[ExitRecord] = []

    def node_registered(
        self, node: NodeSpec, running: Sequence[StartRecord], finished: Sequence[ExitRecord], isolation: Isolation
    ) -> None:
        self.nodes[node.node_id] = node
        self.isolation[node.node_id] = isolation
        self.registered_running = list(running)
        self.registered_finished = list(finished)

    def node_changed(self, node: NodeSpec, message: str, lost_devices: Mapping[str, str]) -> None:
        self.nodes[node.node_id] = node
        self.changes.append((node, message, lost_devices))

    def node_examined(self, node_id: str, report: DoctorReport) -> None:
        self.examined.append(report)

    def node_lost(self, node_id: str, reason: str) -> None:
        self.lost.append((node_id, reason))

    def node_refused(self, name: str, reason: str) -> None:
        self.refused[name] = reason

    def heartbeat(self, node_id: str, usage: NodeUsage, containers: Sequence[ContainerUsage]) -> None:
        self.heartbeats.append((usage, containers))

    def containers_started(self, node_id: str, started: Sequence[StartRecord]) -> None:
        self.starts += started

    def containers_finished(self, node_id: str, finished: Sequence[ExitRecord]) -> None:
        self.ends += finished
