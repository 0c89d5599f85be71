"""A ResourceManager with the real scheduler, store and service over fake machines; it can be killed and live again.

async with Lives(tmp_path, [node("n1")]) as lives:
    life = await lives.begin()
    app = await life.submit(tasks("sleep", "100"))
    await life.kill()
    life = await lives.begin()
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hrm.am.own_master import EXPIRY_S
from hrm.core.scheduler import Scheduler
from hrm.core.strategies import BUILT_IN, Strategies
from hrm.doctor.expected.rounds import Rounds
from hrm.model.containers import LaunchSpec, PreemptionNotice
from hrm.model.errors import StoreError
from hrm.model.inventory import Inventory
from hrm.model.jobs import JobSpec, TaskGroupSpec
from hrm.model.nodes import NodeSpec
from hrm.model.placement import PlacementPolicy
from hrm.model.queues import DEFAULT_QUEUE, QueueSpec
from hrm.model.reports import ApplicationReport
from hrm.model.resources import Resources
from hrm.rm.draining import Drains
from hrm.rm.event_log import EventLog
from hrm.rm.groups import Groups
from hrm.rm.health import Health
from hrm.rm.listener import Listener
from hrm.rm.manager import ResourceManager
from hrm.rm.queues import Queues
from hrm.rm.recovery import restore
from hrm.rm.service import Service
from hrm.rm.store import open_store
from hrm.testing.builders import node, queue, queues
from hrm.testing.clock import ManualClock
from hrm.testing.conditions import eventually_async
from hrm.testing.fake_cluster import FakeCluster
from hrm.testing.fake_engine import FakeEngine

#: Deadlines are looked at so often, whatever the manual clock says.
TICK_S = 0.003


def tasks(*command: str, count: int = 1, cpus: float = 1, memory: str = "1G", **group: Any) -> TaskGroupSpec:
    """A group of tasks that run ``command`` (default: one that runs until a test ends it)."""
    resources = group.pop("resources", None) or Resources.parse(cpus=cpus, memory=memory)
    return TaskGroupSpec(command=command or ("sleep", "1000000"), tasks=count, resources=resources, **group)


class Disk:
    """The seam by which a test makes the store slow, sick or dead. Called in the writer's thread."""

    def __init__(self) -> None:
        self._free = threading.Event()
        self._free.set()
        self._through = 0
        self._error: OSError | None = None
        self._steps_left = 0
        self._error_once: OSError | None = None
        #: True iff a transaction waits for `let_go`.
        self.holding = False

    def hold(self, after: int = 0) -> None:
        """When so many more transactions got through, nothing gets onto the disk …"""
        self._through = after
        self._free.clear()

    def let_go(self) -> None:
        """… until now."""
        self._free.set()

    def fail(self, error: OSError) -> None:
        """Every write fails from now on …"""
        self._error = error

    def recover(self) -> None:
        """… until now."""
        self._error = None

    def fail_once(self, nth: int, error: OSError) -> None:
        """Only the ``nth`` step from now on fails, be it a connection, a write or a commit."""
        self._steps_left, self._error_once = nth, error

    def __call__(self, step: str) -> None:
        if step == "commit":
            if self._through > 0:
                self._through -= 1
            elif not self._free.is_set():
                self.holding = True
                if not self._free.wait(timeout=60):
                    raise AssertionError("the disk was held for too long")
                self.holding = False
        if step == "committed":
            return
        if self._error:
            raise self._error
        self._steps_left -= 1
        if self._steps_left == 0 and self._error_once:
            raise self._error_once


