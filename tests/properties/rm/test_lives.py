"""Random work, kills, moves, changed trees, lost machines, late reports, and servers that die at any moment.

What must hold whenever nothing moves: books, memory and disk agree; no task succeeds twice; nothing runs that nobody
owns. And in the end every application is over once its work may end.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from hrm.core.invariants import check_invariants
from hrm.model.containers import ExitReason
from hrm.model.errors import Conflict, InvalidInput
from hrm.model.ids import ApplicationId, ContainerId
from hrm.model.jobs import GangSpec
from hrm.model.placement import PlacementPolicy
from hrm.model.queues import QueueSpec
from hrm.model.states import ApplicationState, ContainerState, TaskState
from hrm.rm.applications import LiveApplication
from hrm.testing import eventually_async
from hrm.testing.builders import amounts, node, queue, queues
from hrm.testing.lives import Life, Lives, tasks

T = TypeVar("T")
NODES = ("n1", "n2", "n3")
COMMANDS = (
    ("sleep", "1000000"),
    ("true",),
    ("sh", "-c", "exit 1"),
    ("sh", "-c", "trap '' TERM; sleep 1000000"),
    ("sh", "-c", "trap 'exit 7' TERM; wait"),
)
which = st.integers(0, 1000)
#: Who has less than its share for a while takes it from the others.
HUNGRY: dict[str, Any] = {"fair_share_preemption_timeout_s": 20.0, "fair_share_preemption_threshold": 1.0}


def tree(*children: QueueSpec) -> QueueSpec:
    return queues(*children, policy="drf", **HUNGRY)


TREES = (
    tree(queue("default", policy="drf"), queue("research", policy="drf")),
    tree(queue("default", policy="fifo"), queue("research", queue("vision"), queue("speech"))),
    tree(queue("default", policy="drf"), queue("research", max_share=amounts(3, "4G"), max_running_apps=2)),
    tree(queue("default", policy="drf")),
)
trees = st.sampled_from(TREES)
#: Some are there, some may be made, and some stand where others have no place.
places = st.sampled_from(["default", "research", "default", "research.vision", "users.ada"])


class LivesMachine(RuleBasedStateMachine):
    """Every rule ends when nothing moves any more, unless the server dies in the middle of it."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = Path(tempfile.mkdtemp())
        self.lives = Lives(
            self.directory,
            [node(name, cpus=2, memory="4G") for name in NODES],
            root=TREES[0],
            placement=PlacementPolicy(undeclared_queues=True),
        )
        self.applications: list[str] = []
        self.tasks_of: dict[str, int] = {}
        #: Those whose tasks are one.
        self.gangs: set[str] = set()
        self.held = False
        self.life: Life

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    def do(self, call: Callable[..., object], *arguments: Any, **named: Any) -> None:
        """On the loop."""

        async def on_the_loop() -> None:
            call(*arguments, **named)

        self.run(on_the_loop())

    @initialize()
    def first_life(self) -> None:
        self.life = self.run(self.lives.begin())
        self.submit(COMMANDS[0], 3, 1, "default", 1, None, None, False)

    # --- what people do

    @rule(
        command=st.sampled_from(COMMANDS),
        count=st.integers(1, 4),
        cpus=st.sampled_from([0.5, 1, 2]),
        queue=places,
        retries=st.integers(0, 2),
        max_failures=st.sampled_from([None, None, 0, 1]),
        timeout_s=st.sampled_from([None, 50.0]),
        repeat=st.booleans(),
        gang=st.sampled_from([None, None, GangSpec(), GangSpec(tasks_per_node=1, timeout_s=100.0)]),
    )
    def submit(self, command, count, cpus, queue, retries, max_failures, timeout_s, repeat, gang=None) -> None:  # type: ignore[no-untyped-def]
        name = f"submission {len(self.applications)}"
        group = tasks(*command, count=count, cpus=cpus, retries=retries, timeout_s=timeout_s)

        async def submit() -> list[str]:
            return [
                await self.life.submit(group, queue=queue, max_failures=max_failures, submit_id=name, gang=gang)
                for _ in range(1 + repeat)
            ]

        try:
            ids = set(self.run(submit()))
        except InvalidInput:
            return  # the tree has no such leaf, and no place for one; or a gang is too large for queue or nodes
        assert len(ids) == 1, "one submit id made two jobs"
        (app,) = ids
        assert app not in self.applications, "an id was given twice"
        self.applications.append(app)
        self.tasks_of[app] = count
        if gang is not None:
            self.gangs.add(app)
        self.quiet()

    @precondition(lambda self: self.applications)
    @rule(number=which)
    def kill(self, number: int) -> None:
        app = self.applications[number % len(self.applications)]
        self.run(self.life.service.kill(app, by="ada"))
        self.quiet()
        report = self.run(self.life.service.application(app))
        assert report.state.final or self.life.manager.containers, "killed, nothing runs, and not over"

    @precondition(lambda self: self.applications)
    @rule(number=which, queue=places)
    def move(self, number: int, queue: str) -> None:
        app = self.applications[number % len(self.applications)]
        before = self.run(self.life.service.application(app))
        try:
            after = self.run(self.life.service.move(app, queue, by="ada"))
        except (InvalidInput, Conflict):
            after = self.run(self.life.service.application(app))
            assert after.queue == before.queue
        else:
            assert after.queue == queue
        self.quiet()

    @rule(tree=trees)
    def reload(self, tree: QueueSpec) -> None:
        try:
            self.run(self.life.service.reload_queues(tree))
        except InvalidInput:
            pass  # what runs cannot live in it, and nothing has changed
        else:
            self.lives.root = tree
        self.quiet()

    # --- what machines do

    @rule(number=which, how=st.sampled_from([0, 0, 0, 1, ExitReason.LOST]))
    def a_container_ends(self, number: int, how: int | ExitReason) -> None:
        """If one runs. After a crash that may depend on how far the disk came, so it is no precondition."""
        running = self.lives.machines.running()
        if not running:
            return
        name = running[number % len(running)]
        if isinstance(how, ExitReason):
            self.do(self.lives.machines.finish, name, reason=how)
        else:
            self.do(self.lives.machines.finish, name, how)
        self.quiet()

    @rule(number=which)
    def a_node_is_lost(self, number: int) -> None:
        """One where something runs, if there is one."""
        machines = [name for name, machine in self.lives.cluster.nodes.items() if machine.connected]
        if machines:
            busy = [
                name for name in machines if any(c.running for c in self.lives.cluster.node(name).containers.values())
            ]
            choice = busy or machines
            self.do(self.life.engine.lose_node, choice[number % len(choice)])
            self.quiet()

    @rule(number=which, anew=st.booleans())
    def a_node_comes_back(self, number: int, anew: bool) -> None:
        """One that was lost, if there is one; else one that only lost its connection."""
        lost = [name for name, machine in self.lives.cluster.nodes.items() if not machine.connected] or NODES
        back = self.life.engine.restart_node if anew else self.life.engine.return_node
        self.do(back, lost[number % len(lost)])
        self.quiet()

    @rule(times=st.integers(1, 3))
    def reports_are_repeated(self, times: int) -> None:
        self.life.engine.repeat_reports(times)

    @precondition(lambda self: not self.held)
    @rule()
    def reports_are_held_up(self) -> None:
        self.life.engine.hold_reports()
        self.held = True

    @precondition(lambda self: self.held)
    @rule()
    def reports_arrive(self) -> None:
        self.hear()
        self.quiet()

    @rule(seconds=st.sampled_from([1, 31, 60]))
    def time_passes(self, seconds: int) -> None:
        self.run(self.life.pass_time(seconds))
        self.quiet()

    # --- what happens to the server

    @rule(orderly=st.booleans(), tree=trees)
    def the_server_ends_and_another_begins(self, orderly: bool, tree: QueueSpec) -> None:
        """Meanwhile somebody changed the file."""
        self.lives.root = tree
        self.run(self.life.close() if orderly else self.life.kill())
        self.begin()

    @rule(number=which, transactions=st.integers(0, 3), deaf=st.booleans())
    def the_server_dies_in_the_middle(self, number: int, transactions: int, deaf: bool) -> None:
        """After so many transactions nothing reaches the disk; ``deaf``: what did is not carried out either."""

        async def die() -> None:
            life = self.life
            life.engine.dead = deaf
            life.disk.hold(after=transactions)
            doing = [asyncio.ensure_future(life.submit(tasks("sleep", "1000000", count=2), submit_id="lost"))]
            if self.applications:
                app = self.applications[number % len(self.applications)]
                doing.append(asyncio.ensure_future(life.service.kill(app, by="bob")))  # type: ignore[arg-type]
            for name in self.lives.machines.running()[:2]:
                self.lives.machines.finish(name, number % 2)
            # As far as it comes: until the disk is waited for, or nothing moves.
            await eventually_async(lambda: life.disk.holding or (doing[0].done() and life.manager.turns.idle))
            await life.kill()
            await asyncio.gather(*doing, return_exceptions=True)

        self.run(die())
        self.begin()
        # Whether the submission got through its caller never learnt; asked again, it is one job.
        app = self.run(self.life.submit(tasks("sleep", "1000000", count=2), submit_id="lost"))
        if app not in self.applications:
            self.applications.append(app)
            self.tasks_of[app] = 2
        self.quiet()

    # --- what must hold

    def begin(self) -> None:
        self.held = False
        for machine in self.lives.cluster.nodes.values():
            machine.connected = True
        self.life = self.run(self.lives.begin())
        self.quiet()

    def hear(self) -> None:
        self.do(self.life.engine.release_reports)
        self.held = False

    def quiet(self) -> None:
        """Until nothing moves; then everything must agree."""
        self.run(self.life.settle())
        # Starts are written a tick later.
        self.run(self.life.pass_time(0))
        assert not self.life.broken
        check_invariants(self.life.scheduler)
        self.books_agree_with_memory()
        self.run(self.disk_agrees_with_memory())
        if not self.held:
            self.machines_agree_with_memory()
        self.run(self.no_task_succeeds_twice())

    def books_agree_with_memory(self) -> None:
        manager = self.life.manager
        booked = {
            str(container.container_id)
            for app in self.life.scheduler.books.apps.values()
            for container in app.containers.values()
        }
        assert booked == manager.containers.keys() - self.life.listener.recovering.keys()
        for app in manager.applications.values():
            running = {task.container_id for task in app.master.begun.values() if task.state is TaskState.RUNNING}
            assert running == app.containers.keys()
            assert self.life.scheduler.books.apps[app.id].queue.path == app.row.queue
            if str(app.id) in self.gangs:
                self.no_gang_runs_in_part(app)
            if app.row.kill_requested:
                assert app.master.counts.pending == 0, "something of a killed application waits to begin"

    def no_gang_runs_in_part(self, app: LiveApplication) -> None:
        """All members run or have done their part; or none runs but those that are on their way out."""
        states = {app.master.task(index).state for index in range(app.master.task_count)}
        if not states <= {TaskState.RUNNING, TaskState.SUCCEEDED}:
            going = {ContainerState.STOPPING, ContainerState.LOST}
            assert all(one.row.state in going for one in app.containers.values()), "a part of a gang runs on"

    async def disk_agrees_with_memory(self) -> None:
        manager = self.life.manager
        loaded = await self.life.store.load()
        assert {saved.row.seq for saved in loaded.applications} == {
            app.row.seq for app in manager.applications.values()
        }
        on_disk = {row.container_id: row for saved in loaded.applications for row in saved.containers}
        assert on_disk == {name: container.row for name, container in manager.containers.items()}
        assert loaded.orphans == []
        for saved in loaded.applications:
            (app,) = [one for one in manager.applications.values() if one.row.seq == saved.row.seq]
            assert saved.row == app.row
            assert saved.attempts == [app.attempt.row]
            assert {row.task_index: row for row in saved.tasks} == {
                index: app.record_of(task).row for index, task in app.master.begun.items()
            }

    def machines_agree_with_memory(self) -> None:
        seen = {
            name: container
            for machine in self.lives.cluster.nodes.values()
            if machine.connected
            for name, container in machine.containers.items()
        }
        assert not [name for name, one in seen.items() if one.ended and not one.acknowledged], "not acknowledged"
        # One that ignores TERM has 30 s left.
        running = {name for name, one in seen.items() if one.running and not one.stopping}
        owned = self.life.manager.containers
        assert running <= owned.keys()
        assert not [name for name in running if owned[name].row.state is ContainerState.STOPPING], "not told to stop"
        for name in running:
            preemption = owned[name].row.preemption
            stands = preemption is not None and preemption.stands
            assert (seen[name].notice is not None) == stands, "warned and spared as it is written"

    async def no_task_succeeds_twice(self) -> None:
        # A member of a gang that has succeeded runs again with the others.
        gangs = {ApplicationId.parse(app).seq for app in self.gangs}
        rows = await self.life.store.history()
        succeeded = Counter(
            (one.row.application_seq, one.row.task_index) for one in rows if one.row.task_state is TaskState.SUCCEEDED
        )
        assert not [task for task, times in succeeded.items() if times > 1 and task[0] not in gangs]
        ended_for_others = [one.row for one in rows if one.row.task_state is TaskState.PREEMPTED]
        assert not [row for row in ended_for_others if row.preemption is None or row.exit_code == 0]
        attempts = Counter((one.row.application_seq, one.row.task_index, one.row.task_attempt) for one in rows)
        assert not [attempt for attempt, times in attempts.items() if times > 1], "an attempt has two containers"
        names = {one.row.container_id for one in rows}
        for machine in self.lives.cluster.nodes.values():
            assert machine.containers.keys() <= names, "launched, and not on disk"
        ids = [ContainerId.parse(one.row.container_id) for one in rows]
        assert len(set(ids)) == len(ids)

    def teardown(self) -> None:
        try:
            if hasattr(self, "life"):
                self.end_everything()
                self.run(self.life.kill())
        finally:
            self.runner.close()
            shutil.rmtree(self.directory)

    def end_everything(self) -> None:
        self.life.engine.repeat_reports(1)
        self.hear()
        for node_id in NODES:
            self.do(self.life.engine.return_node, node_id)
        self.quiet()
        for _ in range(200):
            if not self.life.manager.applications:
                break
            for name in self.lives.machines.running():
                self.do(self.lives.machines.finish, name, 0)
            self.run(self.life.pass_time(31))
        assert not self.life.manager.applications, "work may end and an application does not"
        self.quiet()
        for app in self.applications:
            report = self.run(self.life.service.application(app))
            assert report.state.final
            ended = report.tasks_succeeded, report.tasks_failed, report.tasks_killed
            assert sum(ended) == report.tasks_total == self.tasks_of[app]
            assert (report.state is ApplicationState.FINISHED) == (report.tasks_succeeded == report.tasks_total)
            states = Counter(task.state for task in self.run(self.life.service.tasks(app)))
            assert (states["SUCCEEDED"], states["FAILED"], states["KILLED"]) == ended


LivesMachine.TestCase.settings = settings(
    max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLives = LivesMachine.TestCase
