"""The facade's implementation: what the doors may ask of the ResourceManager (`hrm.rm.facade.Facade`)."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TypeVar

import hrm
from hrm.model.cleaning import Cleanable, RetentionPolicy
from hrm.model.containers import LogChunk, LogFile
from hrm.model.errors import Conflict, InvalidInput, NotFound
from hrm.model.execution import ExecSpec
from hrm.model.explanations import Explanation
from hrm.model.files import FileSettings
from hrm.model.findings import DoctorReport
from hrm.model.ids import ApplicationId, AttemptId
from hrm.model.inventory import Inventory
from hrm.model.job_codec import job_from_dict
from hrm.model.jobs import JobSpec
from hrm.model.placement import PlacementPolicy
from hrm.model.queues import QueueSpec, canonical_path
from hrm.model.reports import (
    ApplicationOrder,
    ApplicationReport,
    AttemptReport,
    CleanReport,
    ContainerReport,
    EventReport,
    MeasuresReport,
    NodeReport,
    PlacementReport,
    PortsReport,
    QueueAccessReport,
    QueueReport,
    ReloadReport,
    ServerReport,
    SubmitReport,
    TaskAttemptReport,
    TaskReport,
    WorkReport,
)
from hrm.model.scheduling import SchedulerOptions
from hrm.model.states import ApplicationState
from hrm.model.streams import ByteStream
from hrm.rm import deadlines, reporting, suspension
from hrm.rm.annotations import Annotations
from hrm.rm.applications import LiveApplication, LiveContainer
from hrm.rm.explaining import Explaining
from hrm.rm.file_calls import FileCalls
from hrm.rm.health import Health
from hrm.rm.interaction import Interaction
from hrm.rm.manager import ResourceManager
from hrm.rm.masters import MasterCalls
from hrm.rm.queue_calls import QueueCalls
from hrm.rm.records import ApplicationRow
from hrm.rm.retention import Retention
from hrm.rm.store import HistoryRow
from hrm.rm.submissions import Submissions
from hrm.rm.uploads import Uploads
from hrm.rm.work import work

#: What ends a program by default; sent to a job that has not begun, it ends the job.
_ENDING_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})
#: Applications or tasks in one answer at most; more come page by page.
MAX_PAGE = 10_000
#: Lines of a long answer that are made before others get the loop.
SLICE = 100

T = TypeVar("T")
R = TypeVar("R")


class Service:
    """Translates between reports and what is live or stored. One instance, on the manager's loop."""

    def __init__(
        self,
        manager: ResourceManager,
        *,
        home: str,
        address: Callable[[], str],
        next_application_seq: int,
        ephemeral: bool,
        on_shutdown: Callable[[], None],
        health: Health,
        retention: Retention | None = None,
        yarn: Callable[[], Mapping[str, str]] = dict,
        uploads: Uploads | None = None,
        file_settings: FileSettings | None = None,
    ) -> None:
        self._manager = manager
        self.files = FileCalls(manager, uploads, file_settings or FileSettings(), self._row)
        self.masters = MasterCalls(manager)
        self.node_words = Annotations(manager, health)
        self._interaction = Interaction(manager)
        self._queues = QueueCalls(manager)
        self._submissions = Submissions(manager, self._queues, self.files, next_seq=next_application_seq)
        self._explaining = Explaining(manager)
        self._health = health
        self._drains = health.drains
        self._retention = retention or Retention(manager, RetentionPolicy())
        self._home = home
        self._address = address
        self._yarn = yarn
        self._ephemeral = ephemeral
        self._on_shutdown = on_shutdown
        self._started_at = manager.clock()
        #: When somebody last brought work or held on to some (epoch seconds).
        self.last_used_at = self._started_at

    # --- the server

    def server(self) -> ServerReport:
        live = self._manager.applications.values()
        running = sum(app.told.state is ApplicationState.RUNNING for app in live)
        return ServerReport(
            pid=os.getpid(),
            address=self._address(),
            home=self._home,
            version=hrm.__version__,
            engine=self._manager.engine.name,
            started_at=self._started_at,
            ephemeral=self._ephemeral,
            applications_running=running,
            applications_pending=len(live) - running,
            nodes=len(self._manager.nodes),
            loop_lag_max_ms=self._manager.turns.turn_durations.longest_s * 1000,
            containers=len(self._manager.containers),
            drained_by=self._manager.nodes.closed_by or "",
            store_trouble=self._manager.store.trouble,
            strategy_trouble=self._manager.strategy_trouble,
            yarn=dict(self._yarn()),
        )

    def measures(self) -> MeasuresReport:
        turns = self._manager.turns
        durations = [turns.turn_durations.report("scheduler_turn"), turns.commit_durations.report("store_commit")]
        return MeasuresReport(durations=durations, events=dict(self._manager.events.counts))

    def request_shutdown(self) -> None:
        self._on_shutdown()

    async def drain_server(self, *, by: str) -> ServerReport:
        await self._drains.drain_server(by=by)
        return self.server()

    async def undrain_server(self, *, by: str) -> ServerReport:
        await self._drains.undrain_server(by=by)
        return self.server()

    def idle_for_s(self) -> float:
        """How long nobody has brought work, held on to some, or had any here."""
        now = self._manager.clock()
        if self._manager.applications:
            self.last_used_at = now
        return now - self.last_used_at

    # --- submit and kill

    async def new_application_id(self) -> str:
        return str(await self._submissions.new_id())

    async def submit(
        self,
        job: JobSpec,
        *,
        user: str,
        submit_id: str | None = None,
        application_id: str | None = None,
        admin: bool = False,
    ) -> SubmitReport:
        self.last_used_at = self._manager.clock()
        if application_id is not None:
            return await self._submissions.submit_as(ApplicationId.parse(application_id), job, user, admin)
        return await self._submissions.submit(job, user, submit_id, admin)

    async def place(self, job: JobSpec, *, user: str, admin: bool = False) -> PlacementReport:
        return await self._queues.place(self.files.with_shared(job), user=user, admin=admin)

    async def kill(self, application_id: str, *, by: str, message: str = "") -> None:
        app_id = ApplicationId.parse(application_id)
        if app_id not in self._manager.applications:
            await self._row(app_id)
            return
        await self._manager.turns.ask(self._manager.kill, app_id, message or f"killed by {by}")

    async def fail_attempt(self, attempt_id: str, *, by: str) -> None:
        attempt = AttemptId.parse(attempt_id)
        await self._known(str(attempt.application))
        await self._manager.turns.ask(self._manager.fail_attempt, attempt, f"failed by {by}")

    async def move(self, application_id: str, queue: str, *, by: str, admin: bool = False) -> ApplicationReport:
        await self._queues.move(await self._known(application_id), queue, by=by, admin=admin)
        return await self.application(application_id)

    async def suspend(self, application_id: str, *, by: str) -> ApplicationReport:
        await self._manager.turns.ask(suspension.suspend, self._manager, await self._known(application_id), by)
        return await self.application(application_id)

    async def resume(self, application_id: str, *, by: str) -> ApplicationReport:
        await self._manager.turns.ask(suspension.resume, self._manager, await self._known(application_id), by)
        return await self.application(application_id)

    async def set_priority(self, application_id: str, priority: int, *, by: str) -> ApplicationReport:
        await self._queues.set_priority(await self._known(application_id), priority, by=by)
        return await self.application(application_id)

    async def set_deadline(self, application_id: str, at: float | None, *, by: str) -> ApplicationReport:
        await self._manager.turns.ask(deadlines.set_deadline, self._manager, await self._known(application_id), at, by)
        return await self.application(application_id)

    async def _known(self, application_id: str) -> ApplicationId:
        """Raises NotFound for one that never was."""
        self._live(application_id)
        return ApplicationId.parse(application_id)

    # --- applications

    def _id(self, seq: int) -> ApplicationId:
        return ApplicationId(self._manager.store.cluster_timestamp, seq)

    def _live(self, application_id: str) -> LiveApplication | None:
        """None iff it is over. Raises NotFound for one that never was."""
        app_id = ApplicationId.parse(application_id)
        app = self._manager.applications.get(app_id)
        if app is None and not (
            app_id.cluster_timestamp == self._manager.store.cluster_timestamp
            and self._submissions.numbers.was_given(app_id.seq)
        ):
            raise _not_found(app_id)
        return app

    async def _row(self, application_id: ApplicationId) -> ApplicationRow:
        row = None
        if application_id.cluster_timestamp == self._manager.store.cluster_timestamp:
            row = await self._manager.store.application(application_id.seq)
        if row is None:
            raise _not_found(application_id)
        return row

    async def application(self, application_id: str) -> ApplicationReport:
        if app := self._live(application_id):
            return reporting.live_application(app, self._manager.scheduler)
        app_id = ApplicationId.parse(application_id)
        return reporting.ended_application(await self._row(app_id), app_id)

    async def applications(
        self,
        *,
        states: Sequence[str] = (),
        user: str | None = None,
        queue: str | None = None,
        limit: int = 1000,
        before: str | None = None,
        search: str = "",
        order: ApplicationOrder = ApplicationOrder.NEWEST,
        offset: int = 0,
    ) -> list[ApplicationReport]:
        rows = await self._manager.store.applications(
            states=[_state(state) for state in states],
            user=user,
            queue=canonical_path(queue) if queue else None,
            limit=min(limit, MAX_PAGE),
            before_seq=ApplicationId.parse(before).seq if before else None,
            search=search,
            order=order,
            offset=offset,
        )
        return await _in_slices(self._listed, rows)

    async def resource_seconds(self, application_id: str) -> dict[str, float]:
        app_id = ApplicationId.parse(application_id)
        return await self._manager.store.resource_seconds(app_id.seq, self._manager.clock())

    async def application_counts(self) -> dict[str, int]:
        return await self._manager.store.application_counts()

    def _listed(self, row: ApplicationRow) -> ApplicationReport:
        app_id = self._id(row.seq)
        app = self._manager.applications.get(app_id)
        if app is not None and not row.state.final:
            return reporting.live_application(app, self._manager.scheduler)
        return reporting.ended_application(row, app_id)

    async def wait(self, application_id: str, *, timeout_s: float) -> ApplicationReport:
        if app := self._live(application_id):
            self.last_used_at = self._manager.clock()
            try:
                await asyncio.wait_for(app.ended.wait(), timeout_s)
            except TimeoutError:
                pass  # it is told as it is
        return await self.application(application_id)

    async def tasks(self, application_id: str, *, offset: int = 0, limit: int = 1000) -> list[TaskReport]:
        limit = min(limit, MAX_PAGE)
        if app := self._live(application_id):
            indexes = range(offset, min(offset + limit, app.master.task_count))
            return await _in_slices(partial(reporting.live_task, app), indexes)
        app_id = ApplicationId.parse(application_id)
        row = await self._row(app_id)
        job = await self._job(row.seq)
        rows = {task.task_index: task for task in await self._manager.store.tasks(row.seq, first=offset, count=limit)}

        def over(index: int) -> TaskReport:
            return reporting.ended_task(rows.get(index), index, job.group_of(index)[1])

        return await _in_slices(over, range(offset, min(offset + limit, row.tasks_total)))

    async def job(self, application_id: str) -> JobSpec:
        if app := self._live(application_id):
            return app.job
        return await self._job((await self._row(ApplicationId.parse(application_id))).seq)

    def current_attempt(self, application_id: str) -> AttemptReport | None:
        app = self._live(application_id)
        if app is None:
            return None
        own = app.job.master is not None
        place = app.containers.get(app.master.task(0).container_id or "") if own else None
        number = app.attempt.id.number
        row = place.row if place is not None and place.row.task_attempt == number else None
        return reporting.attempt(app.attempt.row, app.id, row)

    async def attempts(self, application_id: str) -> list[AttemptReport]:
        app = self._live(application_id)
        app_id = ApplicationId.parse(application_id)
        row = app.row if app else await self._row(app_id)
        store = self._manager.store
        rows = {attempt.number: attempt for attempt in await store.attempts(row.seq)}
        places = {place.task_attempt: place for place in await store.task_attempts(row.seq, 0)}
        if app is not None:
            rows[app.attempt.id.number] = app.attempt.row
            places |= {live.row.task_attempt: live.row for live in app.containers.values() if live.row.task_index == 0}
        own = (app.job if app else await self._job(row.seq)).master is not None
        return [reporting.attempt(rows[number], app_id, places.get(number) if own else None) for number in sorted(rows)]

    async def _job(self, seq: int) -> JobSpec:
        saved = await self._manager.store.job(seq)
        if saved is None:
            raise NotFound(f"the job of application {seq} is not kept any more")
        return job_from_dict(saved.spec)

    async def history(
        self, application_id: str | None = None, *, since: float | None = None, limit: int = 10_000, offset: int = 0
    ) -> list[TaskAttemptReport]:
        seq = None
        if application_id is not None:
            app_id = ApplicationId.parse(application_id)
            seq = (await self._row(app_id)).seq
        records = await self._manager.store.history(application_seq=seq, since=since, limit=limit, offset=offset)
        return await _in_slices(self._attempted, records)

    def _attempted(self, record: HistoryRow) -> TaskAttemptReport:
        live = self._manager.containers.get(record.row.container_id)
        return reporting.task_attempt(
            live.row if live is not None else record.row,
            live.usage if live is not None else None,
            suspended=live is not None and self._is_suspended(live),
            application_id=self._id(record.row.application_seq),
            name=record.name,
            user=record.user,
            queue=record.queue,
        )

    def _is_suspended(self, container: LiveContainer) -> bool:
        app = self._manager.applications.get(container.id.attempt.application)
        return app is not None and app.row.suspended_at is not None

    def containers(self, application_id: str | None = None) -> list[ContainerReport]:
        if application_id is None:
            return [reporting.container(container) for container in self._manager.containers.values()]
        app = self._live(application_id)
        return [reporting.container(container) for container in app.containers.values()] if app else []

    def work(self) -> list[WorkReport]:
        return work(self._manager.applications.values(), self._manager.scheduler)

    async def explain(self, application_id: str, *, nodes: bool = False) -> Explanation:
        if app := self._live(application_id):
            return await self._explaining.live(app, nodes=nodes)
        app_id = ApplicationId.parse(application_id)
        return await self._explaining.ended(app_id, await self._row(app_id))

    # --- queues and nodes

    def queues(self) -> list[QueueReport]:
        return self._queues.queues()

    async def queue_access(self, *, user: str, admin: bool = False) -> list[QueueAccessReport]:
        return await self._queues.access(user=user, admin=admin)

    async def groups(self, user: str) -> tuple[str, ...]:
        return await self._manager.queues.groups(user)

    async def administers(self, queue: str, *, user: str) -> bool:
        return await self._manager.queues.administers(queue, user)

    def nodes(self) -> list[NodeReport]:
        nodes = self._manager.nodes
        return [
            *(reporting.node(node, self._manager.scheduler) for node in nodes),
            *(reporting.refused_node(name, reason) for name, reason in sorted(nodes.refused.items())),
        ]

    async def drain_node(self, node_id: str, *, by: str, reason: str = "") -> NodeReport:
        await self._drains.drain_node(node_id, by=by, reason=reason)
        return self._node(node_id)

    async def undrain_node(self, node_id: str, *, by: str) -> NodeReport:
        await self._drains.undrain_node(node_id, by=by)
        return self._node(node_id)

    async def examine_node(self, node_id: str, only: Sequence[str]) -> DoctorReport:
        if not self._manager.nodes.is_up(node_id):
            raise NotFound(f"no node {node_id!r} is up", next_step="`hrm nodes` lists them")
        return await self._manager.engine.examine(node_id, only)

    async def clean(
        self, kinds: Collection[Cleanable], *, older_than_s: float | None, dry_run: bool, by: str
    ) -> CleanReport:
        return await self._retention.clean(kinds, older_than_s=older_than_s, dry_run=dry_run, by=by)

    def _node(self, node_id: str) -> NodeReport:
        node = self._manager.nodes.get(node_id)
        assert node is not None, "nodes are never forgotten while the server lives"
        return reporting.node(node, self._manager.scheduler)

    async def reload_queues(
        self,
        root: QueueSpec,
        *,
        options: SchedulerOptions | None = None,
        placement: PlacementPolicy | None = None,
        inventory: Inventory | None = None,
    ) -> ReloadReport:
        report = await self._queues.reload(root, options=options, placement=placement)
        if inventory is not None:
            await self._manager.turns.ask(self.node_words.declare, inventory)
        return report

    def events(self, *, after_seq: int, application_id: str | None = None) -> AsyncIterator[EventReport]:
        seq = None
        if application_id is not None:
            self._live(application_id)
            seq = ApplicationId.parse(application_id).seq
        return self._manager.events.follow(after_seq, seq)

    async def latest_events(self, application_id: str, *, limit: int) -> list[EventReport]:
        rows = await self._manager.store.events_of(ApplicationId.parse(application_id).seq, None, limit=limit)
        return [self._manager.events.report(row) for row in rows]

    # --- logs, input, signals, attachment

    async def read_log(
        self,
        application_id: str,
        task_index: int,
        stream: str,
        *,
        offset: int,
        max_bytes: int,
        attempt: int | None = None,
    ) -> LogChunk:
        app = self._live(application_id)
        if app is None:
            row = await self._row(ApplicationId.parse(application_id))
            return await self._interaction.read_ended_log(row, task_index, stream, offset, max_bytes, attempt)
        return await self._interaction.read_live_log(app, task_index, stream, offset, max_bytes, attempt)

    async def log_files(self, application_id: str, task_index: int, *, attempt: int | None = None) -> list[LogFile]:
        return await self._interaction.log_files(
            await self._row(ApplicationId.parse(application_id)), task_index, attempt
        )

    async def write_stdin(self, application_id: str, data: bytes) -> None:
        if app := self._live(application_id):
            await self._interaction.write_stdin(app, data)

    async def close_stdin(self, application_id: str) -> None:
        if app := self._live(application_id):
            await self._interaction.close_stdin(app)

    async def signal(self, application_id: str, signum: int, *, container_id: str | None = None) -> None:
        if app := self._live(application_id):
            reached = self._interaction.signal(app, signum, container_id)
            if not reached and container_id is None and signum in _ENDING_SIGNALS:
                await self.kill(application_id, by=app.row.user, message=f"ended by signal {signum} before it began")

    def resize_terminal(self, application_id: str, rows: int, columns: int) -> None:
        if app := self._live(application_id):
            self._interaction.resize_terminal(app, rows, columns)

    async def ports(self, application_id: str, task_index: int) -> PortsReport:
        return await self._interaction.ports(await self._not_over(application_id), task_index)

    async def relay(self, node_id: str, to: tuple[str, int], purpose: str = "rpc") -> tuple[str, int] | None:
        return await self._manager.engine.relay(node_id, to, purpose)

    async def connect(self, application_id: str, task_index: int, port: int) -> ByteStream:
        self.last_used_at = self._manager.clock()
        return await self._interaction.connect(await self._not_over(application_id), task_index, port)

    async def execute(self, application_id: str, task_index: int, spec: ExecSpec, *, by: str) -> ByteStream:
        self.last_used_at = self._manager.clock()
        return await self._interaction.execute(await self._not_over(application_id), task_index, spec, by=by)

    async def _not_over(self, application_id: str) -> LiveApplication:
        """Raises NotFound, and Conflict once it has ended."""
        app = self._live(application_id)
        if app is None:
            await self._row(ApplicationId.parse(application_id))
            raise Conflict(f"{application_id} is over", next_step="`hrm ps` lists what runs")
        return app

    def attach(self, application_id: str) -> None:
        self.last_used_at = self._manager.clock()
        if app := self._live(application_id):
            self._interaction.attach(app)

    def detach(self, application_id: str) -> None:
        self.last_used_at = self._manager.clock()
        if app := self._live(application_id):
            self._interaction.detach(app)


async def _in_slices(make: Callable[[T], R], things: Sequence[T]) -> list[R]:
    """``make`` of each; others get the loop between."""
    made: list[R] = []
    for begin in range(0, len(things), SLICE):
        made += map(make, things[begin : begin + SLICE])
        await asyncio.sleep(0)
    return made


def _not_found(application_id: ApplicationId) -> NotFound:
    return NotFound(f"no application {application_id}", next_step="`hrm ps --all` lists them")


def _state(text: str) -> ApplicationState:
    try:
        return ApplicationState(text)
    except ValueError:
        raise InvalidInput(
            f"no such state: {text!r:.40}", field="states", next_step=f"choose from {', '.join(ApplicationState)}"
        ) from None