class _Hands(FakeEngine):
    """The engine, until its server is dead."""

    dead = False

    def launch(self, node_id: str, specs: Sequence[LaunchSpec]) -> None:
        if not self.dead:
            super().launch(node_id, specs)

    def stop_containers(self, node_id: str, container_ids: Sequence[str], *, grace_s: float) -> None:
        if not self.dead:
            super().stop_containers(node_id, container_ids, grace_s=grace_s)

    def resize(self, node_id: str, container_id: str, resources: Resources) -> None:
        if not self.dead:
            super().resize(node_id, container_id, resources)

    def freeze(self, node_id: str, container_ids: Sequence[str], *, frozen: bool) -> None:
        if not self.dead:
            super().freeze(node_id, container_ids, frozen=frozen)

    def warn(self, node_id: str, container_id: str, notice: PreemptionNotice) -> None:
        if not self.dead:
            super().warn(node_id, container_id, notice)

    def spare(self, node_id: str, container_id: str) -> None:
        if not self.dead:
            super().spare(node_id, container_id)

    def acknowledge(self, node_id: str, container_ids: Sequence[str]) -> None:
        if not self.dead:
            super().acknowledge(node_id, container_ids)

    def forget(self, node_id: str, container_ids: Sequence[str]) -> None:
        if not self.dead:
            super().forget(node_id, container_ids)


class Life:
    """One server from its start to its end. ``manager``, ``service``, ``engine``, ``store`` are its parts."""

    def __init__(self, lives: Lives, root: QueueSpec, strategies: Strategies = BUILT_IN) -> None:
        self._lives = lives
        self.disk = Disk()
        clock = lives.clock.now
        self.store = open_store(lives.database, now=clock(), fault=self.disk)
        self.engine = _Hands(cluster=lives.cluster)
        self.scheduler = Scheduler(root, epoch=self.store.epoch, strategies=strategies)
        #: True once the manager said that it can go on no more.
        self.broken = False
        #: True once it was told to end, or told itself.
        self.asked_to_end = False
        self.alive = True

    async def begin(self) -> None:
        clock = self._lives.clock.now
        loaded = await self.store.load()
        self.manager = ResourceManager(
            self.scheduler,
            self.store,
            self.engine,
            EventLog(
                cluster_timestamp=self.store.cluster_timestamp,
                next_seq=loaded.next_event_seq,
                read=self.store.events,
            ),
            clock=clock,
            on_broken=self._on_broken,
            credentials=lambda attempt_id, user, node_id: {"HRM_ATTEMPT_ID": str(attempt_id)},
            tick_s=TICK_S,
            master_expiry_s=self._lives.master_expiry_s,
            local_paths=self._lives.local_paths,
            queues=Queues(self.scheduler, self._lives.placement, Groups(lambda user: self._lives.groups.get(user, ()))),
        )
        health = Health(self.manager, Drains(self.manager, on_empty=self._on_shutdown), self._lives.rounds)
        self.listener = Listener(self.manager, health)
        self.service = Service(
            self.manager,
            home="/nowhere",
            address=lambda: "http://nowhere",
            next_application_seq=loaded.next_application_seq,
            ephemeral=False,
            on_shutdown=self._on_shutdown,
            health=health,
        )
        self.manager.nodes.declare(self._lives.inventory)
        restore(self.manager, self.listener, loaded)
        self.manager.open()

    def _on_broken(self) -> None:
        self.broken = True

    def _on_shutdown(self) -> None:
        self.asked_to_end = True

    async def join_nodes(self) -> None:
        """The engine finds the machines."""
        await self.engine.start(self.listener)

    async def kill(self) -> None:
        """As `kill -9`: nothing more is written, done or heard; what was not on disk is gone."""
        self.engine.dead = True
        self.disk.fail(OSError("the server is dead"))
        self.disk.let_go()
        await self._end()

    async def close(self) -> None:
        """As `hrm down`."""
        self.disk.let_go()
        await self.manager.close()
        await self._end()

    async def _end(self) -> None:
        if self.alive:
            self.alive = False
            await self.engine.close()
            await self.store.close()
            with contextlib.suppress(StoreError):
                await self.manager.close()

    # --- what tests do

    async def submit(self, *groups: TaskGroupSpec, user: str = "ada", submit_id: str | None = None, **job: Any) -> str:
        """Returns the application's id."""
        spec = JobSpec(groups=groups or (tasks(),), **job)
        return (await self.service.submit(spec, user=user, submit_id=submit_id)).application_id

    async def settle(self, timeout_s: float = 60.0) -> None:
        """Until nothing moves any more of what goes on without time or the test."""

        async def quiet() -> bool:
            for _ in range(30):
                await asyncio.sleep(0)
                if not self.manager.turns.idle:
                    return False
            return True

        await eventually_async(quiet, timeout_s, describe="nothing moves any more")

    async def held(self) -> None:
        """Until a transaction waits for the disk, and what could go on without it did."""
        await eventually_async(lambda: self.disk.holding, describe="the disk is waited for")
        for _ in range(30):
            await asyncio.sleep(0)

    async def pass_time(self, seconds: float) -> None:
        """Let the clock go on, and what is due by then happen."""
        self._lives.clock.advance(seconds)
        looked = asyncio.Event()
        # Deadlines are looked at by two ticks later at the latest.
        asyncio.get_running_loop().call_later(2 * TICK_S, looked.set)
        await looked.wait()
        await self.settle()

    async def heartbeat(self) -> None:
        """One of every machine."""
        for node_id, machine in self._lives.cluster.nodes.items():
            if machine.connected:
                self.engine.beat(node_id)
        await self.settle()

    async def finish(self, container_id: str, exit_code: int = 0, **how: Any) -> None:
        self.engine.finish(container_id, exit_code, **how)
        await self.settle()

    async def ended(self, application_id: str, timeout_s: float = 60.0) -> ApplicationReport:
        """Its report when it is over."""
        report = await self.service.wait(application_id, timeout_s=timeout_s)
        assert report.state.final, report
        return report

    async def states(self, application_id: str) -> list[str]:
        """Of its tasks, by index."""
        return [task.state.value for task in await self.service.tasks(application_id)]

    def containers(self, application_id: str | None = None) -> list[str]:
        """Ids of the containers that are not over, oldest first."""
        return [report.container_id for report in self.service.containers(application_id)]

    def launched(self) -> list[str]:
        """Ids of containers whose launch this life asked for."""
        return [spec.container_id for spec in self.engine.launches]


