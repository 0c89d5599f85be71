"""The engine `ray`: every machine of a Ray cluster is a node."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import structlog

from hrm.doctor.expected import Expected
from hrm.engines.base import EngineListener
from hrm.engines.ray.agent import AgentSettings
from hrm.engines.ray.cluster import Machine, RayCluster, listens
from hrm.engines.ray.link import LEASE_MARGIN_S, Link, Outdated
from hrm.engines.ray.node import RemoteNode
from hrm.engines.ray.remote_stream import RemoteStream
from hrm.engines.ray.sending import send
from hrm.model.auxiliary import AuxiliaryService
from hrm.model.cleaning import CleanPolicy, Freed
from hrm.model.containers import LaunchSpec, LogChunk, LogFile, PreemptionNotice
from hrm.model.engine import EngineSettings, OnPartition
from hrm.model.errors import NotFound
from hrm.model.execution import ExecSpec
from hrm.model.files import FileSettings
from hrm.model.findings import DoctorReport
from hrm.model.isolation import IsolationSettings
from hrm.model.relaunching import LaunchState, Relaunch
from hrm.model.resources import Resources
from hrm.model.streams import ByteStream, ContentSource

_log = structlog.get_logger(__name__)
#: How often Ray is asked who is there.
LOOK_S = 1.0
#: So many looks in a row at a head that refuses connections, two in `LOOK_S`, say that it has ended.
HEAD_LOOKS = 3
#: How long until an agent is started anew that was of another version.
OUTDATED_S = 15.0
DOES_NOT_ANSWER = "it is in the cluster and does not answer"


class RayEngine:
    """See the module. ``server`` names the home that it belongs to; ``epoch`` grows with each start of its server.

    ``address`` is HOST:PORT of Ray's head, ``node_address`` that of the machine we are on, where several are on one.
    """

    name = "ray"

    def __init__(
        self,
        settings: EngineSettings,
        address: str,
        *,
        server: str,
        epoch: int,
        node_address: str | None = None,
        heartbeat_interval_s: float = 1.0,
        keep: CleanPolicy | None = None,
        isolation: IsolationSettings | None = None,
        files: FileSettings | None = None,
        contents: ContentSource | None = None,
        expected: Expected | None = None,
        services: Sequence[AuxiliaryService] = (),
        on_away: Callable[[str], None] | None = None,
    ) -> None:
        """``on_away`` is told, once, that Ray's head has ended: with it ends each process that has joined it, soon."""
        self._settings = settings
        self._address = address
        self._node_address = node_address
        self._server = server
        self._epoch = epoch
        self._sessions = itertools.count(1)
        self._heartbeat_interval_s = heartbeat_interval_s
        self._keep = keep
        self._isolation = isolation or IsolationSettings()
        self._files = files or FileSettings()
        self._contents = contents
        self._expected = expected or Expected()
        self._services = tuple(services)
        self._on_away = on_away
        self._cluster = RayCluster(settings.namespace)
        self._listener: EngineListener | None = None
        self._looking: asyncio.Task[None] | None = None
        #: By Ray's id of the machine, those that Ray lists.
        self._machines: dict[str, _Kept] = {}
        #: Work on machines, those too that left and may still be waited for.
        self._tasks: set[asyncio.Task[None]] = set()
        #: By HRM's id of the node, those that spoke.
        self._nodes: dict[str, RemoteNode] = {}

    async def start(self, listener: EngineListener) -> None:
        await self._cluster.connect(self._address, node_address=self._node_address)
        self._listener = listener
        self._looking = asyncio.create_task(self._look())
        if self._on_away is not None:
            watching = asyncio.create_task(self._watch_head(self._on_away))
            self._tasks.add(watching)
            watching.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        self._listener = None
        tasks = [*self._tasks]
        if self._looking is not None:
            tasks.append(self._looking)
        # What was sent is with the agents; what they report meanwhile is told to the next server.
        while tasks:
            for task in tasks:
                task.cancel()
            # A library on the way may have dropped the cancellation.
            _, left = await asyncio.wait(tasks, timeout=1.0)
            tasks = [*left]
        await self._cluster.close()

    async def _watch_head(self, on_away: Callable[[str], None]) -> None:
        """Silence is none of its business: there Ray itself goes on trying for a minute."""
        host, _, port = self._address.rpartition(":")
        refused = 0
        while refused < HEAD_LOOKS:
            await asyncio.sleep(LOOK_S / 2)
            refused = refused + 1 if await listens(host.strip("[]"), int(port)) is False else 0
        on_away(f"Ray's head at {self._address} has ended")

    # Who is there

    async def _look(self) -> None:
        while True:
            try:
                listed = {machine.ray_node_id: machine for machine in await self._cluster.machines()}
            except Exception as error:  # noqa: BLE001 - whatever Ray's trouble is, the nodes are watched by themselves
                _log.warning("Ray does not say who is in the cluster", error=str(error))
            else:
                await self._compare(listed)
            await asyncio.sleep(LOOK_S)

    async def _compare(self, listed: dict[str, Machine]) -> None:
        for ray_node_id in [*self._machines]:
            if ray_node_id not in listed:
                kept = self._machines.pop(ray_node_id)
                if kept.node is not None:
                    kept.node.left()
                self._tell_refused(kept, "")
                # A lost node that may still run something is waited for by its silence.
                asyncio.get_running_loop().call_later(self._settings.node_timeout_s + 1.0, kept.task.cancel)
                with contextlib.suppress(Exception):
                    await self._cluster.release(ray_node_id)
        for ray_node_id, machine in listed.items():
            if ray_node_id not in self._machines and (self._settings.head_runs_containers or not machine.is_head):
                kept = _Kept(machine)
                self._machines[ray_node_id] = kept
                kept.task = asyncio.create_task(self._keep_machine(kept))
                self._tasks.add(kept.task)
                kept.task.add_done_callback(self._tasks.discard)

    async def _keep_machine(self, kept: _Kept) -> None:
        """Take room on it, have an agent there, and talk to it, until cancelled."""
        part = kept.machine.part(self._settings.slab)
        while True:
            try:
                if await part.raylet_listens() is None:
                    # Not asked for room: Ray makes one placement group at a time, and would wait for this machine for
                    # minutes before it made another's.
                    self._tell_refused(kept, DOES_NOT_ANSWER)
                    await asyncio.sleep(LOOK_S)
                    continue
                if not await self._cluster.reserve(part, which_gpus=self._settings.slab < 1):
                    self._tell_refused(kept, await _why_not_reserved(part))
                    continue
                remote = await self._cluster.agent(part)
                node = RemoteNode(
                    part,
                    self._claim,
                    lambda reason: self._tell_refused(kept, reason),
                    lambda: self._listener,
                    self._send_contents,
                )
                link = Link(
                    remote,
                    node,
                    self._agent_settings(part),
                    server=self._server,
                    generations=lambda: (self._epoch, next(self._sessions)),
                    timeout_s=self._settings.node_timeout_s,
                    gone=part.has_ended,
                )
                node.link = link
                kept.node = node
                await link.run()
            except Outdated as outdated:
                self._tell_refused(kept, str(outdated))
                # The program that is installed there may have been replaced since it was started.
                await self._cluster.end_agent(part)
                await asyncio.sleep(OUTDATED_S)
            except Exception as error:  # noqa: BLE001 - a machine that makes trouble must not take the others along
                _log.warning("trouble with a machine", address=part.address, error=str(error), exc_info=error)
                self._tell_refused(kept, str(error).splitlines()[0] if str(error) else repr(error))
                await asyncio.sleep(LOOK_S)

    def _agent_settings(self, part: Machine) -> AgentSettings:
        settings = self._settings
        stop = settings.on_partition is OnPartition.STOP
        return AgentSettings(
            namespace=settings.namespace,
            heartbeat_interval_s=self._heartbeat_interval_s,
            lease_s=max(settings.node_timeout_s - LEASE_MARGIN_S, settings.node_timeout_s / 2),
            lease_ends_containers=stop,
            keep=self._keep,
            isolation=self._isolation,
            files=self._files,
            expected=self._expected,
            services=self._services,
            gpus=self._cluster.gpus_of(part.ray_node_id) if settings.slab < 1 else None,
            virtual_gpus=part.gpus,
        )

    def _claim(self, node: RemoteNode) -> str:
        """``node`` says what it is called; why it cannot be, "" iff it can."""
        other = self._nodes.get(node.node_id)
        if other is not None and other is not node and other.up:
            return (
                f"two machines are called {node.node_id}: {other.machine.address} and {node.machine.address}; "
                "give one another name by `hrm join --node-id`"
            )
        self._nodes[node.node_id] = node
        return ""

    def _tell_refused(self, kept: _Kept, reason: str) -> None:
        if reason != kept.refused and self._listener is not None:
            kept.refused = reason
            self._listener.node_refused(f"{kept.machine.host}-{kept.machine.address}", reason)

    # The engine's protocol

    def launch(self, node_id: str, specs: Sequence[LaunchSpec]) -> None:
        self._on(node_id).send("launch", list(specs))

    def stop_containers(self, node_id: str, container_ids: Sequence[str], *, grace_s: float) -> None:
        self._on(node_id).send("stop", list(container_ids), grace_s=grace_s)

    def signal(self, node_id: str, container_id: str, signum: int) -> None:
        self._on(node_id).send("signal", container_id, signum)

    def resize(self, node_id: str, container_id: str, resources: Resources) -> None:
        self._on(node_id).send("resize", container_id, resources)

    def freeze(self, node_id: str, container_ids: Sequence[str], *, frozen: bool) -> None:
        self._on(node_id).send("freeze", list(container_ids), frozen=frozen)

    def warn(self, node_id: str, container_id: str, notice: PreemptionNotice) -> None:
        offset_s = self._node(node_id).clock_offset_s
        self._on(node_id).send("warn", container_id, replace(notice, kill_at=notice.kill_at + offset_s))

    def spare(self, node_id: str, container_id: str) -> None:
        self._on(node_id).send("spare", container_id)

    def acknowledge(self, node_id: str, container_ids: Sequence[str]) -> None:
        self._on(node_id).send("acknowledge", list(container_ids))

    def forget(self, node_id: str, container_ids: Sequence[str]) -> None:
        self._on(node_id).send("forget", list(container_ids))

    def end_applications(self, node_id: str, application_ids: Sequence[str]) -> None:
        self._on(node_id).send("end_applications", list(application_ids))

    def close_stdin(self, node_id: str, container_id: str) -> None:
        self._on(node_id).send("close_stdin", container_id)

    def resize_terminal(self, node_id: str, container_id: str, rows: int, columns: int) -> None:
        self._on(node_id).send("resize_terminal", container_id, rows, columns)

    async def clean(
        self, node_id: str, policy: CleanPolicy, *, spare: Collection[str], dry_run: bool, budget_s: float
    ) -> Freed:
        freed: Freed = await self._on(node_id).ask("clean", policy, tuple(spare), dry_run, budget_s)
        return freed

    async def examine(self, node_id: str, only: Sequence[str]) -> DoctorReport:
        report: DoctorReport = await self._on(node_id).ask("examine", tuple(only))
        return report

    async def read_log(self, node_id: str, container_id: str, stream: str, *, offset: int, max_bytes: int) -> LogChunk:
        chunk: LogChunk = await self._on(node_id).ask("read_log", container_id, stream, offset, max_bytes)
        return chunk

    async def log_files(self, node_id: str, container_id: str) -> list[LogFile]:
        files: list[LogFile] = await self._on(node_id).ask("log_files", container_id)
        return files

    async def write_stdin(self, node_id: str, container_id: str, data: bytes) -> None:
        await self._on(node_id).ask("write_stdin", container_id, data)

    async def read_files(self, node_id: str, container_id: str, path: str) -> ByteStream:
        link = self._on(node_id)
        return RemoteStream(link, await link.ask("open_files", container_id, path))

    async def free_port(self, node_id: str) -> int:
        port: int = await self._on(node_id).ask("free_port")
        return port

    async def listening_ports(self, node_id: str, container_id: str) -> list[int]:
        ports: list[int] = await self._on(node_id).ask("listening_ports", container_id)
        return ports

    async def connect(self, node_id: str, container_id: str, port: int) -> ByteStream:
        link = self._on(node_id)
        return RemoteStream(link, await link.ask("open_stream", container_id, port))

    async def relay(self, node_id: str, to: tuple[str, int], purpose: str = "rpc") -> tuple[str, int] | None:
        host, port = await self._on(node_id).ask("relay", self._node(node_id).machine.address, to, purpose)
        return host, port

    async def execute(self, node_id: str, container_id: str, spec: ExecSpec) -> ByteStream:
        link = self._on(node_id)
        return RemoteStream(link, await link.ask("open_execution", container_id, spec))

    async def relaunch(self, node_id: str, container_id: str, order: Relaunch) -> None:
        await self._on(node_id).ask("relaunch", container_id, order)

    async def localize(self, node_id: str, spec: LaunchSpec) -> None:
        await self._on(node_id).ask("localize", spec)

    async def launch_state(self, node_id: str, container_id: str) -> LaunchState:
        state: LaunchState = await self._on(node_id).ask("launch_state", container_id)
        return state

    def _send_contents(self, node: RemoteNode, number: int, user: str, digests: Sequence[str]) -> None:
        task = asyncio.create_task(send(node.link, self._contents, number, user, digests))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _node(self, node_id: str) -> RemoteNode:
        node = self._nodes.get(node_id)
        if node is None:
            raise NotFound(f"no node {node_id!r} has spoken yet", next_step="`hrm nodes` lists those that are there")
        return node

    def _on(self, node_id: str) -> Link:
        return self._node(node_id).link


async def _why_not_reserved(part: Machine) -> str:
    """In words; "" where the machine is gone, and Ray has not noticed."""
    listens = await part.raylet_listens()
    if listens is None:
        return DOES_NOT_ANSWER
    wanted = f"{part.cpus:g} CPUs, {part.gpus} GPUs"
    return f"other work of Ray's holds what HRM wants of it ({wanted})" if listens else ""


class _Kept:
    """What is kept of one machine that Ray lists."""

    task: asyncio.Task[None]

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.node: RemoteNode | None = None
        #: Why it is no node, as that was told; "" iff it may be one.
        self.refused = ""
