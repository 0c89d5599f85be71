"""Machines in memory, and the containers that are played on them. They outlive the engine, as real ones do."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hrm.engines.base import EngineListener
from hrm.model.cleaning import CleanPolicy, Freed
from hrm.model.containers import ExitReason, ExitRecord, LaunchSpec, PreemptionNotice, StartRecord
from hrm.model.errors import Conflict, NotFound
from hrm.model.execution import ExecSpec
from hrm.model.ids import ContainerId
from hrm.model.isolation import Guard, Isolation, Means
from hrm.model.launch_contexts import LocalResource
from hrm.model.nodes import NodeSpec
from hrm.model.relaunching import Localization, LocalizationState, Relaunch
from hrm.model.resources import Resources
from hrm.nm import prepared
from hrm.nm.shepherd import launches
from hrm.nm.shepherd.launches import Launches, Refused
from hrm.testing.clock import ManualClock
from hrm.testing.fake_programs import CommandNotFound, Processes, Program
from hrm.testing.played_guests import PlayedGuest

Report = Callable[[EngineListener], None]


@dataclass(slots=True)
class FakeContainer:
    """Everything ever known of one container."""

    spec: LaunchSpec
    logs: dict[str, bytearray] = field(default_factory=lambda: {"stdout": bytearray(), "stderr": bytearray()})
    dropped: dict[str, int] = field(default_factory=lambda: {"stdout": 0, "stderr": 0})
    program: Program | None = None
    started: StartRecord | None = None
    ended: ExitRecord | None = None
    #: Set once it is started or ended.
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    acknowledged: bool = False
    stopping: bool = False
    input_closed: bool = False
    #: What is written in its `HRM_PREEMPTION_FILE`; None iff there is none.
    notice: PreemptionNotice | None = None
    #: What it wrote into its own directory, by name.
    files: dict[str, bytes] = field(default_factory=dict)
    #: What it listens on.
    ports: set[int] = field(default_factory=set)
    #: True iff it is halted.
    frozen: bool = False
    #: What it is held to; None iff to what it was launched with.
    held_to: Resources | None = None
    #: What was started beside its program.
    guests: list[PlayedGuest] = field(default_factory=list)
    #: When its task said last that it saved its work.
    saved_at: float | None = None
    #: How its last launch ended.
    code: int = 0
    #: What it runs in turn (its programs have a ``spec``), and files that it was brought while it ran.
    launches: Launches = field(default_factory=lambda: Launches(None))
    localized: dict[str, Localization] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        return self.started is not None and self.ended is None

    @property
    def application_id(self) -> str:
        return str(ContainerId.parse(self.spec.container_id).attempt.application)

    @property
    def log_bytes(self) -> int:
        return sum(len(log) for log in self.logs.values())

    def write(self, stream: str, data: bytes) -> None:
        """Add to a log, up to its limit."""
        kept = data[: max(0, self.spec.log_limit_bytes - len(self.logs[stream]))]
        self.logs[stream] += kept
        self.dropped[stream] += len(data) - len(kept)


@dataclass(slots=True)
class FakeNode:
    """A machine, and all that was ever played on it."""

    spec: NodeSpec
    containers: dict[str, FakeContainer] = field(default_factory=dict)
    processes: Processes = field(default_factory=Processes)
    #: False while it is out of the engine's sight; what runs on it runs on.
    connected: bool = True


class FakeCluster:
    """With a ManualClock, time passes only when the test says so."""

    def __init__(self, nodes: Sequence[NodeSpec] = (), *, clock: ManualClock | None = None) -> None:
        self.clock = clock
        self.nodes = {node.node_id: FakeNode(node) for node in nodes}
        #: Where reports go: the engine that is started over it; None while there is none.
        self.tell: Callable[[Report], None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def node(self, node_id: str) -> FakeNode:
        """Raises NotFound."""
        if node_id not in self.nodes:
            raise NotFound(f"no node {node_id!r}")
        return self.nodes[node_id]

    def container(self, node_id: str, container_id: str) -> FakeContainer:
        """Raises NotFound."""
        container = self.node(node_id).containers.get(container_id)
        if container is None:
            raise NotFound(f"no container {container_id!r} on {node_id}")
        return container

    def launch(self, node: FakeNode, spec: LaunchSpec) -> None:
        """Begin to play it; one that is known already is told again."""
        container = node.containers.get(spec.container_id)
        if container is None:
            container = FakeContainer(spec)
            if (kept := prepared.kept(spec)) is not None:
                container.launches = Launches({**kept, "spec": spec})
            node.containers[spec.container_id] = container
            asyncio.get_running_loop().call_soon(self._begin, node, container)
        elif container.ended:
            self._tell_ended(node, container.ended)
        elif container.started:
            self._tell_started(node, container.started)

    def stop(self, container: FakeContainer, grace_s: float) -> None:
        """TERM, and KILL after ``grace_s``."""

        async def stop() -> None:
            await container.begun.wait()
            container.stopping = True
            if container.launches.phase == launches.WAITS:
                self.end(self._node_of(container), container, container.code, ExitReason.EXITED)
            if grace_s > 0:
                self._signal(container, signal.SIGTERM)
                await self.sleep(grace_s)
            self._signal(container, signal.SIGKILL)

        self._spawn(stop())

    def freeze(self, container: FakeContainer, *, frozen: bool) -> None:
        """It halts after the command that is played now, or goes on."""

        async def freeze() -> None:
            await container.begun.wait()
            if container.program:
                container.program.freeze(container.frozen)

        container.frozen = frozen and not container.stopping
        self._spawn(freeze())

    def warn(self, container: FakeContainer, notice: PreemptionNotice) -> None:
        """The file appears, and TERM goes to a program that has a handler for it. Once for each notice."""

        async def warn() -> None:
            await container.begun.wait()
            if container.program and container.notice is notice:
                container.program.warn(json.dumps(asdict(notice)))

        if container.notice != notice and container.ended is None:
            container.notice = notice
            self._spawn(warn())

    def spare(self, container: FakeContainer) -> None:
        """The file is gone."""
        container.notice = None

    def end_input(self, container: FakeContainer) -> None:
        """No more input will come."""

        async def end_input() -> None:
            await container.begun.wait()
            if container.program:
                container.program.feed(None)

        if not container.input_closed:
            container.input_closed = True
            self._spawn(end_input())

    def end(
        self, node: FakeNode, container: FakeContainer, code: int | None, reason: ExitReason, detail: str = ""
    ) -> None:
        """It is over, unless it was before."""
        if container.ended:
            return
        if container.stopping and reason is ExitReason.EXITED:
            reason = ExitReason.STOPPED
        container.ended = ExitRecord(
            container_id=container.spec.container_id,
            reason=reason,
            exit_code=code,
            started_at=container.started.started_at if container.started else None,
            ended_at=self.now(),
            detail=detail,
        )
        if container.launches.phase != launches.WAITS:
            self._signal(container, signal.SIGKILL)
        for guest in container.guests:
            guest.kill()
        container.begun.set()
        self._tell_ended(node, container.ended)

    def register(self, node: FakeNode) -> None:
        """Tell all that the node has."""
        containers = list(node.containers.values())
        running = [c.started for c in containers if c.started and not c.ended]
        finished = [c.ended for c in containers if c.ended and not c.acknowledged]
        self._tell(node, lambda listener: listener.node_registered(node.spec, running, finished, _ISOLATION))

    def forget(self, node: FakeNode, container_ids: Sequence[str]) -> None:
        """Of these, those that ended and are acknowledged were never there."""
        for container_id in container_ids:
            container = node.containers.get(container_id)
            if container is not None and container.acknowledged:
                del node.containers[container_id]

    def clean(self, node: FakeNode, policy: CleanPolicy, *, spare: Collection[str], dry_run: bool) -> Freed:
        """Only logs are here; a container whose logs are cleared away is forgotten."""
        over = [
            container
            for container in node.containers.values()
            if container.ended and container.acknowledged and container.application_id not in spare
        ]
        over.sort(key=lambda container: container.ended.ended_at if container.ended else 0.0)
        left = sum(container.log_bytes for container in over)
        freed = Freed()
        for container in over:
            assert container.ended is not None
            old = policy.logs_age_s is not None and self.now() - container.ended.ended_at >= policy.logs_age_s
            if old or (policy.logs_bytes is not None and left > policy.logs_bytes):
                left -= container.log_bytes
                freed += Freed(logs=1, logs_bytes=container.log_bytes)
                if not dry_run:
                    del node.containers[container.spec.container_id]
        return freed

    def now(self) -> float:
        return self.clock.now() if self.clock else time.time()

    async def sleep(self, seconds: float) -> None:
        await (self.clock.sleep(seconds) if self.clock else asyncio.sleep(seconds))

    def _begin(self, node: FakeNode, container: FakeContainer) -> None:
        spec, number = container.spec, container.launches.number
        program = Program(
            spec.command,
            _environment(node, spec),
            node.processes,
            sleep=self.sleep,
            write=container.write,
            put_file=container.files.__setitem__,
        )
        try:
            program.start(lambda code: self._program_ended(node, container, program, code))
        except CommandNotFound as error:
            container.write("stderr", f"hrm: command not found: {error}\n".encode())
            self.end(node, container, 127, ExitReason.EXITED, f"command not found: {error}")
            return
        container.program = program
        notes = container.launches.notes
        first = container.started
        container.started = StartRecord(
            container_id=spec.container_id,
            pid=program.pid,
            started_at=first.started_at if first else self.now(),
            launch=number,
            message=notes[-1] if notes else "",
        )
        container.begun.set()
        self._tell_started(node, container.started)

    # Launches after the first

    def relaunch(self, node: FakeNode, container: FakeContainer, order: Relaunch) -> None:
        """Raises Conflict."""
        if container.stopping:
            raise Conflict("it is about to end")
        if container.frozen:
            raise Conflict("its application is suspended")
        program = None
        if order.spec is not None:
            program = {**(prepared.kept(order.spec) or {"retry": None, "links": []}), "spec": order.spec}
        try:
            wanted = container.launches.want(order.kind, program=program, auto_commit=order.auto_commit, key=order.key)
        except Refused as refused:
            raise Conflict(str(refused)) from None
        if wanted:
            self._spawn(self._make_way(container, container.launches.number, order.grace_s))

    def localize(self, container: FakeContainer, resources: Mapping[str, LocalResource]) -> None:
        """Files of this machine that are there are had at once, others never."""
        for link, resource in resources.items():
            there = resource.url.startswith("file://") and Path(resource.url.removeprefix("file://")).exists()
            state = LocalizationState.COMPLETED if there else LocalizationState.FAILED
            message = "" if there else f"{resource.url} cannot be had"
            container.localized[link] = Localization(link=link, state=state, message=message)

    async def _make_way(self, container: FakeContainer, number: int, grace_s: float) -> None:
        if grace_s > 0:
            self._signal(container, signal.SIGTERM)
            await self.sleep(grace_s)
        if container.launches.number == number and container.launches.phase == launches.ENDS:
            self._signal(container, signal.SIGKILL)

    def _program_ended(self, node: FakeNode, container: FakeContainer, program: Program, code: int) -> None:
        if container.ended or (container.program is not None and container.program is not program):
            return
        delay_s = None if container.stopping else container.launches.ended(code, self.now())
        if delay_s is None:
            self.end(node, container, code, ExitReason.EXITED)
        else:
            container.code = code
            self._spawn(self._begin_next(node, container, delay_s))

    async def _begin_next(self, node: FakeNode, container: FakeContainer, delay_s: float) -> None:
        if delay_s:
            await self.sleep(delay_s)
        if container.ended is None:
            container.spec = container.launches.begin()["spec"]
            self._begin(node, container)

    def execute(self, node: FakeNode, container: FakeContainer, spec: ExecSpec) -> PlayedGuest:
        """Play a program beside its own. Raises NotFound for none of the few."""
        env = {**_environment(node, container.spec), **spec.env}
        put_file = container.files.__setitem__
        guest = PlayedGuest(
            lambda write: Program(spec.command, env, node.processes, sleep=self.sleep, write=write, put_file=put_file)
        )
        container.guests.append(guest)
        return guest

    def _node_of(self, container: FakeContainer) -> FakeNode:
        return next(node for node in self.nodes.values() if container.spec.container_id in node.containers)

    def _signal(self, container: FakeContainer, signum: int) -> None:
        if container.program:
            container.program.signal(signum)

    def _tell_started(self, node: FakeNode, started: StartRecord) -> None:
        self._tell(node, lambda listener: listener.containers_started(node.spec.node_id, [started]))

    def _tell_ended(self, node: FakeNode, ended: ExitRecord) -> None:
        self._tell(node, lambda listener: listener.containers_finished(node.spec.node_id, [ended]))

    def _tell(self, node: FakeNode, report: Report) -> None:
        if self.tell and node.connected:
            self.tell(report)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _environment(node: FakeNode, spec: LaunchSpec) -> dict[str, str]:
    return {
        **spec.env,
        "HRM_CONTAINER_ID": spec.container_id,
        "HRM_APPLICATION_ID": spec.application_id,
        "HRM_NODE_ID": node.spec.node_id,
        "CUDA_VISIBLE_DEVICES": ",".join(spec.device_ids),
    }


_ISOLATION = Isolation(
    guards=tuple(
        Guard(resource=name, means=Means.ADVICE, by="nothing really runs") for name in ("memory", "cpus", "processes")
    )
)
