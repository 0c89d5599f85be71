"""An engine in memory. It really implements the interface; what it runs is played (see `fake_programs`).

Tests drive it: `FakeEngine.finish` ends a container, `lose_node` takes a machine away, `hold_reports` delays what the
listener would hear, `repeat_reports` tells it twice.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from hrm.engines.base import EngineListener
from hrm.files.reading import PieceStream
from hrm.model.cleaning import CleanPolicy, Freed
from hrm.model.containers import (
    ContainerUsage,
    ExitReason,
    LaunchSpec,
    LogChunk,
    LogFile,
    NodeUsage,
    PreemptionNotice,
)
from hrm.model.errors import ClusterError, Conflict, NotFound
from hrm.model.execution import ExecSpec
from hrm.model.findings import DoctorReport, Finding
from hrm.model.launch_contexts import taken_from
from hrm.model.nodes import NodeSpec
from hrm.model.relaunching import LaunchPhase, LaunchState, Localization, LocalizationState, Relaunch
from hrm.model.resources import Resources
from hrm.nm.shepherd.launches import RUNS
from hrm.testing.clock import ManualClock
from hrm.testing.echo import Echo
from hrm.testing.fake_cluster import FakeCluster, FakeContainer, FakeNode, Report
from hrm.testing.fake_files import read_made
from hrm.testing.played_guests import PlayedGuest


class FakeEngine:
    """See the module. Without ``cluster`` it has one of its own, of ``nodes`` (default: one, 8 vcores and 16 GiB).

    With a ManualClock time passes only when the test says so, and heartbeats come only by `beat`.
    """

    name = "fake"

    def __init__(
        self,
        nodes: Sequence[NodeSpec] = (NodeSpec(node_id="node1", total=Resources(16384, 8000)),),
        *,
        cluster: FakeCluster | None = None,
        clock: ManualClock | None = None,
        heartbeat_interval_s: float = 1.0,
    ) -> None:
        self.cluster = cluster or FakeCluster(nodes, clock=clock)
        #: Every launch that was asked for, repeats too.
        self.launches: list[LaunchSpec] = []
        #: Every id that was acknowledged, repeats too.
        self.acknowledged: list[str] = []
        #: (node, application) of each that a node was told is over.
        self.ended_applications: list[tuple[str, str]] = []
        #: (policy, spared applications, dry run) of each `clean`.
        self.cleanings: list[tuple[CleanPolicy, frozenset[str], bool]] = []
        #: Why no port is to be had, the next times that somebody wants one.
        self.port_troubles: list[str] = []
        #: What the doctor found last, by node.
        self.findings: dict[str, DoctorReport] = {}
        self._ports = itertools.count(20_000)
        self._heartbeat_interval_s = heartbeat_interval_s
        self._listener: EngineListener | None = None
        self._heart: asyncio.Task[None] | None = None
        self._held: list[Report] | None = None
        self._times = 1

    # The interface

    async def start(self, listener: EngineListener) -> None:
        self._listener = listener
        self.cluster.tell = self._tell
        for node in self.cluster.nodes.values():
            self.cluster.register(node)
        if self.cluster.clock is None:
            self._heart = asyncio.get_running_loop().create_task(self._heartbeats())

    async def close(self) -> None:
        self._listener = None
        if self.cluster.tell == self._tell:
            self.cluster.tell = None
        if self._heart:
            self._heart.cancel()
            await asyncio.gather(self._heart, return_exceptions=True)

    def launch(self, node_id: str, specs: Sequence[LaunchSpec]) -> None:
        node = self.cluster.node(node_id)
        self.launches += specs
        for spec in specs:
            self.cluster.launch(node, spec)

    def stop_containers(self, node_id: str, container_ids: Sequence[str], *, grace_s: float) -> None:
        for container_id in container_ids:
            if container := self.cluster.node(node_id).containers.get(container_id):
                self.cluster.stop(container, grace_s)

    def signal(self, node_id: str, container_id: str, signum: int) -> None:
        container = self.cluster.node(node_id).containers.get(container_id)
        if container and container.program:
            container.program.signal(signum)

    def resize(self, node_id: str, container_id: str, resources: Resources) -> None:
        if container := self.cluster.node(node_id).containers.get(container_id):
            container.held_to = resources

    def freeze(self, node_id: str, container_ids: Sequence[str], *, frozen: bool) -> None:
        for container_id in container_ids:
            if container := self.cluster.node(node_id).containers.get(container_id):
                self.cluster.freeze(container, frozen=frozen)

    def warn(self, node_id: str, container_id: str, notice: PreemptionNotice) -> None:
        if container := self.cluster.node(node_id).containers.get(container_id):
            self.cluster.warn(container, notice)

    def spare(self, node_id: str, container_id: str) -> None:
        if container := self.cluster.node(node_id).containers.get(container_id):
            self.cluster.spare(container)

    def acknowledge(self, node_id: str, container_ids: Sequence[str]) -> None:
        self.acknowledged += container_ids
        for container_id in container_ids:
            container = self.cluster.node(node_id).containers.get(container_id)
            if container and container.ended:
                container.acknowledged = True

    def forget(self, node_id: str, container_ids: Sequence[str]) -> None:
        self.cluster.forget(self.cluster.node(node_id), container_ids)

    def end_applications(self, node_id: str, application_ids: Sequence[str]) -> None:
        self.cluster.node(node_id)
        self.ended_applications += [(node_id, application_id) for application_id in application_ids]

    async def clean(
        self, node_id: str, policy: CleanPolicy, *, spare: Collection[str], dry_run: bool, budget_s: float
    ) -> Freed:
        self.cleanings.append((policy, frozenset(spare), dry_run))
        return self.cluster.clean(self.cluster.node(node_id), policy, spare=spare, dry_run=dry_run)

    async def read_log(self, node_id: str, container_id: str, stream: str, *, offset: int, max_bytes: int) -> LogChunk:
        container = self.cluster.container(node_id, container_id)
        if stream not in container.logs:
            raise NotFound(f"{container_id} has no log file {stream!r}")
        log = container.logs[stream]
        begin = max(0, len(log) + offset) if offset < 0 else min(offset, len(log))
        data = bytes(log[begin : begin + max_bytes])
        end = container.ended is not None and begin + len(data) == len(log)
        dropped = container.dropped.get(stream, 0)
        return LogChunk(data=data, next_offset=begin + len(data), end=end, dropped_bytes=dropped)

    async def log_files(self, node_id: str, container_id: str) -> list[LogFile]:
        logs = self.cluster.container(node_id, container_id).logs
        return [LogFile(name=name, size_bytes=len(log), modified_at=0.0) for name, log in logs.items()]

    async def write_stdin(self, node_id: str, container_id: str, data: bytes) -> None:
        container = self.cluster.container(node_id, container_id)
        await container.begun.wait()
        if container.ended:
            return
        if not (container.spec.stdin or container.spec.terminal) or container.input_closed:
            raise NotFound(f"container {container_id} takes no input")
        if container.program:
            container.program.feed(data)

    def close_stdin(self, node_id: str, container_id: str) -> None:
        if container := self.cluster.node(node_id).containers.get(container_id):
            self.cluster.end_input(container)

    def resize_terminal(self, node_id: str, container_id: str, rows: int, columns: int) -> None:
        self.cluster.node(node_id)

    async def examine(self, node_id: str, only: Sequence[str]) -> DoctorReport:
        self.cluster.node(node_id)
        return replace(self.findings.get(node_id, DoctorReport(node=node_id)), node=node_id)

    async def read_files(self, node_id: str, container_id: str, path: str) -> PieceStream:
        return read_made(self.cluster.container(node_id, container_id).files, path)

    async def free_port(self, node_id: str) -> int:
        """Each only once. Raises NotFound."""
        self.cluster.node(node_id)
        if self.port_troubles:
            raise ClusterError(self.port_troubles.pop())
        return next(self._ports)

    async def listening_ports(self, node_id: str, container_id: str) -> list[int]:
        return sorted(self._running(node_id, container_id).ports)

    async def relay(self, node_id: str, to: tuple[str, int], purpose: str = "rpc") -> tuple[str, int] | None:
        return None

    async def connect(self, node_id: str, container_id: str, port: int) -> Echo:
        if port not in self._running(node_id, container_id).ports:
            raise Conflict(f"no process of the container listens on port {port}")
        return Echo()

    async def execute(self, node_id: str, container_id: str, spec: ExecSpec) -> PlayedGuest:
        container = self._running(node_id, container_id)
        if container.frozen:
            raise Conflict("its application is suspended")
        return self.cluster.execute(self.cluster.node(node_id), container, spec)

    async def relaunch(self, node_id: str, container_id: str, order: Relaunch) -> None:
        self.cluster.relaunch(self.cluster.node(node_id), self._running(node_id, container_id), order)

    async def localize(self, node_id: str, spec: LaunchSpec) -> None:
        """Files of the machine that are there are had at once, others never."""
        container = self._running(node_id, spec.container_id)
        if container.launches.phase != RUNS:
            raise Conflict("it is being started anew")
        self.cluster.localize(container, taken_from(dict(spec.env)).local_resources)

    async def launch_state(self, node_id: str, container_id: str) -> LaunchState:
        container = self._running(node_id, container_id)
        lives = container.launches
        first = {
            link: Localization(link=link, state=LocalizationState.COMPLETED)
            for link in (lives.program or {}).get("links", ())
        }
        return LaunchState(
            launch=lives.number,
            phase=LaunchPhase(lives.phase),
            can_roll_back=lives.can_roll_back,
            notes=tuple(lives.notes),
            localizations=tuple((first | container.localized).values()),
        )

    def _running(self, node_id: str, container_id: str) -> FakeContainer:
        container = self.cluster.container(node_id, container_id)
        if not container.running:
            raise NotFound(f"container {container_id} does not run here")
        return container

    # What tests do to it

    def listen(self, container_id: str, port: int) -> None:
        """The program listens on that port from now on, and sends back what it is sent. Raises NotFound."""
        self._container(container_id).ports.add(port)

    def running(self) -> list[str]:
        """Ids of the containers that run, on all nodes."""
        nodes = self.cluster.nodes.values()
        return [key for node in nodes for key, container in node.containers.items() if container.running]

    def notice_of(self, container_id: str) -> PreemptionNotice | None:
        """What the container is told of its end for others; None iff nothing. Raises NotFound."""
        return self._container(container_id).notice

    def frozen(self) -> list[str]:
        """Ids of the containers that are halted."""
        nodes = self.cluster.nodes.values()
        return [key for node in nodes for key, one in node.containers.items() if one.running and one.frozen]

    def save(self, container_id: str) -> None:
        """The task says that it saved its work just now. Raises NotFound."""
        self._container(container_id).saved_at = self.cluster.now()

    def _container(self, container_id: str) -> FakeContainer:
        for node in self.cluster.nodes.values():
            if container := node.containers.get(container_id):
                return container
        raise NotFound(f"no container {container_id}")

    def finish(self, container_id: str, exit_code: int = 0, *, reason: ExitReason = ExitReason.EXITED) -> None:
        """End a container so; LOST ends it without a code. Raises NotFound."""
        for node in self.cluster.nodes.values():
            if container := node.containers.get(container_id):
                self.cluster.end(node, container, None if reason is ExitReason.LOST else exit_code, reason)
                return
        raise NotFound(f"no container {container_id}")

    def add_node(self, spec: NodeSpec) -> None:
        """A machine joins."""
        node = self.cluster.nodes[spec.node_id] = FakeNode(spec)
        self.cluster.register(node)

    def lose_node(self, node_id: str, reason: str = "it does not answer") -> None:
        """The machine is out of sight. What runs there runs on."""
        self.cluster.node(node_id).connected = False
        self._tell(lambda listener: listener.node_lost(node_id, reason))

    def refuse_node(self, name: str, reason: str) -> None:
        """A machine is there that cannot be a node; "" when it can."""
        self._tell(lambda listener: listener.node_refused(name, reason))

    def change_node(self, spec: NodeSpec, message: str = "", lost_devices: Mapping[str, str] | None = None) -> None:
        """The machine is now as ``spec`` says."""
        self.cluster.node(spec.node_id).spec = spec
        self._tell(lambda listener: listener.node_changed(spec, message, lost_devices or {}))

    def examine_node(self, node_id: str, *findings: Finding) -> None:
        """The doctor makes a round of this node and finds these."""
        report = self.findings[node_id] = DoctorReport(node=node_id, findings=findings)
        self._tell(lambda listener: listener.node_examined(node_id, report))

    def return_node(self, node_id: str) -> None:
        """It is back, with all that ran and ended meanwhile."""
        node = self.cluster.node(node_id)
        node.connected = True
        self.cluster.register(node)

    def restart_node(self, node_id: str) -> None:
        """The machine went down and came back: whatever ran there is LOST."""
        node = self.cluster.node(node_id)
        node.connected = False
        for container in node.containers.values():
            self.cluster.end(node, container, None, ExitReason.LOST, "the machine was started anew")
        self.return_node(node_id)

    def hold_reports(self) -> None:
        """From now on the listener hears nothing …"""
        self._held = self._held or []

    def release_reports(self) -> None:
        """… until now, when it hears everything in order."""
        held, self._held = self._held or [], None
        for report in held:
            self._tell(report)

    def repeat_reports(self, times: int = 2) -> None:
        """From now on tell everything so many times over."""
        self._times = times

    def beat(self, node_id: str) -> None:
        """One heartbeat of a node, now."""
        running = [one for one in self.cluster.node(node_id).containers.values() if one.running]
        usage = NodeUsage(memory_used_mib=0, cpu_milli=0, disk_free_mib=1 << 20)
        containers = [
            ContainerUsage(
                container_id=container.spec.container_id,
                memory_mib=0,
                cpu_milli=0,
                read_bytes=0,
                written_bytes=0,
                disk_mib=0,
                saved_at=container.saved_at,
            )
            for container in running
        ]
        self._tell(lambda listener: listener.heartbeat(node_id, usage, containers))

    def _tell(self, report: Report) -> None:
        if self._held is not None:
            self._held.append(report)
        elif self._listener:
            for _ in range(self._times):
                report(self._listener)

    async def _heartbeats(self) -> None:
        while True:
            for node_id, node in list(self.cluster.nodes.items()):
                if node.connected:
                    self.beat(node_id)
            await asyncio.sleep(self._heartbeat_interval_s)
