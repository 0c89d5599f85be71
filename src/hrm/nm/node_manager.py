"""The NodeManager: one machine's containers, as the ResourceManager sees them.

It starts nothing itself: the shepherd does, and outlives it. The NodeManager says what each container is to be, tells
what becomes of them, measures what they use, and reads their logs. All on one asyncio loop, the ResourceManager's.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Coroutine, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import structlog

from hrm.doctor.expected import Expected
from hrm.files.archive import Reader
from hrm.files.reading import PieceStream
from hrm.model.auxiliary import AuxiliaryService
from hrm.model.cleaning import CleanPolicy, Freed
from hrm.model.containers import (
    ContainerUsage,
    ExitRecord,
    LaunchSpec,
    LogChunk,
    LogFile,
    LogStream,
    NodeUsage,
    PreemptionNotice,
    StartRecord,
)
from hrm.model.errors import ClusterError, InvalidInput, NotFound
from hrm.model.execution import ExecSpec
from hrm.model.files import FileSettings
from hrm.model.findings import DoctorReport
from hrm.model.isolation import Isolation, IsolationSettings
from hrm.model.resources import Resources
from hrm.model.streams import ContentSource
from hrm.nm import entries, guests
from hrm.nm.application_dirs import ApplicationDirs
from hrm.nm.auxiliary import AuxiliaryServices
from hrm.nm.container_launcher import ContainerLauncher
from hrm.nm.doctor_rounds import Rounds
from hrm.nm.gpus.node_gpus import NodeGpus
from hrm.nm.gpus.probe import GpuProbe
from hrm.nm.gpus.watch import GPU_INTERVAL_S, watch
from hrm.nm.guests import Guest
from hrm.nm.housekeeping import CLEAN_BUDGET_S, Housekeeping
from hrm.nm.inputs import Inputs
from hrm.nm.logs import dropped_of_ended, log_files, read_log, read_log_file
from hrm.nm.ports import Lender, TcpStream, connect, listening_ports
from hrm.nm.relaunches import Relaunches
from hrm.nm.rules import Rules
from hrm.nm.shared_paths import SharedPaths
from hrm.nm.shepherd import faults, records
from hrm.nm.shepherd_client import ShepherdClient
from hrm.nm.staging import Staging
from hrm.nm.usage import Running, UsageSampler

_log = structlog.get_logger(__name__)
_RECONNECT_S = 1.0


class NodeListener(Protocol):
    """Hears what happens on one node, on the loop. Never raises."""

    def registered(self, running: Sequence[StartRecord], finished: Sequence[ExitRecord]) -> None:
        """Everything that runs here, and every end not yet acknowledged. What is in neither does not run here."""

    def lost(self, reason: str) -> None:
        """Nothing can be said about the containers until `registered` is called again."""

    def heartbeat(self, usage: NodeUsage, containers: Sequence[ContainerUsage]) -> None: ...

    def started(self, started: Sequence[StartRecord]) -> None: ...

    def finished(self, finished: Sequence[ExitRecord]) -> None: ...

    def gpus_changed(self, gpus: NodeGpus) -> None:
        """What is lent of them, what is lost or what is wrong is not what it was."""

    def examined(self, report: DoctorReport) -> None:
        """The doctor has made a round."""

    def offers_changed(self, offers: tuple[str, ...], message: str) -> None:
        """What it has besides, or what is wrong with that, is not what it was."""


class NodeManager:
    """See the module. ``state_dir`` is the node's own; it is made (0700) if it does not exist.

    ``probe`` is asked every ``gpu_interval_s`` how the GPUs do; None where there is nothing to ask. ``keep`` is what
    it keeps to by itself when nobody has asked it to `clean` for `SILENCE_S`.
    """

    def __init__(
        self,
        node_id: str,
        state_dir: Path,
        *,
        heartbeat_interval_s: float,
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
        self._node_id = node_id
        self._state_dir = state_dir.absolute()
        self._heartbeat_interval_s = heartbeat_interval_s
        self._gpus = gpus or NodeGpus()
        self._probe = probe
        self._gpu_interval_s = gpu_interval_s
        settings = isolation or IsolationSettings()
        self._rules = Rules(settings, as_users=os.geteuid() == 0)
        self._client = ShepherdClient(
            self._state_dir, isolation=settings.mode, pinning=settings.pin_cpus, may_start=may_start_shepherd
        )
        files = files or FileSettings()
        self._staging = Staging(self._state_dir, contents, files)
        self._shared = SharedPaths(files, self._offers_changed)
        self._applications = ApplicationDirs(self._state_dir)
        self._services = AuxiliaryServices(
            node_id, self._state_dir, self._client, umask=settings.umask, changed=self._offers_changed
        )
        self._services_at_start = services
        self._launcher = ContainerLauncher(
            node_id,
            self._state_dir,
            self._client,
            rules=self._rules,
            gpus=self._gpus,
            files=files,
            staging=self._staging,
            applications=self._applications,
            spawn=self._spawn,
            is_wanted=lambda container_id: container_id in self._launched,
            never_began=self._never_began,
        )
        #: What is asked of containers that run.
        self.relaunches = Relaunches(self._state_dir, self._launcher)
        self._inputs = Inputs(self._state_dir)
        self._usage = UsageSampler(self._state_dir, has_quota=settings.disk_quota_mib is not None)
        self._housekeeping = Housekeeping(
            self._state_dir,
            self._applications,
            here=lambda: (*self._launched, *self._running),
            ended=lambda: self._ended,
            spawn=self._spawn,
        )
        self._rounds = Rounds(node_id, expected, self._examined)
        self._ports = Lender()
        self._keep = keep
        self._listener: NodeListener | None = None
        #: Of the node's memory of its containers; None before its first word.
        self._incarnation: str | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: dict[str, Running] = {}
        #: Launched in this life and not heard of since: its start or its end is on the way.
        self._launched: dict[str, asyncio.Event] = {}
        #: How the unacknowledged ones ended.
        self._ended: dict[str, dict[str, Any]] = {}

    # Life

    async def start(self, listener: NodeListener) -> None:
        """Connect to the shepherd, starting it if there is none, and register. Raises ClusterError."""
        try:
            self._state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ClusterError(
                f"cannot make the node's directory {self._state_dir}: {error.strerror}",
                next_step="choose another $HRM_HOME",
            ) from None
        try:
            await asyncio.to_thread(self._staging.clear)
        except OSError as error:
            raise ClusterError(f"cannot clear up {self._state_dir}: {error}", next_step="check the disk") from None
        await self._shared.look()
        self._applications.reader_gid = await self._services.take(self._services_at_start)
        self._listener = listener
        await self._register()
        self._spawn(self._shared.watch())
        self._spawn(self._services.watch())
        self._spawn(self._rounds.run())
        self._spawn(self._heartbeats())
        if self._probe is not None:
            self._spawn(
                watch(
                    self._gpus,
                    self._probe,
                    self._gpu_interval_s,
                    containers=lambda: {running.container_id: running.pid for running in self._running.values()},
                    tell=self._gpus_changed,
                )
            )
        if self._keep is not None:
            self._spawn(self._housekeeping.bound_itself(self._keep))

    async def close(self) -> None:
        """Let go of everything. The containers live on under the shepherd."""
        self._listener = None
        self._launcher.preparations.drop_all()
        self._services.close(alone=not (self._running or self._launched))
        await self._shared.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._inputs.close_all()
        self._client.close()
        self._housekeeping.close()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._on_over)

    def _on_over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.critical("a part of the node stopped working", error=str(error), exc_info=error)

    async def _register(self) -> None:
        await self._client.connect(self._on_greeting, self._on_news, self._on_lost)

    async def register_anew(self) -> None:
        """Have the shepherd tell the listener everything once more. Raises ClusterError."""
        if self._client.is_connected:
            self._client.close()
            await self._register()
        # Else it is on its way.

    async def take_settings(
        self, files: FileSettings, expected: Expected, services: Sequence[AuxiliaryService] = ()
    ) -> None:
        """A server that has come since may want it otherwise."""
        self._launcher.files = files
        self._rounds.take(expected)
        self._applications.reader_gid = await self._services.take(services)
        await self._shared.take(files)

    async def examine(self, only: Sequence[str]) -> DoctorReport:
        """All of the doctor's checks, or ``only`` some. Raises ClusterError, InvalidInput."""
        return await self._rounds.examiner.full(only)

    def _examined(self, report: DoctorReport) -> None:
        if self._listener:
            self._listener.examined(report)

    @property
    def offers(self) -> tuple[tuple[str, ...], str]:
        """What it has besides amounts (`hrm.model.nodes.NodeSpec.offers`), and what is wrong with that, in words."""
        message = "; ".join(filter(None, (self._shared.message, self._services.message)))
        return (*self._shared.offers, *self._services.offers), message

    def _offers_changed(self) -> None:
        if self._listener:
            self._listener.offers_changed(*self.offers)

    @property
    def isolation(self) -> Isolation:
        """What is enforced here, as the shepherd found out when it last answered."""
        return self._rules.isolation

    def _on_greeting(self, greeting: dict[str, Any]) -> None:
        self._rules.learn(greeting["isolation"])
        greeting = self._services.greeted(greeting)
        self._running = {entry["id"]: entries.running(entry) for entry in greeting["running"]}
        self._ended = {entry["id"]: entry for entry in greeting["ended"]}
        self._launcher.preparations.drop_all()
        forgotten = self._forgotten(greeting["hello"]["incarnation"])
        for container_id in list(self._launched):
            self._heard_of(container_id)
        self._housekeeping.settle()
        if self._listener:
            self._listener.registered(
                [entries.start_record(entry) for entry in greeting["running"]],
                [
                    *(entries.exit_record(self._state_dir, entry) for entry in greeting["ended"]),
                    *forgotten,
                ],
            )

    def _forgotten(self, incarnation: str) -> list[ExitRecord]:
        """What was launched and is unknown to a node whose state was deleted: it may have run, even to its end.

        To ask for it again would start it again, since the claim on it is gone.
        """
        before, self._incarnation = self._incarnation, incarnation
        if before in (None, incarnation):
            return []
        known = self._running.keys() | self._ended.keys()
        return [entries.forgotten_record(container_id) for container_id in self._launched.keys() - known]

    def _on_lost(self) -> None:
        """The shepherd died: its successor says what is left."""
        _log.warning("the shepherd is gone; starting another", state_dir=str(self._state_dir))
        self._inputs.close_all()
        self._spawn(self._come_back())

    async def _come_back(self) -> None:
        told = False
        while self._listener:
            try:
                await self._register()
                return
            except ClusterError as error:
                if not told:
                    told = True
                    self._listener.lost(error.message)
                await asyncio.sleep(_RECONNECT_S)

    # Commands

    def launch(self, specs: Sequence[LaunchSpec]) -> None:
        """Start containers, in order. Raises InvalidInput, and starts none, if an id cannot be a file's name."""
        for spec in specs:
            if not records.is_container_id(spec.container_id):
                raise InvalidInput(f"not a container id: {spec.container_id!r}")
        faults.point("node.launch")
        for spec in specs:
            self._launched.setdefault(spec.container_id, asyncio.Event())
        self._launcher.launch(specs)

    def stop(self, container_ids: Sequence[str], *, grace_s: float) -> None:
        self._launcher.in_turn(lambda: self._stop([*container_ids], grace_s))

    def _stop(self, container_ids: list[str], grace_s: float) -> None:
        begun = [container_id for container_id in container_ids if not self._launcher.preparations.stop(container_id)]
        self._client.send({"op": "stop", "ids": begun, "grace_s": grace_s})

    def _tell(self, container_id: str, message: dict[str, Any]) -> None:
        """The shepherd, when it has heard of the container."""
        send = partial(self._client.send, message)
        self._launcher.in_turn(lambda: None if self._launcher.preparations.later(container_id, send) else send())

    def signal(self, container_id: str, signum: int) -> None:
        self._tell(container_id, {"op": "signal", "id": container_id, "signum": signum})

    def resize(self, container_id: str, resources: Resources) -> None:
        running = self._running.get(container_id)
        if running and running.limits and (changed := self._rules.resized(running.limits, resources)):
            running.limits = {**running.limits, **changed}
            self._tell(container_id, {"op": "limit", "id": container_id, "changed": changed})

    def freeze(self, container_ids: Sequence[str], *, frozen: bool) -> None:
        self._launcher.in_turn(lambda: self._freeze(container_ids, frozen))

    def _freeze(self, container_ids: Sequence[str], frozen: bool) -> None:
        def send(*ids: str) -> None:
            self._client.send({"op": "freeze", "ids": list(ids), "frozen": frozen})

        begun = [one for one in container_ids if not self._launcher.preparations.later(one, partial(send, one))]
        if begun:
            send(*begun)

    def warn(self, container_id: str, notice: PreemptionNotice) -> None:
        self._tell(container_id, {"op": "warn", "id": container_id, "notice": asdict(notice)})

    def spare(self, container_id: str) -> None:
        self._tell(container_id, {"op": "spare", "id": container_id})

    def lease(self, until: float, *, at_most: bool = False) -> None:
        """Whatever runs here ends at ``until`` (`hrm.nm.shepherd.lease.now`), unless that is put off before.

        Infinity: it need not end. ``at_most`` only makes a lease shorter that there is.
        """
        self._client.lease(until, at_most=at_most)

    def acknowledge(self, container_ids: Sequence[str]) -> None:
        faults.point("node.acknowledge")
        for container_id in container_ids:
            self._ended.pop(container_id, None)
        self._client.send({"op": "ack", "ids": list(container_ids)})

    def forget(self, container_ids: Sequence[str]) -> None:
        """See `hrm.nm.housekeeping.Housekeeping.forget`."""
        self._housekeeping.forget(container_ids)

    def end_applications(self, application_ids: Sequence[str]) -> None:
        """These are over: what their containers share goes, when nothing of them runs here any more."""
        self._launcher.in_turn(partial(self._housekeeping.end_applications, [*application_ids]))

    async def clean(
        self, policy: CleanPolicy, *, spare: Collection[str], dry_run: bool, budget_s: float = CLEAN_BUDGET_S
    ) -> Freed:
        """See `hrm.nm.cleaner.Cleaner.clean`. Raises ClusterError."""
        return await self._housekeeping.clean(policy, spare=spare, dry_run=dry_run, budget_s=budget_s)

    def close_stdin(self, container_id: str) -> None:
        self._inputs.close(container_id)
        self._tell(container_id, {"op": "close_input", "id": container_id})

    def resize_terminal(self, container_id: str, rows: int, columns: int) -> None:
        self._tell(container_id, {"op": "resize", "id": container_id, "rows": rows, "columns": columns})

    async def write_stdin(self, container_id: str, data: bytes) -> None:
        """Feed a container; waits until it has begun, and while it does not read. Raises NotFound."""
        if heard := self._launched.get(container_id):
            await heard.wait()
        if container_id not in self._running:
            if container_id in self._ended:
                return
            raise NotFound(f"container {container_id} does not run here")
        await self._inputs.write(container_id, data)

    async def read_files(self, container_id: str, path: str) -> PieceStream:
        """What it has at ``path`` in its own directory. Raises as `hrm.files.archive.Reader` does."""
        if not records.is_container_id(container_id):
            raise NotFound(f"no directory of container {container_id!r}")
        reader = await asyncio.to_thread(Reader, self._state_dir / records.CONTAINERS / container_id, path)
        return PieceStream(reader.pieces, reader.close)

    async def free_port(self) -> int:
        """See `hrm.nm.ports.Lender`. Raises ClusterError."""
        return await asyncio.to_thread(self._ports.lend)

    async def listening_ports(self, container_id: str) -> list[int]:
        """See `hrm.nm.ports`. Raises NotFound if it does not run here."""
        return [*await asyncio.to_thread(listening_ports, self._runs(container_id).pid)]

    async def connect(self, container_id: str, port: int) -> TcpStream:
        """See `hrm.nm.ports`. Raises NotFound and Conflict."""
        return await connect(self._runs(container_id).pid, port)

    async def execute(self, container_id: str, spec: ExecSpec) -> Guest:
        """Have a program run beside a container's own. Raises NotFound, Conflict and ClusterError."""
        self._runs(container_id)
        return await guests.start(self._state_dir, container_id, spec)

    def _runs(self, container_id: str) -> Running:
        if container_id not in self._running:
            raise NotFound(f"container {container_id} does not run here")
        return self._running[container_id]

    async def log_files(self, container_id: str) -> list[LogFile]:
        """See `hrm.nm.logs`."""
        if not records.is_container_id(container_id):
            raise NotFound(f"no logs of container {container_id!r}")
        return await asyncio.to_thread(log_files, self._state_dir, container_id)

    async def read_log(self, container_id: str, stream: str, *, offset: int, max_bytes: int) -> LogChunk:
        """Bytes of a log. Raises NotFound for a container that never was here, or whose logs were cleared away."""
        if not records.is_container_id(container_id):
            raise NotFound(f"no logs of container {container_id!r}")
        if container_id in self._launched:
            return LogChunk(data=b"", next_offset=0, end=False)
        # Looked at before the file: what ends meanwhile is told as ended by the next call.
        running = self._running.get(container_id)
        ended = self._ended.get(container_id)
        if stream not in tuple(LogStream):
            chunk = read_log_file(self._state_dir, container_id, stream, offset=offset, max_bytes=max_bytes)
            return replace(chunk, end=chunk.end and running is None)
        chunk = read_log(self._state_dir, container_id, LogStream(stream), offset=offset, max_bytes=max_bytes)
        dropped = (
            running.dropped
            if running
            else ended["dropped"]
            if ended
            else dropped_of_ended(self._state_dir, container_id)
        )
        return LogChunk(
            data=chunk.data,
            next_offset=chunk.next_offset,
            end=chunk.end and running is None,
            dropped_bytes=dropped[0 if stream is LogStream.STDOUT else 1],
        )

    # News

    def _on_news(self, news: dict[str, Any]) -> None:
        news = self._services.heard(news)
        for container_id in news.get("between", ()):
            if running := self._running.get(container_id):
                # Its number may soon be another's.
                running.pid = -1
        if started := news.get("started"):
            faults.point("node.started")
            for entry in started:
                self._heard_of(entry["id"])
                self._running[entry["id"]] = entries.running(entry)
            if self._listener:
                self._listener.started([entries.start_record(entry) for entry in started])
        for container_id, dropped in news.get("dropped", {}).items():
            if running := self._running.get(container_id):
                running.dropped = dropped
        if ended := news.get("ended"):
            faults.point("node.ended")
            for entry in ended:
                self._heard_of(entry["id"])
                self._running.pop(entry["id"], None)
                self._inputs.close(entry["id"])
                self._ended[entry["id"]] = entry
            self._housekeeping.settle()
            if self._listener:
                self._listener.finished([entries.exit_record(self._state_dir, entry) for entry in ended])

    def _never_began(self, container_id: str, why: str) -> None:
        self._on_news({"ended": [entries.never_began(container_id, why)]})

    def _heard_of(self, container_id: str) -> None:
        if heard := self._launched.pop(container_id, None):
            heard.set()

    async def _heartbeats(self) -> None:
        while True:
            try:
                usage, containers = await self._usage.sample(list(self._running.values()))
            except OSError as error:
                # Without its state directory the node is of no use: no heartbeat says so best.
                _log.error("cannot measure the node", error=str(error))
            else:
                self._end_those_over(containers)
                if self._listener:
                    self._listener.heartbeat(replace(usage, devices=self._gpus.usage), containers)
            await asyncio.sleep(self._heartbeat_interval_s)

    def _end_those_over(self, containers: Sequence[ContainerUsage]) -> None:
        """What the kernel does not enforce is enforced by us, if late."""
        for usage in containers:
            running = self._running.get(usage.container_id)
            if running and (why := self._rules.breach(usage, running.limits)):
                self._client.send({"op": "fail", "id": usage.container_id, "why": why})

    def _gpus_changed(self) -> None:
        if self._listener:
            self._listener.gpus_changed(self._gpus)
