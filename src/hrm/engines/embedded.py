"""The embedded engine: this machine, by one NodeManager inside the server's process."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from hrm.doctor.expected import Expected
from hrm.engines.base import EngineListener
from hrm.model.auxiliary import AuxiliaryService
from hrm.model.cleaning import CleanPolicy, Freed
from hrm.model.containers import (
    ContainerUsage,
    ExitRecord,
    LaunchSpec,
    LogChunk,
    LogFile,
    NodeUsage,
    PreemptionNotice,
    StartRecord,
)
from hrm.model.errors import NotFound
from hrm.model.execution import ExecSpec
from hrm.model.files import FileSettings
from hrm.model.findings import DoctorReport
from hrm.model.isolation import IsolationSettings
from hrm.model.nodes import NodeSpec
from hrm.model.relaunching import LaunchState, Relaunch
from hrm.model.resources import Resources
from hrm.model.streams import ByteStream, ContentSource
from hrm.nm.attributes import machine_attributes
from hrm.nm.gpus.node_gpus import NodeGpus
from hrm.nm.gpus.probe import GpuProbe
from hrm.nm.gpus.watch import GPU_INTERVAL_S
from hrm.nm.node_manager import NodeManager


class EmbeddedEngine:
    """One node, the machine we are on. ``state_dir`` belongs to the node and outlives the engine.

    ``node`` says what it lends besides ``gpus``, whose devices are added. ``probe`` tells how they do; it is asked
    every ``gpu_interval_s``. ``keep`` bounds what stays of ended containers where nobody asks to `clean`.
    ``contents`` is where those of uploads come from, ``expected`` what the doctor expects of the machine,
    ``services`` what runs there beside containers.
    ``may_start_shepherd`` is False where a service manager does.
    """

    name = "embedded"

    def __init__(
        self,
        node: NodeSpec,
        state_dir: Path,
        *,
        heartbeat_interval_s: float = 1.0,
        gpus: NodeGpus | None = None,
        probe: GpuProbe | None = None,
        gpu_interval_s: float = GPU_INTERVAL_S,
        keep: CleanPolicy | None = None,
        isolation: IsolationSettings | None = None,
        may_start_shepherd: bool = True,
        files: FileSettings | None = None,
        contents: ContentSource | None = None,
        expected: Expected | None = None,
        services: Sequence[AuxiliaryService] = (),
    ) -> None:
        self._node = node
        self._gpus = gpus or NodeGpus()
        self._manager = NodeManager(
            node.node_id,
            state_dir,
            heartbeat_interval_s=heartbeat_interval_s,
            gpus=self._gpus,
            probe=probe,
            gpu_interval_s=gpu_interval_s,
            keep=keep,
            isolation=isolation,
            may_start_shepherd=may_start_shepherd,
            files=files,
            contents=contents,
            expected=expected,
            services=services,
        )

    async def start(self, listener: EngineListener) -> None:
        await self._manager.start(_Translator(self._node, self._gpus, self._manager, listener))

    async def close(self) -> None:
        await self._manager.close()

    def launch(self, node_id: str, specs: Sequence[LaunchSpec]) -> None:
        self._on(node_id).launch(specs)

    def stop_containers(self, node_id: str, container_ids: Sequence[str], *, grace_s: float) -> None:
        self._on(node_id).stop(container_ids, grace_s=grace_s)

    def signal(self, node_id: str, container_id: str, signum: int) -> None:
        self._on(node_id).signal(container_id, signum)

    def resize(self, node_id: str, container_id: str, resources: Resources) -> None:
        self._on(node_id).resize(container_id, resources)

    def freeze(self, node_id: str, container_ids: Sequence[str], *, frozen: bool) -> None:
        self._on(node_id).freeze(container_ids, frozen=frozen)

    def warn(self, node_id: str, container_id: str, notice: PreemptionNotice) -> None:
        self._on(node_id).warn(container_id, notice)

    def spare(self, node_id: str, container_id: str) -> None:
        self._on(node_id).spare(container_id)

    def acknowledge(self, node_id: str, container_ids: Sequence[str]) -> None:
        self._on(node_id).acknowledge(container_ids)

    def forget(self, node_id: str, container_ids: Sequence[str]) -> None:
        self._on(node_id).forget(container_ids)

    def end_applications(self, node_id: str, application_ids: Sequence[str]) -> None:
        self._on(node_id).end_applications(application_ids)

    async def clean(
        self, node_id: str, policy: CleanPolicy, *, spare: Collection[str], dry_run: bool, budget_s: float
    ) -> Freed:
        return await self._on(node_id).clean(policy, spare=spare, dry_run=dry_run, budget_s=budget_s)

    async def examine(self, node_id: str, only: Sequence[str]) -> DoctorReport:
        return await self._on(node_id).examine(only)

    async def read_log(self, node_id: str, container_id: str, stream: str, *, offset: int, max_bytes: int) -> LogChunk:
        return await self._on(node_id).read_log(container_id, stream, offset=offset, max_bytes=max_bytes)

    async def log_files(self, node_id: str, container_id: str) -> list[LogFile]:
        return await self._on(node_id).log_files(container_id)

    async def write_stdin(self, node_id: str, container_id: str, data: bytes) -> None:
        await self._on(node_id).write_stdin(container_id, data)

    def close_stdin(self, node_id: str, container_id: str) -> None:
        self._on(node_id).close_stdin(container_id)

    def resize_terminal(self, node_id: str, container_id: str, rows: int, columns: int) -> None:
        self._on(node_id).resize_terminal(container_id, rows, columns)

    async def read_files(self, node_id: str, container_id: str, path: str) -> ByteStream:
        return await self._on(node_id).read_files(container_id, path)

    async def free_port(self, node_id: str) -> int:
        return await self._on(node_id).free_port()

    async def listening_ports(self, node_id: str, container_id: str) -> list[int]:
        return await self._on(node_id).listening_ports(container_id)

    async def relay(self, node_id: str, to: tuple[str, int], purpose: str = "rpc") -> tuple[str, int] | None:
        return None

    async def connect(self, node_id: str, container_id: str, port: int) -> ByteStream:
        return await self._on(node_id).connect(container_id, port)

    async def execute(self, node_id: str, container_id: str, spec: ExecSpec) -> ByteStream:
        return await self._on(node_id).execute(container_id, spec)

    async def relaunch(self, node_id: str, container_id: str, order: Relaunch) -> None:
        await self._on(node_id).relaunches.relaunch(container_id, order)

    async def localize(self, node_id: str, spec: LaunchSpec) -> None:
        await self._on(node_id).relaunches.localize(spec)

    async def launch_state(self, node_id: str, container_id: str) -> LaunchState:
        return await self._on(node_id).relaunches.state(container_id)

    def _on(self, node_id: str) -> NodeManager:
        if node_id != self._node.node_id:
            raise NotFound(f"no node {node_id!r}: the embedded engine has {self._node.node_id!r} alone")
        return self._manager


class _Translator:
    """Puts the node's name, and its size as it is now, to what its NodeManager tells."""

    def __init__(self, node: NodeSpec, gpus: NodeGpus, manager: NodeManager, listener: EngineListener) -> None:
        self._node = node
        self._gpus = gpus
        self._manager = manager
        self._listener = listener

    def registered(self, running: Sequence[StartRecord], finished: Sequence[ExitRecord]) -> None:
        self._listener.node_registered(self._now(), running, finished, self._manager.isolation)
        if self._message:
            self.gpus_changed(self._gpus)

    def gpus_changed(self, gpus: NodeGpus) -> None:
        self._listener.node_changed(self._now(), self._message, gpus.lost)

    def offers_changed(self, offers: tuple[str, ...], message: str) -> None:
        self._listener.node_changed(self._now(), self._message, {})

    def examined(self, report: DoctorReport) -> None:
        self._listener.node_examined(self._node.node_id, report)

    def _now(self) -> NodeSpec:
        spec = self._node.with_devices(self._node.devices + self._gpus.devices)
        return replace(spec, offers=self._manager.offers[0]).with_attributes(machine_attributes())

    @property
    def _message(self) -> str:
        return "; ".join(filter(None, (self._gpus.message, self._manager.offers[1])))

    def lost(self, reason: str) -> None:
        self._listener.node_lost(self._node.node_id, reason)

    def heartbeat(self, usage: NodeUsage, containers: Sequence[ContainerUsage]) -> None:
        self._listener.heartbeat(self._node.node_id, usage, containers)

    def started(self, started: Sequence[StartRecord]) -> None:
        self._listener.containers_started(self._node.node_id, started)

    def finished(self, finished: Sequence[ExitRecord]) -> None:
        self._listener.containers_finished(self._node.node_id, finished)
