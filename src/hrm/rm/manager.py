"""The ResourceManager: owns the state and turns what happens into decisions, commits and actions.

Everything runs on one asyncio loop. What happens is posted to the inbox; a turn drains the inbox, lets the scheduler
and the masters decide, commits all of it in one transaction and then acts. Nothing is acted on before it is on disk,
and nothing that waits in the inbox can be overtaken by a deadline.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import structlog

from hrm.am.protocol import AllocateRequest, AllocateResponse, Container, FinalStatus, RegisterResponse
from hrm.am.task_set import Actions, Task, TaskSetMaster
from hrm.core.commands import Allocate, AppActivated, Command, ContainerEnded, EndCause
from hrm.core.events import (
    AppAdded,
    AppRemoved,
    AttemptAdded,
    AttemptRemoved,
    ContainerFinished,
    ContainerReleased,
    Event,
    NodeUpdate,
    RequestsUpdated,
    UpdateShares,
)
from hrm.core.scheduler import Scheduler
from hrm.engines.base import Engine
from hrm.model.containers import ExitReason, ExitRecord
from hrm.model.errors import NotFound
from hrm.model.ids import ApplicationId, AttemptId, ContainerId
from hrm.model.jobs import JobSpec
from hrm.model.states import ApplicationState, AttemptState, ContainerState
from hrm.rm.applications import LiveApplication, LiveAttempt, LiveContainer
from hrm.rm.event_log import EventLog
from hrm.rm.nodes import Nodes
from hrm.rm.pacer import Pacer
from hrm.rm.records import ApplicationRow, AttemptRow, ContainerRow
from hrm.rm.store import Store
from hrm.rm.turn import Turn

log = structlog.get_logger(__name__)

#: TERM, then this long, then KILL (Slurm's KillWait).
STOP_GRACE_S = 30.0
#: Housekeeping: fair shares worked out anew, starts written, deadlines looked at.
TICK_S = 0.5
#: A turn hands the loop back after about this long; what is left comes in the next one.
TURN_BUDGET_S = 0.004
#: How long an attached job may be without its client.
ABANDONED_GRACE_S = 10.0
VISITS_AT_ONCE = 16

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
        log_limit_bytes: int = 64 << 20,
    ) -> None:
        self.scheduler = scheduler
        self.store = store
        self.engine = engine
        self.events = events
        self.clock = clock
        #: Called when no further turn can be taken, because the store refuses what was decided.
        self.on_broken = on_broken
        self.nodes = Nodes()
        self.pacer = Pacer()
        self.applications: dict[ApplicationId, LiveApplication] = {}
        self.containers: dict[ContainerId, LiveContainer] = {}
        #: Longest turn so far: how long one step held the loop.
        self.longest_turn_s = 0.0
        self._log_limit_bytes = log_limit_bytes
        self._inbox: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._turn_due = False
        self._turn: Turn | None = None
        #: Applications whose master has something to hear or say.
        self._stirred: dict[ApplicationId, LiveApplication] = {}
        #: Containers whose start is not written yet: most end before it is worth a write of its own.
        self._started_unwritten: dict[ContainerId, LiveContainer] = {}
        self._ticker: asyncio.TimerHandle | None = None
        self._open = False

    # --- the loop

    def open(self) -> None:
        """Begin to take turns. What was posted before is handled now."""
        self._open = True
        self._tick()
        self._wake()

    async def close(self) -> None:
        """Handle what has come in, commit it, and take no further turn."""
        while self._inbox:
            self._take_turn()
        self._open = False
        if self._ticker:
            self._ticker.cancel()
        await self.store.commit(())

    def post(self, handler: Callable[..., None], *args: Any) -> None:
        """Have ``handler(turn, *args)`` called in the next turn, in order."""
        self._inbox.append((handler, args))
        self._wake()

    def _wake(self) -> None:
        if self._open and not self._turn_due:
            self._turn_due = True
            asyncio.get_running_loop().call_soon(self._take_turn)

    def _tick(self) -> None:
        if self._open:
            self._ticker = asyncio.get_running_loop().call_later(TICK_S, self._tick)
            if self.applications:
                self.post(self._housekeeping)

    def _take_turn(self) -> None:
        self._turn_due = False
        begin = time.perf_counter()
        turn = self._turn = Turn(self.clock())
        # The inbox first, all of it: what is in it happened before any deadline that passes now.
        while self._inbox and time.perf_counter() - begin < TURN_BUDGET_S:
            handler, args = self._inbox.popleft()
            handler(turn, *args)
        while True:
            self._drive_masters(turn)
            if self.pacer.idle or time.perf_counter() - begin > TURN_BUDGET_S:
                break
            for node_id, by_heartbeat in self.pacer.take(self.scheduler.nodes_with_room(), most=VISITS_AT_ONCE):
                self._tell(turn, NodeUpdate(node_id, heartbeat=by_heartbeat))
        if self._inbox or not self.pacer.idle:
            self._wake()
        self._turn = None
        if not turn.empty:
            self._commit(turn)
        self.longest_turn_s = max(self.longest_turn_s, time.perf_counter() - begin)

    def _commit(self, turn: Turn) -> None:
        def committed(done: asyncio.Future[None]) -> None:
            if not done.cancelled() and done.exception() is None:
                turn.act(self.engine, stop_grace_s=STOP_GRACE_S)
            elif self._open:
                # Memory is ahead of the disk for good: the truth is on the disk, and a new life begins from there.
                log.critical("a decision could not be written", error=str(done.exception()))
                self._open = False
                self.on_broken()

        self.store.commit(list(turn.rows())).add_done_callback(committed)

    def _housekeeping(self, turn: Turn) -> None:
        for container in self._started_unwritten.values():
            turn.touch(container)
        self._started_unwritten.clear()
        for app in self.applications.values():
            deadline = app.master.next_deadline()
            if deadline is not None and deadline <= turn.now:
                self._carry_out(turn, app, app.master.expire(turn.now))
                self._stirred[app.id] = app
            if app.abandoned_at is not None and app.abandoned_at <= turn.now:
                app.abandoned_at = None
                self.kill(turn, app.id, "its client is gone")
        self._tell(turn, UpdateShares())

    def record(self, turn: Turn, kind: str, **facts: Any) -> None:
        """Write to the event log, and show it once it is on disk."""
        row = self.events.record(kind, turn.now, **facts)
        turn.put(row)
        turn.after_commit(lambda: self.events.publish(row))

    # --- the scheduler

    def _tell(self, turn: Turn, event: Event) -> None:
        for command in self.scheduler.handle(event, turn.now):
            self._obey(turn, command)

    tell = _tell

    def _obey(self, turn: Turn, command: Command) -> None:
        match command:
            case Allocate():
                self._granted(turn, command)
            case ContainerEnded():
                self._off_the_books(turn, command)
            case AppActivated():
                pass  # the built-in master is there already and costs nothing while it waits

    def _granted(self, turn: Turn, grant: Allocate) -> None:
        app = self.applications[grant.container_id.attempt.application]
        container = LiveContainer(
            grant.container_id,
            ContainerRow(
                container_id=str(grant.container_id),
                application_seq=app.row.seq,
                attempt_number=grant.container_id.attempt.number,
                node_id=grant.node_id,
                resources=grant.resources,
                device_ids=grant.device_ids,
                priority=grant.priority,
                state=ContainerState.ALLOCATED,
                allocated_at=turn.now,
            ),
        )
        self._enlist(app, container)
        turn.touch(container)
        app.granted.append(
            Container(
                container_id=grant.container_id,
                node_id=grant.node_id,
                resources=grant.resources,
                device_ids=grant.device_ids,
                priority=grant.priority,
                allocation_request_id=grant.allocation_request_id,
            )
        )
        if app.row.state is ApplicationState.ACCEPTED:
            app.move(ApplicationState.RUNNING, started_at=turn.now)
            turn.touch(app)
            self.record(turn, "application_running", application_seq=app.row.seq)
        self._stirred[app.id] = app

    def _enlist(self, app: LiveApplication, container: LiveContainer) -> None:
        app.containers[container.id] = container
        self.containers[container.id] = container

    def _off_the_books(self, turn: Turn, ended: ContainerEnded) -> None:
        """The scheduler took a container off its books by itself."""
        container = self.containers.get(ended.container_id)
        if container is None:
            return
        if ended.cause is EndCause.NODE_LOST:
            self.lose_container(turn, container, "its node was lost")
        elif container.row.task_index is None:
            # Granted, never launched: there is no process whose end could be reported.
            record = ExitRecord(
                container_id=container.row.container_id,
                reason=ExitReason.NOT_STARTED,
                exit_code=None,
                started_at=None,
                ended_at=turn.now,
                detail=f"given back unused ({ended.cause})",
            )
            self._end_container(turn, container, record)
        else:
            turn.stop(ended.node_id, container.row.container_id)

    # --- containers

    def container_started(self, turn: Turn, container_id: ContainerId, pid: int, started_at: float) -> None:
        """A node says so. Late ones are dropped."""
        container = self.containers.get(container_id)
        if container is None or container.row.pid is not None:
            return
        state = container.row.state
        if state is ContainerState.ALLOCATED:
            container.move(ContainerState.RUNNING)
        container.row = replace(container.row, pid=pid, started_at=started_at)
        self._started_unwritten[container_id] = container
        if app := self.applications.get(container_id.attempt.application):
            app.master.started(container_id, started_at)

    def container_finished(self, turn: Turn, node_id: str, record: ExitRecord) -> None:
        """A node says so, perhaps again: it goes on until it hears that the end is on disk."""
        container_id = ContainerId.parse(record.container_id)
        container = self.containers.get(container_id)
        turn.acknowledge(node_id, record.container_id)
        if container is None:
            return
        self._tell(turn, ContainerFinished(container_id))
        self._end_container(turn, container, record)
        self.pacer.room(node_id)

    def _end_container(self, turn: Turn, container: LiveContainer, record: ExitRecord) -> None:
        del self.containers[container.id]
        self._started_unwritten.pop(container.id, None)
        container.end(record)
        turn.touch(container)
        app = self.applications.get(container.id.attempt.application)
        if app is not None:
            if container.row.task_index is None:
                app.containers.pop(container.id, None)
            app.completed.append(record)
            self._stirred[app.id] = app

    def lose_container(self, turn: Turn, container: LiveContainer, why: str) -> None:
        """Nobody knows how it ended; it does not run any more, or nobody will ever know."""
        record = ExitRecord(
            container_id=container.row.container_id,
            reason=ExitReason.LOST,
            exit_code=None,
            started_at=container.row.started_at,
            ended_at=turn.now,
            detail=why,
        )
        self._end_container(turn, container, record)

    def stop_container(self, turn: Turn, container_id: ContainerId, reason: str) -> None:
        container = self.containers.get(container_id)
        if container is not None and container.row.state is not ContainerState.STOPPING:
            container.move(ContainerState.STOPPING, message=reason)
            turn.touch(container)
            turn.stop(container.row.node_id, container.row.container_id)

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
            master=TaskSetMaster(
                application_id,
                job,
                user=row.user,
                queue=row.queue,
                tasks=tasks,
                log_limit_bytes=self._log_limit_bytes,
            ),
            attempt=LiveAttempt(AttemptId(application_id, attempt_row.number), attempt_row),
        )
        if job.attached:
            app.abandoned_at = self.clock() + 3 * ABANDONED_GRACE_S
        self.applications[application_id] = app
        return app

    def accept(self, turn: Turn, app: LiveApplication) -> None:
        """Put it into its queue and start its master."""
        row = app.row
        self._tell(turn, AppAdded(app.id, row.queue, row.user, row.submitted_at, row.priority))
        self._tell(turn, AttemptAdded(app.attempt.id))
        if row.state is ApplicationState.SUBMITTED:
            app.move(ApplicationState.ACCEPTED)
            turn.touch(app)
            self.record(turn, "application_accepted", application_seq=row.seq, queue=row.queue, user=row.user)
        self.register(app.attempt.id)
        turn.touch(app.attempt)
        if row.kill_requested:
            self.kill(turn, app.id, row.message)
        self._stirred[app.id] = app

    def kill(self, turn: Turn, application_id: ApplicationId, message: str) -> None:
        app = self.applications.get(application_id)
        if app is None:
            return
        app.row = replace(app.row, kill_requested=True, message=message)
        turn.touch(app)
        self.record(turn, "application_kill_requested", application_seq=app.row.seq, message=message)
        self._carry_out(turn, app, app.master.kill(message))
        self._stirred[app.id] = app

    # --- masters

    def register(self, attempt_id: AttemptId) -> RegisterResponse:
        app = self._attempt(attempt_id)
        if app.attempt.row.state is AttemptState.LAUNCHED:
            app.attempt.move(AttemptState.RUNNING)
        return RegisterResponse(queue=app.row.queue, maximum_resources=self.scheduler.maximum_allocation())

    def allocate(self, attempt_id: AttemptId, request: AllocateRequest) -> AllocateResponse:
        app, turn = self._attempt(attempt_id), self._turn
        assert turn is not None, "masters speak within a turn"
        if request.asks:
            self._tell(turn, RequestsUpdated(attempt_id, request.asks))
            if any(ask.count for ask in request.asks):
                self.pacer.demand()
        for container_id in request.releases:
            self._tell(turn, ContainerReleased(container_id))
        granted, app.granted = tuple(app.granted), []
        completed, app.completed = tuple(app.completed), []
        return AllocateResponse(allocated=granted, completed=completed)

    def finish(self, attempt_id: AttemptId, status: FinalStatus, diagnostics: str) -> None:
        app, turn = self._attempt(attempt_id), self._turn
        assert turn is not None, "masters speak within a turn"
        state, attempt_state = _FINAL_STATES[status]
        app.attempt.move(attempt_state, ended_at=turn.now)
        app.row = app.with_counts()
        if app.row.state is ApplicationState.ACCEPTED and state is ApplicationState.FINISHED:
            app.move(ApplicationState.RUNNING, started_at=turn.now)
        app.move(state, ended_at=turn.now, exit_code=app.master.exit_code, message=diagnostics)
        turn.touch(app.attempt)
        turn.touch(app)
        self._tell(turn, AttemptRemoved(attempt_id))
        self._tell(turn, AppRemoved(app.id))
        self.record(turn, f"application_{state.value.lower()}", application_seq=app.row.seq, message=diagnostics)
        turn.after_commit(lambda: self._gone(app))

    def _gone(self, app: LiveApplication) -> None:
        self.applications.pop(app.id, None)
        self._stirred.pop(app.id, None)
        app.ended.set()

    def _attempt(self, attempt_id: AttemptId) -> LiveApplication:
        app = self.applications.get(attempt_id.application)
        if app is None or app.attempt.id != attempt_id or app.attempt.row.state.final:
            raise NotFound(f"no live attempt {attempt_id}")
        return app

    def _drive_masters(self, turn: Turn) -> None:
        """Let each built-in master hear and say what is new, until none has anything to say."""
        while self._stirred:
            _, app = self._stirred.popitem()
            if app.attempt.row.state.final:
                continue
            while app.granted or app.completed or app.master.wants_something:
                response = self.allocate(app.attempt.id, app.master.next_request())
                self._carry_out(turn, app, app.master.receive(response, turn.now))
            if verdict := app.master.verdict:
                self.finish(app.attempt.id, *verdict)

    def _carry_out(self, turn: Turn, app: LiveApplication, actions: Actions) -> None:
        for launch in actions.launches:
            container = app.containers[launch.container.container_id]
            container.row = replace(container.row, task_index=launch.task_index, task_attempt=launch.attempt)
            turn.touch(container)
            turn.launch(container.row.node_id, launch.spec)
        for container_id, reason in actions.stops:
            self.stop_container(turn, container_id, reason)
        for end in actions.ended:
            container = app.containers.pop(end.container_id)
            container.row = replace(container.row, task_state=end.state, message=end.message or container.row.message)
            turn.touch(container)
            if end.state != "SUCCEEDED":
                self.record(
                    turn,
                    f"task_{end.state.value.lower()}",
                    application_seq=app.row.seq,
                    container_id=str(end.container_id),
                    node_id=container.row.node_id,
                    task_index=end.task_index,
                    attempt=end.attempt,
                    message=end.message,
                )
        for task in actions.changed:
            turn.touch(app.record_of(task))
