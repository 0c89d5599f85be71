"""One simulation: the production scheduler and pacer, with machines, users and time played.

What the ResourceManager does around the scheduler is done here in its order: what happened is told, then the pacer's
nodes are visited until it has none left. What is done again and again is in `hrm.sim.rounds`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hrm.core.commands import (
    Allocate,
    AppActivated,
    Command,
    ContainerEnded,
    EndCause,
    KillContainer,
    NodeReserved,
    NodeUnreserved,
    PreemptContainer,
    ReclaimContainer,
    StrategyFailed,
)
from hrm.core.events import (
    AppAdded,
    AppMoved,
    AppRemoved,
    AttemptAdded,
    AttemptRemoved,
    CheckpointSaved,
    ContainerFinished,
    ContainerRecovered,
    ContainerReleased,
    Event,
    NodeAdded,
    NodeRemoved,
    NodeSchedulable,
    NodeUpdate,
    RequestsUpdated,
)
from hrm.core.scheduler import Scheduler
from hrm.core.strategies import BUILT_IN, Strategies
from hrm.model.errors import InvalidInput
from hrm.model.ids import ContainerId
from hrm.model.node_needs import NodeNeeds
from hrm.model.requests import ResourceRequest
from hrm.model.scheduling import Victims
from hrm.model.states import ApplicationState
from hrm.rm.pacer import Pacer
from hrm.sim.applications import App, Run
from hrm.sim.clock import EventQueue
from hrm.sim.recorder import Recorder
from hrm.sim.rounds import Rounds
from hrm.sim.strategies import refuse_failure
from hrm.sim.workload import Fault, Job, Move, Workload

_PROGRESS_EVERY = 500
#: Of container ids.
_EPOCH = 1


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a simulation has come."""

    now: float
    #: Jobs that are over, and all.
    over: int
    jobs: int
    granted: int
    tasks: int


class Watcher(Protocol):
    """Looks on, and may raise what it has to say."""

    def told(self, event: Event, commands: list[Command], now: float) -> None:
        """The scheduler handled the event; its commands are yet to be obeyed."""

    def settled(self, now: float) -> None:
        """All that is due has happened, and no node is left to visit."""