class Lives:
    """What outlives a server: its database, the machines, the clock (which tests move)."""

    def __init__(
        self,
        directory: Path,
        nodes: Sequence[NodeSpec] | None = None,
        *,
        root: QueueSpec | None = None,
        placement: PlacementPolicy | None = None,
        groups: Mapping[str, tuple[str, ...]] | None = None,
        inventory: Inventory | None = None,
    ) -> None:
        """``groups`` by user: what the machine says. ``inventory``: what ``hrm.yaml`` says of nodes."""
        self.inventory = inventory or Inventory()
        self.placement = placement
        self.groups = dict(groups or {})
        self.database = directory / "hrm.db"
        self.clock = ManualClock()
        self.cluster = FakeCluster(nodes if nodes is not None else [node("n1", cpus=4, memory="8G")], clock=self.clock)
        self.root = root or queues(queue(DEFAULT_QUEUE), queue("research"))
        #: For what happens to the machines while no server is up.
        self.machines = FakeEngine(cluster=self.cluster)
        #: How long servers wait for a master that is silent.
        self.master_expiry_s = EXPIRY_S
        #: How servers go by what the doctor finds.
        self.rounds = Rounds()
        #: That some machines may have on disks of their own.
        self.local_paths: tuple[str, ...] = ()
        self._lives: list[Life] = []

    async def begin(
        self, *, root: QueueSpec | None = None, nodes: bool = True, strategies: Strategies = BUILT_IN
    ) -> Life:
        """A new life over the same database and machines; ``nodes`` false: none has joined yet."""
        life = Life(self, root or self.root, strategies)
        self._lives.append(life)
        await life.begin()
        if nodes:
            await life.join_nodes()
        await life.settle()
        return life

    async def __aenter__(self) -> Lives:
        return self

    async def __aexit__(self, *_: object) -> None:
        for life in self._lives:
            if life.alive:
                await life.kill()
