"""The ResourceManager: owns the state and turns what happens into decisions, commits and actions.

Everything runs on one asyncio loop, turn by turn (see `hrm.rm.loop`). What happens is posted; a turn handles it, lets
the scheduler and the masters decide, commits all of it in one transaction and then acts. Nothing is acted on before it
is on disk, and nothing that waits to be handled can be overtaken by a deadline.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from hrm.am.gang import GangMaster
from hrm.am.master import Actions, Master, Task
from hrm.am.own_master import EXPIRY_S, Credentials, OwnMaster
from hrm.am.protocol import AllocateRequest, AllocateResponse, Container, RegisterResponse
from hrm.am.task_set import TaskSetMaster
from hrm.am.unmanaged import UnmanagedMaster
from hrm.core.commands import (
    Allocate,
    AppActivated,
    Command,
    ContainerEnded,
    ContainerResized,
    ExecutionTypeChanged,
    KillContainer,
    NodeUnreserved,
    PreemptContainer,
    ReclaimContainer,
    StrategyFailed,
)
from hrm.core.events import (
    AppAdded,
    AppRemoved,
    AttemptAdded,
    AttemptRemoved,
    ContainerReleased,
    Event,
    NodeUpdate,
    Preempt,
    RequestsUpdated,
    UpdateGangs,
    UpdateShares,
)
from hrm.core.scheduler import Scheduler
from hrm.engines.base import Engine
from hrm.model.errors import Conflict, InvalidInput, NotFound
from hrm.model.ids import ApplicationId, AttemptId
from hrm.model.jobs import JobSpec
from hrm.model.masters import FinalStatus
from hrm.model.resources import Resources
from hrm.model.states import ApplicationState, AttemptState, TaskState
from hrm.rm.applications import LiveApplication, LiveAttempt
from hrm.rm.containers import Containers
from hrm.rm.deadlines import end_overdue
from hrm.rm.event_log import EventLog
from hrm.rm.localities import places_of
from hrm.rm.loop import TurnLoop
from hrm.rm.nodes import Nodes
from hrm.rm.pacer import TICK_S, Pacer
from hrm.rm.preemption import Preemptions
from hrm.rm.queues import Queues
from hrm.rm.records import ApplicationRow, AttemptRow, ContainerRow
from hrm.rm.rendezvous import Meetings
from hrm.rm.store import Store
from hrm.rm.suspension import lift
from hrm.rm.turn import Turn

#: How long an attached job may be without its client.
ABANDONED_GRACE_S = 10.0
#: Containers that one visit places before it is looked whether the turn's time is over.
GRANTS_AT_ONCE = 16
#: For how many containers room is made in one turn by ending others.
WARNED_AT_ONCE = 64

_FINAL_STATES = {
    FinalStatus.SUCCEEDED: (ApplicationState.FINISHED, AttemptState.FINISHED),
    FinalStatus.FAILED: (ApplicationState.FAILED, AttemptState.FAILED),
    FinalStatus.KILLED: (ApplicationState.KILLED, AttemptState.KILLED),
    FinalStatus.UNDEFINED: (ApplicationState.FAILED, AttemptState.FAILED),
}


class ResourceManager:
    """The kernel behind the facade. Also the masters' service (`hrm.am.protocol.ApplicationMasterService`)."""

    def __init__(
        self,
        scheduler: Scheduler,
        store: Store,
        engine: Engine,
        events: EventLog,
        *,
        clock: Callable[[], float] = time.time,
        on_broken: Callable[[], None] = lambda: None,
        credentials: Credentials = lambda attempt_id, user, node_id: {},
        log_limit_bytes: int = 64 << 20,
        master_expiry_s: float = EXPIRY_S,
        tick_s: float = TICK_S,
        queues: Queues | None = None,
        local_paths: Sequence[str] = (),
    ) -> None:
        """``on_broken`` is called when no further turn can be taken: see `hrm.rm.loop`.

        ``credentials`` gives a master in its own container the variables by which it comes in; one that is silent for
        ``master_expiry_s`` is ended. ``local_paths`` are those that some nodes have on disks of their own.
        """
        self.scheduler = scheduler
        self.store = store
        self.engine = engine
        self.events = events
        self.clock = clock
        self.queues = queues or Queues(scheduler)
        self.nodes = Nodes()
        self.pacer = Pacer(scheduler)
        #: Which placement strategy was given up, and why; "" iff none was.
        self.strategy_trouble = ""
        self.applications: dict[ApplicationId, LiveApplication] = {}
        self.containers = Containers(self)
        self.preemptions = Preemptions(self, self.containers)
        #: Called when the last of them has ended, and that is on disk.
        self.on_idle: Callable[[], None] = lambda: None
        #: Called at each tick, in its turn, after all else.
        self.after_tick: Callable[[Turn], None] = lambda turn: None
        self.turns = TurnLoop(store, decide=self._decide, carry_out=self._carry_out, clock=clock, on_broken=on_broken)
        self.post = self.turns.post
        self._credentials = credentials
        self._log_limit_bytes = log_limit_bytes
        self._master_expiry_s = master_expiry_s
        self._tick_s = tick_s
        self._local_paths = local_paths
        #: Applications whose master has something to hear or say.
        self._stirred: dict[ApplicationId, LiveApplication] = {}
        self._ticker: asyncio.TimerHandle | None = None
        self._meetings = Meetings(engine, self.nodes, self.post, self.called)

    # --- turns

    def open(self) -> None:
        """Begin to take turns. What was posted before is handled now."""
        self.turns.open()
        self._tick()

    async def close(self) -> None:
        """Handle what has come in, commit it, and take no further turn."""
        if self._ticker:
            self._ticker.cancel()
        self._meetings.close()
        await self.turns.close()

    def _tick(self) -> None:
        if self.turns.is_open:
            self._ticker = asyncio.get_running_loop().call_later(self._tick_s, self._tick)
            if self.applications:
                self.post(self._housekeeping)

    def _decide(self, turn: Turn) -> bool:
        """Masters and visits, as long as the turn has time; True iff there is more to do."""
        self._drive_masters(turn)
        while not turn.over and (visit := self.pacer.take()) is not None:
            node_id, by_heartbeat = visit
            commands = self.scheduler.handle(NodeUpdate(node_id, heartbeat=by_heartbeat, most=GRANTS_AT_ONCE), turn.now)
            self.obey(turn, commands)
            if len(commands) >= GRANTS_AT_ONCE:
                self.pacer.unfinished(node_id)
            self._drive_masters(turn)
        return not self.pacer.idle

    def _carry_out(self, turn: Turn) -> None:
        turn.act(self.engine, live=self.containers)

    def _housekeeping(self, turn: Turn) -> None:
        self.containers.write_starts(turn)
        for app in self.applications.values():
            deadline = app.master.next_deadline()
            if deadline is not None and deadline <= turn.now and app.row.suspended_at is None:
                self._follow(turn, app, app.master.expire(turn.now))
                self._stirred[app.id] = app
            if app.abandoned_at is not None and app.abandoned_at <= turn.now:
                app.abandoned_at = None
                self.kill(turn, app.id, "its client is gone")
        end_overdue(turn, self)
        self.tell(turn, UpdateShares())
        if self.scheduler.has_gangs():
            self.tell(turn, UpdateGangs())
        self._preempt(turn)

    def _preempt(self, turn: Turn) -> None:
        """A part of a round; the rest comes in the next turns."""
        commands = self.scheduler.handle(Preempt(WARNED_AT_ONCE), turn.now)
        self.turns.each(turn, self.obey_one, commands)
        if sum(isinstance(command, PreemptContainer) for command in commands) >= WARNED_AT_ONCE:
            self.post(self._preempt)
        else:
            self.preemptions.look(turn)
        self.after_tick(turn)

    def record(self, turn: Turn, kind: str, **facts: Any) -> None:
        """Write to the event log, and show it once it is on disk."""
        row = self.events.record(kind, turn.now, **facts)
        turn.put(row)
        turn.after_commit(lambda: self.events.publish(row))

    # --- the scheduler

    def tell(self, turn: Turn, event: Event) -> None:
        """Have the scheduler take an event, and do what it says."""
        self.obey(turn, self.scheduler.handle(event, turn.now))

    def obey(self, turn: Turn, commands: Sequence[Command]) -> None:
        for command in commands:
            self.obey_one(turn, command)

    def obey_one(self, turn: Turn, command: Command) -> None:
        match command:
            case Allocate():
                self.containers.granted(turn, command)
            case ContainerResized():
                self.containers.resized(turn, command)
            case ExecutionTypeChanged():
                self.containers.retyped(turn, command)
            case ReclaimContainer():
                self.preemptions.reclaim(turn, command)
            case ContainerEnded():
                self.containers.off_the_books(turn, command)
            case PreemptContainer():
                self.preemptions.warn(turn, command)
            case KillContainer():
                self.preemptions.kill(turn, command)
            case AppActivated():
                # Its master is there already; what it asked for may be placed from now on.
                self.pacer.demand()
            case NodeUnreserved(node_id):
                self.pacer.room(node_id)
            case StrategyFailed(strategy, trouble):
                self.strategy_trouble = f"{strategy}: {trouble}"
                self.record(turn, "placement_strategy_failed", strategy=strategy, message=trouble)
                # From now on a visit places on its own node alone: each is looked at.
                self.pacer.demand()

    # --- applications

    def admit(
        self, row: ApplicationRow, job: JobSpec, *, tasks: Sequence[Task] = (), attempt: AttemptRow | None = None
    ) -> LiveApplication:
        """Make a committed submission known; `accept` gives it to the scheduler in the next turn."""
        application_id = ApplicationId(self.store.cluster_timestamp, row.seq)
        attempt_row = attempt or AttemptRow(
            application_seq=row.seq, number=1, state=AttemptState.LAUNCHED, started_at=row.submitted_at
        )
        app = LiveApplication(
            id=application_id,
            row=row,
            job=job,
            master=self._master(application_id, row, job, tasks, attempt_row),
            attempt=LiveAttempt(AttemptId(application_id, attempt_row.number), attempt_row),
        )
        if job.attached:
            app.abandoned_at = self.clock() + 3 * ABANDONED_GRACE_S
        if row.suspended_at is not None:
            app.master.pause()
        self.applications[application_id] = app
        return app

    def _master(
        self,
        application_id: ApplicationId,
        row: ApplicationRow,
        job: JobSpec,
        tasks: Sequence[Task],
        attempt: AttemptRow,
    ) -> Master:
        if job.master is None:
            return (GangMaster if job.gang else TaskSetMaster)(
                application_id,
                job,
                user=row.user,
                queue=row.queue,
                tasks=tasks,
                log_limit_bytes=self._log_limit_bytes,
                places=self._places,
            )
        kind = UnmanagedMaster if job.yarn is not None and job.yarn.unmanaged else OwnMaster
        return kind(
            AttemptId(application_id, attempt.number),
            job,
            user=row.user,
            queue=row.queue,
            credentials=self._credentials,
            tasks=tasks,
            final=None if attempt.final_status is None else (attempt.final_status, attempt.diagnostics),
            log_limit_bytes=self._log_limit_bytes,
            expiry_s=self._master_expiry_s,
        )

    def _places(self, inputs: Sequence[str]) -> tuple[str, ...]:
        return places_of(self.nodes, self._local_paths, inputs)

    def places_changed(self) -> None:
        """A node joined, left, or has other paths than before: who would like to run near them asks anew."""
        if not self._local_paths:
            return
        for app in self.applications.values():
            if isinstance(app.master, TaskSetMaster) and any(group.inputs for group in app.job.groups):
                app.master.places_changed()
                self.stir(app)

    def accept(self, turn: Turn, app: LiveApplication, recovered: bool = False) -> None:
        """Put it into its queue, which may have to be made, and start its master."""
        row = app.row
        try:
            for event in self.queues.opened(row.queue, recovered=recovered):
                self.tell(turn, event)
            tags = frozenset(app.job.yarn.tags) if app.job.yarn is not None else frozenset[str]()
            only = app.job.opportunistic
            self.tell(
                turn, AppAdded(app.id, row.queue, row.user, row.submitted_at, row.priority, recovered, tags, only)
            )
        except InvalidInput as gone:
            # The queue was there when the submission was checked.
            self._refuse(turn, app, gone.message)
            return
        self.tell(turn, AttemptAdded(app.attempt.id))
        if row.state is ApplicationState.SUBMITTED:
            app.move(ApplicationState.ACCEPTED)
            turn.touch(app)
            self.record(turn, "application_accepted", application_seq=row.seq, queue=row.queue, user=row.user)
        if not app.master.calls:
            self.register(app.attempt.id)
        turn.touch(app.attempt)
        self._follow(turn, app, app.master.resume(turn.now))
        if row.kill_requested:
            self._follow(turn, app, app.master.kill(row.message))
        self._stirred[app.id] = app

    def _refuse(self, turn: Turn, app: LiveApplication, why: str) -> None:
        app.master.kill(why)
        app.attempt.move(AttemptState.FAILED, ended_at=turn.now)
        app.row = app.with_counts()
        app.move(ApplicationState.FAILED, ended_at=turn.now, exit_code=1, message=why)
        self._ended(turn, app)

    def kill(self, turn: Turn, application_id: ApplicationId, message: str) -> None:
        """End it. Once is enough: what follows says nothing new."""
        app = self.applications.get(application_id)
        if app is None or app.row.kill_requested or app.row.state.final:
            return
        app.change(kill_requested=True, message=message)
        turn.touch(app)
        self.record(turn, "application_kill_requested", application_seq=app.row.seq, message=message)
        if app.row.suspended_at is not None:
            lift(turn, self, app)
        self._follow(turn, app, app.master.kill(message))
        self._stirred[app.id] = app

    def fail_attempt(self, turn: Turn, attempt_id: AttemptId, message: str) -> None:
        """End the run of a master of its own, which counts as its failure. Raises Conflict where there is none."""
        app = self.applications.get(attempt_id.application)
        if app is None or app.attempt.id != attempt_id or app.attempt.row.state.final:
            raise Conflict(f"{attempt_id} is over")
        if not isinstance(app.master, OwnMaster):
            raise Conflict(f"{app.id} has no master of its own, whose run could fail")
        self._follow(turn, app, app.master.fail_attempt(message))

    # --- masters

    def register(self, attempt_id: AttemptId) -> RegisterResponse:
        app = self._attempt(attempt_id)
        if app.attempt.row.state is AttemptState.LAUNCHED:
            app.attempt.move(AttemptState.RUNNING)
        if app.master.calls and app.row.state is ApplicationState.ACCEPTED:
            # A master without a container: nothing was granted yet.
            app.move(ApplicationState.RUNNING, started_at=self._present.now)
            self._present.touch(app)
            self.record(self._present, "application_running", application_seq=app.row.seq)
        return RegisterResponse(
            queue=app.row.queue,
            maximum_resources=self._maximum_resources(app.row.queue),
            running=tuple(_as_granted(app.containers[name].row) for name in app.master.running),
        )

    def _maximum_resources(self, queue: str) -> Resources:
        """The largest container that an application there can get, as far as one node and the queue are concerned."""
        largest, limit = self.scheduler.maximum_allocation(), self.queues.max_container(queue)
        return largest if limit is None else largest.smallest(limit)

    def allocate(self, attempt_id: AttemptId, request: AllocateRequest) -> AllocateResponse:
        app, turn = self._attempt(attempt_id), self._present
        if request.asks:
            self.tell(turn, RequestsUpdated(attempt_id, request.asks))
            if any(ask.count for ask in request.asks):
                self.pacer.demand()
        for name in request.releases:
            if container := app.containers.get(name):
                self.tell(turn, ContainerReleased(container.id))
        granted, app.granted = tuple(app.granted), []
        completed, app.completed = tuple(app.completed), []
        resized, app.resized = tuple(app.resized.items()), {}
        retyped, app.retyped = tuple(app.retyped.items()), {}
        preemptions, app.preemptions = tuple(app.preemptions.items()), {}
        return AllocateResponse(
            allocated=granted, completed=completed, resized=resized, retyped=retyped, preemptions=preemptions
        )

    def finish(self, attempt_id: AttemptId, status: FinalStatus, diagnostics: str) -> None:
        app, turn = self._attempt(attempt_id), self._present
        state, attempt_state = _FINAL_STATES[status]
        app.attempt.move(attempt_state, ended_at=turn.now)
        app.row = app.with_counts()
        app.move(state, ended_at=turn.now, exit_code=app.master.exit_code, message=diagnostics)
        self.tell(turn, AttemptRemoved(attempt_id))
        self.tell(turn, AppRemoved(app.id))
        self._ended(turn, app)

    @property
    def _present(self) -> Turn:
        assert self.turns.turn is not None, "masters speak within a turn"
        return self.turns.turn

    def _ended(self, turn: Turn, app: LiveApplication) -> None:
        row = app.row
        turn.touch(app.attempt)
        turn.touch(app)
        self.record(turn, f"application_{row.state.value.lower()}", application_seq=row.seq, message=row.message)
        turn.after_commit(lambda: self._gone(app))

    def _gone(self, app: LiveApplication) -> None:
        self.applications.pop(app.id, None)
        self._stirred.pop(app.id, None)
        for node_id in app.shares_on:
            # One that is away hears of it when it clears up.
            if self.nodes.is_up(node_id):
                self.engine.end_applications(node_id, [str(app.id)])
        app.ended.set()

    def _attempt(self, attempt_id: AttemptId) -> LiveApplication:
        app = self.applications.get(attempt_id.application)
        if app is None or app.attempt.id != attempt_id or app.attempt.row.state.final:
            raise NotFound(f"no live attempt {attempt_id}")
        return app

    def _begin_next_attempt(self, turn: Turn, app: LiveApplication, why: str) -> None:
        """The master's container ended, and it is to be started anew. What still runs of it was kept for the next."""
        failed = app.attempt
        failed.move(AttemptState.FAILED, ended_at=turn.now)
        turn.touch(failed)
        self.tell(turn, AttemptRemoved(failed.id, keep_containers=True))
        number = failed.id.number + 1
        self.record(turn, "attempt_failed", application_seq=app.row.seq, attempt=failed.id.number, message=why)
        row = AttemptRow(application_seq=app.row.seq, number=number, state=AttemptState.LAUNCHED, started_at=turn.now)
        app.attempt = LiveAttempt(AttemptId(app.id, number), row)
        turn.touch(app.attempt)
        self.tell(turn, AttemptAdded(app.attempt.id))

    def stir(self, app: LiveApplication) -> None:
        """Have its master hear and say what is new, still in this turn."""
        self._stirred[app.id] = app

    def called(self, turn: Turn, app: LiveApplication, actions: Actions) -> None:
        """A master called: do what it wants done, and look in this turn whether it says more."""
        self._follow(turn, app, actions)
        self._stirred[app.id] = app

    def _drive_masters(self, turn: Turn) -> None:
        """Let each built-in master hear and say what is new, until none has anything to say."""
        while self._stirred:
            _, app = self._stirred.popitem()
            if app.attempt.row.state.final:
                continue
            while app.has_news or app.master.wants_something:
                response = self.allocate(app.attempt.id, app.master.next_request())
                self._follow(turn, app, app.master.receive(response, turn.now))
            if verdict := app.master.verdict:
                self.finish(app.attempt.id, *verdict)

    def _follow(self, turn: Turn, app: LiveApplication, actions: Actions) -> None:
        """Do what a master wants done."""
        if actions.next_attempt is not None:
            self._begin_next_attempt(turn, app, actions.next_attempt)
        if (rendezvous := actions.rendezvous) is not None:
            turn.after_commit(lambda: self._meetings.arrange(app, rendezvous))
        for launch in actions.launches:
            container = app.containers[launch.container.container_id]
            container.change(task_index=launch.task_index, task_attempt=launch.attempt)
            container.launch = launch.spec
            turn.touch(container)
            turn.launch(container.row.node_id, launch.spec)
            if app.job.yarn is not None:
                app.shares_on.add(container.row.node_id)
            if app.row.suspended_at is not None:
                turn.freeze(container.row.node_id, container.row.container_id, frozen=True)
        self.turns.each(turn, self.containers.stop_named, actions.stops)
        for end in actions.ended:
            container = app.containers.pop(end.container_id)
            container.change(task_state=end.state, message=end.message or container.row.message)
            turn.touch(container)
            if end.state is TaskState.SUCCEEDED:
                app.note_run(app.master.task(end.task_index).group, container.row)
            else:
                self.record(
                    turn,
                    f"task_{end.state.value.lower()}",
                    application_seq=app.row.seq,
                    container_id=end.container_id,
                    node_id=container.row.node_id,
                    task_index=end.task_index,
                    attempt=end.attempt,
                    message=end.message,
                )
        for task in actions.changed:
            turn.touch(app.record_of(task))


def _as_granted(row: ContainerRow) -> Container:
    return Container(
        container_id=row.container_id,
        node_id=row.node_id,
        resources=row.resources,
        device_ids=row.device_ids,
        priority=row.priority,
        allocation_request_id=None,
        tags=row.tags or (),
        execution_type=row.execution_type,
    )