class Simulation:
    """Runs one workload once.

    ``fragmentation``: how much of the GPUs is fragmented is sampled over time, too.
    """

    def __init__(
        self,
        workload: Workload,
        *,
        until_s: float = math.inf,
        fragmentation: bool = False,
        watchers: Sequence[Watcher] = (),
        strategies: Strategies = BUILT_IN,
    ) -> None:
        """``strategies``: those that the workload's options may name. Raises InvalidInput where the core does not take
        queues or options."""
        self.workload = workload
        self.scheduler = Scheduler(workload.root, epoch=_EPOCH, options=workload.options, strategies=strategies)
        self.pacer = Pacer(self.scheduler)
        self.recorder = Recorder(workload, self.scheduler, fragmentation=fragmentation)
        #: Those that were submitted, in their order.
        self.apps: list[App] = []
        #: Jobs with a request that no node could hold were it empty: refused, as the ResourceManager does.
        self.refused: list[Job] = []
        self.over = 0
        #: Containers that were warned, of them not needed after all, killed or given back for others, lost with nodes.
        self.warned = self.spared = self.killed = self.lost = 0
        #: Nodes that were reserved, and applications moved to another queue.
        self.reserved = self.moved = 0
        #: Gangs that began, and nodes that were kept for them.
        self.gangs = self.gathered = 0
        #: Events that the scheduler was told of, and how many of them were visits.
        self.told = self.visits = 0
        #: True iff it was broken off; what is recorded until then holds.
        self.interrupted = False
        self.now = 0.0
        self._until_s = until_s
        self._tell_progress: Callable[[Progress], None] = lambda _: None
        self._watchers = watchers
        self._events = EventQueue()
        self._nodes = {node.node_id: node for node in workload.nodes}
        self._down_until: dict[str, float] = {}
        #: Those that are to end for others.
        self._marked: dict[ContainerId, None] = {}
        self._tasks = sum(job.tasks for job in workload.jobs)
        self._changed_at = 0.0
        self._rounds = Rounds(workload, self.scheduler, self.pacer, self._events, self._tell)
        self._obeyers: dict[type, Callable[[object, float], None]] = {
            Allocate: self._on_allocate,
            AppActivated: self._on_activated,
            ContainerEnded: self._on_ended,
            PreemptContainer: self._on_preempt,
            KillContainer: self._on_kill,
            ReclaimContainer: self._on_kill,
            NodeReserved: self._on_reservation,
            NodeUnreserved: self._on_reservation,
            StrategyFailed: self._on_strategy_failed,
        }

    # ---- the loop

    def load(self) -> None:
        """Take nodes, jobs and faults. Apart from `run`, so that it can be timed apart."""
        for node in self.workload.nodes:
            self._tell(NodeAdded(node), 0.0)
        for node_id in self.workload.closed:
            self._tell(NodeSchedulable(node_id, False), 0.0)
        fits: dict[tuple[object, object], bool] = {}
        accepted: list[Job] = []
        for job in self.workload.jobs:
            for group in job.groups:
                shape = (group.resources, group.gpu_model)
                if shape not in fits:
                    request = ResourceRequest(resources=group.resources, count=1, gpu_model=group.gpu_model)
                    fits[shape] = self.scheduler.fits_some_node(request)
            whole = all(fits[group.resources, group.gpu_model] for group in job.groups) and self._fits_at_once(job)
            (accepted if whole else self.refused).append(job)
        self.apps = [App(job, index) for index, job in enumerate(accepted)]
        self._events.put_all(
            [(app.job.submit_s, self._arrive, app) for app in self.apps]
            + [(fault.at_s, self._fail, fault) for fault in self.workload.faults]
            + [(move.at_s, self._move, move) for move in self.workload.moves]
        )

    def _fits_at_once(self, job: Job) -> bool:
        """True iff it is no gang, or the nodes would hold all of it if nothing ran there."""
        asked = [
            ResourceRequest(
                resources=group.resources,
                count=group.tasks,
                gpu_model=group.gpu_model,
                needs=NodeNeeds(constraint=group.constraint, label=group.node_label or None),
            )
            for group in job.groups
        ]
        return not job.gang or self.scheduler.most_at_once(asked, job.tasks_per_node) == job.tasks

    def run(self, progress: Callable[[Progress], None] = lambda _: None) -> None:
        """To the end: nothing happens any more, or ``until_s`` is over. Ctrl-C ends it with what there is.

        Raises InvalidInput where a placement strategy of another package fails.
        """
        self._tell_progress = progress
        if not self.apps and not self.refused:
            self.load()
        steps = 0
        try:
            while self._step():
                steps += 1
                if not steps % _PROGRESS_EVERY:
                    progress(self.progress)
            if self._rounds.shares_stale:
                self._rounds.update_shares(self.now)
            self.recorder.sample()
        except KeyboardInterrupt:
            self.interrupted = True
            # It may have come while a row was written.
            self.recorder.grants.cut()
        progress(self.progress)

    @property
    def progress(self) -> Progress:
        return Progress(self.now, self.over, len(self.apps), len(self.recorder.grants), self._tasks)

    def _step(self) -> bool:
        """All that happens at the next moment, and the visits that follow. False iff it is over."""
        events = self._events
        if self.over == len(self.apps):
            return False
        now = events.next_at
        if now > self._until_s or math.isinf(now):
            if now > self._until_s > self.now:
                self._advance(self._until_s)
            return False
        if len(events) == self._rounds.waiting and now - self._changed_at > self._rounds.patience_s:
            return False
        if now > self.now:
            self._advance(now)
        while events.next_at == now:
            handler, what = events.pop()
            handler(what, now)
        self._visit(now)
        for watcher in self._watchers:
            watcher.settled(now)
        if self._marked:
            self._spare()
        self._rounds.put(now, warned=len(self._marked))
        return True

    def _advance(self, now: float) -> None:
        recorder = self.recorder
        if recorder.sample_is_due:
            if self._rounds.shares_stale:
                self._rounds.update_shares(self.now)
            recorder.sample()
        recorder.advance(now)
        self.now = now

    def _visit(self, now: float) -> None:
        take, handle = self.pacer.take, self.scheduler.handle
        while (visit := take()) is not None:
            event = NodeUpdate(*visit)
            commands = handle(event, now)
            self.told += 1
            self.visits += 1
            if not self.visits % _PROGRESS_EVERY:
                self._tell_progress(self.progress)
            for watcher in self._watchers:
                watcher.told(event, commands, now)
            if commands:
                self._obey(commands, now)

    def _tell(self, event: Event, now: float) -> None:
        commands = self.scheduler.handle(event, now)
        self.told += 1
        for watcher in self._watchers:
            watcher.told(event, commands, now)
        if commands:
            self._obey(commands, now)

    def _obey(self, commands: list[Command], now: float) -> None:
        # A gang that waits for ever gathers nodes and lets them go for ever.
        if not all(isinstance(command, NodeReserved | NodeUnreserved) for command in commands):
            self._changed_at = now
        obeyers = self._obeyers
        for command in commands:
            obeyers[type(command)](command, now)

    # ---- the life of jobs

    def _arrive(self, app: App, now: float) -> None:
        job = app.job
        self._changed_at = now
        self._rounds.demand(now)
        self.recorder.arrived(app)
        app.enter(ApplicationState.ACCEPTED)
        added = AppAdded(app.application_id, job.queue, job.user, now, job.priority, opportunistic=job.opportunistic)
        self._tell(added, now)
        self._tell(AttemptAdded(app.attempt_id), now)
        for number, running in enumerate(job.running, 1):
            container_id = ContainerId(app.attempt_id, _EPOCH, number)
            resources = job.groups[running.group].resources
            self._tell(
                ContainerRecovered(
                    container_id,
                    running.node_id,
                    resources,
                    running.device_ids,
                    started_at=now - running.ran_s,
                    execution_type=app.execution_type,
                ),
                now,
            )
            self._begin(app.found(running, container_id, now), now)
        self._tell(RequestsUpdated(app.attempt_id, app.requests(range(len(job.groups)), self._nodes)), now)
        self._rounds.shares_stale = True

    def _move(self, move: Move, now: float) -> None:
        """Somebody moves a job to another queue."""
        app = next((app for app in self.apps if app.job.name == move.job), None)
        view = None if app is None else self.scheduler.application_view(app.application_id)
        if view is None or view.queue == move.queue:
            return
        self._rounds.demand(now)
        try:
            self._tell(AppMoved(view.application_id, move.queue), now)
        except InvalidInput:
            # The queue has no room for it: refused, as a user would be told, and nothing has changed.
            return
        self.moved += 1
        self._changed_at = now
        self.pacer.demand()
        self._rounds.shares_stale = True

    def _on_activated(self, command: object, now: float) -> None:
        self.pacer.demand()
        self._rounds.shares_stale = True

    def _on_allocate(self, command: object, now: float) -> None:
        assert isinstance(command, Allocate)
        app = self.apps[command.container_id.attempt.application.seq - 1]
        self.gangs += app.job.gang and not app.runs
        self._begin(app.start(command, now), now)

    def _begin(self, run: Run, now: float) -> None:
        self.recorder.granted(run)
        if run.left_s != math.inf:
            self._events.put(now + run.left_s, self._finish, run)
        every_s = run.app.job.checkpoint_s
        if every_s is not None and self.workload.options.victims is Victims.LEAST_WORK_LOST:
            self._put_checkpoint(run, now)

    def _finish(self, run: Run, now: float) -> None:
        """A task's work is done."""
        if not run.alive:
            return
        self._changed_at = now
        app = run.app
        last = app.finish(run)
        self.recorder.ended(run, now)
        self._marked.pop(run.container_id, None)
        self._tell(ContainerFinished(run.container_id), now)
        self.pacer.room(run.node_id)
        if last:
            app.enter(ApplicationState.FINISHED)
            app.ended_at = now
            self.over += 1
            self.recorder.left(app)
            self._tell(AttemptRemoved(app.attempt_id), now)
            self._tell(AppRemoved(app.application_id), now)
            self._rounds.shares_stale = True

    def _interrupt(self, run: Run, now: float, *, saved: bool = False) -> None:
        """A container is gone before its work was done: its task asks again."""
        app = run.app
        app.interrupt(run, now, saved=saved)
        self.recorder.ended(run, now)
        self._marked.pop(run.container_id, None)
        if app.job.gang:
            for other in list(app.runs.values()):
                app.interrupt(other, now, saved=saved)
                self.recorder.ended(other, now)
                self._marked.pop(other.container_id, None)
                self._tell(ContainerReleased(other.container_id), now)
                self.pacer.room(other.node_id)
        self._rounds.demand(now)
        self._tell(RequestsUpdated(app.attempt_id, app.requests([run.group], self._nodes)), now)

    def _put_checkpoint(self, run: Run, now: float) -> None:
        every_s = run.app.job.checkpoint_s or math.inf
        if now + every_s < run.started_at + run.left_s:
            self._events.put(now + every_s, self._save, run)

    def _save(self, run: Run, now: float) -> None:
        if run.alive:
            self._tell(CheckpointSaved(run.container_id), now)
            self._put_checkpoint(run, now)

    # ---- preemption

    def _run_of(self, container_id: ContainerId) -> Run:
        return self.apps[container_id.attempt.application.seq - 1].runs[container_id.seq]

    def _on_preempt(self, command: object, now: float) -> None:
        """Warned: a job that checkpoints saves its work and gives the container back, others go on."""
        assert isinstance(command, PreemptContainer)
        run = self._run_of(command.container_id)
        self.warned += 1
        self._marked[run.container_id] = None
        if run.app.job.checkpoint_s is not None:
            self._events.put(now, self._give_back, run)

    def _give_back(self, run: Run, now: float) -> None:
        if run.alive:
            self.killed += 1
            run.app.preempted += 1
            self._tell(CheckpointSaved(run.container_id), now)
            self._tell(ContainerReleased(run.container_id), now)
            self._interrupt(run, now, saved=True)
            self.pacer.room(run.node_id)

    def _on_kill(self, command: object, now: float) -> None:
        assert isinstance(command, KillContainer | ReclaimContainer)
        self._events.put(now, self._end_for_others, self._run_of(command.container_id))

    def _end_for_others(self, run: Run, now: float) -> None:
        if run.alive:
            self.killed += 1
            run.app.preempted += 1
            self._tell(ContainerFinished(run.container_id), now)
            self._interrupt(run, now)
            self.pacer.room(run.node_id)

    def _spare(self) -> None:
        """The scheduler tells nobody whom it spares; nothing is to be done for them."""
        for container_id in list(self._marked):
            container = self.scheduler.books.container(container_id)
            if container is not None and container.hold is None and not container.killed:
                del self._marked[container_id]
                self.spared += 1

    def _on_reservation(self, command: object, now: float) -> None:
        """Told for people to see, and counted."""
        assert isinstance(command, NodeReserved | NodeUnreserved)
        if isinstance(command, NodeUnreserved):
            self.pacer.room(command.node_id)
        elif self.apps[command.application_id.seq - 1].job.gang:
            self.gathered += 1
        else:
            self.reserved += 1

    def _on_strategy_failed(self, command: object, now: float) -> None:
        assert isinstance(command, StrategyFailed)
        refuse_failure([command])

    # ---- machines

    def _fail(self, fault: Fault, now: float) -> None:
        node_id = fault.node_id
        back_at = now + fault.down_s
        self._events.put(back_at, self._repair, node_id)
        was_up = node_id not in self._down_until
        self._down_until[node_id] = max(self._down_until.get(node_id, 0.0), back_at)
        if was_up:
            self.pacer.forget(node_id)
            self._tell(NodeRemoved(node_id), now)
            self._rounds.shares_stale = True

    def _repair(self, node_id: str, now: float) -> None:
        if self._down_until.get(node_id, math.inf) <= now:
            del self._down_until[node_id]
            self._changed_at = now
            self._tell(NodeAdded(self._nodes[node_id]), now)
            self.pacer.room(node_id)
            self._rounds.shares_stale = True

    def _on_ended(self, command: object, now: float) -> None:
        """The scheduler counts a container as ended: its node is lost. What was given back is known here already."""
        assert isinstance(command, ContainerEnded)
        if command.cause is EndCause.NODE_LOST:
            run = self.apps[command.container_id.attempt.application.seq - 1].runs.get(command.container_id.seq)
            if run is None:
                # Another of its gang was on the node, and took it along.
                return
            run.app.lost += 1
            self.lost += 1
            self._interrupt(run, now)
