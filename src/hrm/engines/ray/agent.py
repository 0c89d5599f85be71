"""What runs on each machine of a Ray cluster: a NodeManager, and a mailbox between it and the server.

The server calls, the agent answers. Whatever happens is numbered and kept until the server says that it has heard of
it, so that a lost answer loses nothing. A *session* begins with each greeting; the words of an earlier one are refused.

Nothing here knows Ray: the class is made an actor by `hrm.engines.ray.cluster`.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

import hrm
from hrm.doctor.expected import Expected
from hrm.engines.ray.host import reaper, shed_inheritance
from hrm.engines.ray.member_options import USUAL_NAMESPACE, MemberOptions
from hrm.engines.ray.messages import PROTOCOL, Parcel, Report, Verdict, pack, unpack
from hrm.engines.ray.relay import Relay
from hrm.engines.ray.streams import OpenStreams
from hrm.engines.ray.wanted import Wanted
from hrm.model.auxiliary import AuxiliaryService
from hrm.model.cleaning import CleanPolicy, Freed
from hrm.model.containers import ContainerUsage, ExitRecord, LaunchSpec, LogChunk, LogFile, NodeUsage, StartRecord
from hrm.model.errors import ClusterError, HrmError
from hrm.model.execution import ExecSpec
from hrm.model.files import FileSettings
from hrm.model.findings import DoctorReport
from hrm.model.isolation import IsolationSettings
from hrm.model.relaunching import LaunchState, Relaunch
from hrm.nm.attributes import machine_attributes
from hrm.nm.gpus.discovery import choose_probe, discover
from hrm.nm.gpus.node_gpus import NodeGpus
from hrm.nm.node_manager import NodeManager
from hrm.nm.shepherd.lease import now

_log = structlog.get_logger(__name__)
#: A server of another home that was heard of within this time keeps its nodes.
OTHER_SERVER_S = 30.0
#: Heartbeats that nobody fetched are worth nothing.
_BEAT = "heartbeat"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """How the server wants its NodeManagers to be."""

    namespace: str
    heartbeat_interval_s: float
    #: How long what the server said holds; containers end with it iff ``lease_ends_containers``.
    lease_s: float
    lease_ends_containers: bool
    keep: CleanPolicy | None
    isolation: IsolationSettings
    files: FileSettings = field(default_factory=FileSettings)
    expected: Expected = field(default_factory=Expected)
    services: tuple[AuxiliaryService, ...] = ()
    #: GPUs that the server took of Ray here, by index; None iff all.
    gpus: tuple[int, ...] | None = None
    #: How many of them, where they are virtual.
    virtual_gpus: int = 0


class Agent:
    """One node. All of its methods are called on one asyncio loop."""

    def __init__(self, options: MemberOptions | None = None) -> None:
        self._options = options or MemberOptions.of_environment()
        #: Of this process: reports of another are not continued.
        self._incarnation = os.urandom(8).hex()
        self._server = ""
        self._generation: tuple[int, int] = (0, 0)
        self._heard_at = 0.0
        self._manager: NodeManager | None = None
        self._gpus = NodeGpus()
        self._reports: deque[Report] = deque()
        self._number = 0
        self._news = asyncio.Event()
        self._obeyed = 0
        self._lease_s = 0.0
        self._lease_ends_containers = False
        self._starting = asyncio.Lock()
        #: What containers inherit of Ray and cannot be rid of, in words.
        self._inherited = ""
        self._streams = OpenStreams()
        self._relay = Relay()
        self._wanted = Wanted(lambda number, user, digests: self._tell("wanted", number, user, digests))

    async def hello(self, greeting: Mapping[str, Any]) -> dict[str, Any]:
        """Begin a session: a full registration is the first report of it.

        The answer has a key ``refused``, in words, where this agent cannot be that server's node, and ``retry`` where
        it could be later.
        """
        mine = {"protocol": PROTOCOL, "version": hrm.__version__, "host": socket.gethostname(), "pid": os.getpid()}
        if (greeting["protocol"], greeting["version"]) != (PROTOCOL, hrm.__version__):
            return {**mine, "refused": f"HRM {hrm.__version__} is there, and {greeting['version']} is the server's"}
        async with self._starting:
            if refused := self._refuse(greeting["server"], tuple(greeting["generation"])):
                return {**mine, "refused": refused, "retry": True}
            settings: AgentSettings = unpack(greeting["settings"])
            try:
                await self._begin(settings)
            except HrmError as error:
                return {**mine, "refused": error.message, "retry": True}
        manager = self._manager
        assert manager is not None
        return {
            **mine,
            "incarnation": self._incarnation,
            "node_id": self._options.node_id,
            "message": self._inherited,
            "clock": time.time(),
            "isolation": pack(manager.isolation),
            "gpus": pack((self._gpus.devices, self._gpus.message)),
            "offers": manager.offers,
            "attributes": machine_attributes(),
        }

    def _refuse(self, server: str, generation: tuple[int, int]) -> str:
        if server != self._server:
            if self._server and time.monotonic() - self._heard_at < OTHER_SERVER_S:
                return f"it is a node of another HRM server ({self._server}): give each a namespace of its own"
        elif generation <= self._generation:
            return "a later session has begun"
        self._server, self._generation, self._heard_at = server, generation, time.monotonic()
        # What was told in an earlier session is told anew by the registration.
        self._reports.clear()
        self._wanted.forget()
        self._obeyed = 0
        return ""

    async def _begin(self, settings: AgentSettings) -> None:
        """Raises ClusterError."""
        self._lease_s, self._lease_ends_containers = settings.lease_s, settings.lease_ends_containers
        if self._manager is None:
            await self._start(settings)
        else:
            await self._manager.take_settings(settings.files, settings.expected, settings.services)
            await self._manager.register_anew()
        assert self._manager is not None
        # An earlier server may have wanted it otherwise: for ever, or for longer than this one waits.
        if settings.lease_ends_containers:
            self._manager.lease(now() + settings.lease_s, at_most=True)
        else:
            self._manager.lease(math.inf)

    async def _start(self, settings: AgentSettings) -> None:
        """Raises ClusterError."""
        if by := await reaper():
            raise ClusterError(
                f"Ray ends what its workers leave running (its {by} is their subreaper), containers too: "
                "start it without RAY_kill_child_processes_on_worker_exit_with_raylet_subreaper"
            )
        self._inherited = shed_inheritance()
        options = self._options
        virtual = min(settings.virtual_gpus, options.virtual_gpus) if options.virtual_gpus else 0
        allow = options.gpu_devices if settings.gpus is None else settings.gpus
        probe = None if options.virtual_gpus else choose_probe(allow)
        if options.virtual_gpus:
            self._gpus = NodeGpus.virtual(options.node_id, virtual)
        else:
            self._gpus = await discover(options.node_id, probe, allow=allow)
        manager = NodeManager(
            options.node_id,
            options.state_dir_of(settings.namespace),
            heartbeat_interval_s=settings.heartbeat_interval_s,
            gpus=self._gpus,
            probe=probe,
            keep=settings.keep,
            isolation=settings.isolation,
            files=settings.files,
            contents=self._wanted,
            expected=settings.expected,
            services=settings.services,
            # That of a further namespace is nobody's but ours.
            may_start_shepherd=not (options.external_shepherd and settings.namespace == USUAL_NAMESPACE),
        )
        try:
            await manager.start(self)
        except ClusterError:
            await manager.close()
            raise
        self._manager = manager

    # What the server asks

    async def fetch(self, generation: tuple[int, int], heard: int, stamp: float, wait_s: float) -> Parcel:
        """What happened after report ``heard``; waits up to ``wait_s`` for something.

        ``stamp`` is that of the last parcel that the server received: what it allows holds from then.
        """
        if not self._is_of_session(generation):
            return Parcel(Verdict.STALE)
        self._extend_lease(stamp)
        while self._reports and self._reports[0].number <= heard:
            self._reports.popleft()
        if not self._reports:
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), wait_s)
            except TimeoutError:
                pass
            if not self._is_of_session(generation):
                return Parcel(Verdict.STALE)
        reports = pack(list(self._reports)) if self._reports else b""
        return Parcel(Verdict.DONE, now(), reports)

    async def obey(self, generation: tuple[int, int], number: int, stamp: float, commands: bytes) -> Verdict:
        """Do these, once: a batch whose number was seen before is not done again."""
        if not self._is_of_session(generation):
            return Verdict.STALE
        if number <= self._obeyed:
            return Verdict.DONE
        if now() > stamp + self._lease_s:
            # It was on its way while the server gave this node up, and may have started the same elsewhere.
            return Verdict.LAPSED
        self._extend_lease(stamp)
        self._obeyed = number
        manager = self._manager
        assert manager is not None
        for name, arguments, keywords in unpack(commands):
            getattr(manager, name)(*arguments, **keywords)
        return Verdict.DONE

    async def examine(self, only: Sequence[str]) -> DoctorReport:
        return await self._ready().examine(only)

    async def read_log(self, container_id: str, stream: str, offset: int, max_bytes: int) -> LogChunk:
        return await self._ready().read_log(container_id, stream, offset=offset, max_bytes=max_bytes)

    async def log_files(self, container_id: str) -> list[LogFile]:
        return await self._ready().log_files(container_id)

    async def write_stdin(self, container_id: str, data: bytes) -> None:
        await self._ready().write_stdin(container_id, data)

    async def clean(self, policy: CleanPolicy, spare: Collection[str], dry_run: bool, budget_s: float) -> Freed:
        return await self._ready().clean(policy, spare=spare, dry_run=dry_run, budget_s=budget_s)

    async def free_port(self) -> int:
        return await self._ready().free_port()

    async def listening_ports(self, container_id: str) -> list[int]:
        return await self._ready().listening_ports(container_id)

    async def open_files(self, container_id: str, path: str) -> int:
        """As `open_stream`, for what `NodeManager.read_files` reads."""
        return self._streams.add(await self._ready().read_files(container_id, path))

    async def supply(self, number: int, data: bytes, problem: str) -> bool:
        return await self._wanted.supply(number, data, problem)

    async def relay(self, host: str, to: tuple[str, int], purpose: str) -> tuple[str, int]:
        return await self._relay.open(host, to, purpose)

    async def open_stream(self, container_id: str, port: int) -> int:
        """The number by which the connection is known from now on."""
        return self._streams.add(await self._ready().connect(container_id, port))

    async def open_execution(self, container_id: str, spec: ExecSpec) -> int:
        """A program beside the container's own, by a number as well."""
        return self._streams.add(await self._ready().execute(container_id, spec))

    async def relaunch(self, container_id: str, order: Relaunch) -> None:
        await self._ready().relaunches.relaunch(container_id, order)

    async def localize(self, spec: LaunchSpec) -> None:
        await self._ready().relaunches.localize(spec)

    async def launch_state(self, container_id: str) -> LaunchState:
        return await self._ready().relaunches.state(container_id)

    async def read_stream(self, number: int) -> bytes | None:
        return await self._streams.read(number)

    async def write_stream(self, number: int, data: bytes) -> None:
        await self._streams.write(number, data)

    async def end_stream(self, number: int) -> None:
        await self._streams.end(number)

    async def close_stream(self, number: int) -> None:
        await self._streams.close(number)

    def _ready(self) -> NodeManager:
        if self._manager is None:
            raise ClusterError("the node has only just begun", next_step="ask again")
        return self._manager

    def _is_of_session(self, generation: tuple[int, int]) -> bool:
        if tuple(generation) != self._generation or self._manager is None:
            return False
        self._heard_at = time.monotonic()
        return True

    def _extend_lease(self, stamp: float) -> None:
        if self._lease_ends_containers and self._manager is not None and stamp:
            self._manager.lease(stamp + self._lease_s)

    # What the NodeManager tells (`hrm.nm.node_manager.NodeListener`)

    def _tell(self, what: str, *arguments: Any) -> None:
        if what == _BEAT and self._reports and self._reports[-1].what == _BEAT:
            self._reports.pop()
        self._number += 1
        self._reports.append(Report(self._number, what, arguments))
        self._news.set()

    def registered(self, running: Sequence[StartRecord], finished: Sequence[ExitRecord]) -> None:
        # It tells everything: what waits to be told is in it.
        self._reports.clear()
        self._tell("registered", list(running), list(finished))

    def lost(self, reason: str) -> None:
        self._tell("lost", reason)

    def heartbeat(self, usage: NodeUsage, containers: Sequence[ContainerUsage]) -> None:
        self._tell(_BEAT, usage, list(containers))

    def started(self, started: Sequence[StartRecord]) -> None:
        self._tell("started", list(started))

    def finished(self, finished: Sequence[ExitRecord]) -> None:
        self._tell("finished", list(finished))

    def gpus_changed(self, gpus: NodeGpus) -> None:
        self._tell("gpus_changed", gpus.devices, gpus.message, dict(gpus.lost))

    def examined(self, report: DoctorReport) -> None:
        self._tell("examined", report)

    def offers_changed(self, offers: tuple[str, ...], message: str) -> None:
        self._tell("offers_changed", offers, message)
