"""`FakeFacade`: a ResourceManager in memory, for tests of front doors and clients. The test plays the node."""

from __future__ import annotations

import asyncio
import os
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hrm.model.containers import LogChunk, LogFile, LogStream
from hrm.model.errors import Conflict, InvalidInput, NotFound
from hrm.model.execution import ExecSpec
from hrm.model.explanations import Explanation
from hrm.model.ids import ApplicationId, AttemptId, ContainerId
from hrm.model.jobs import JobSpec
from hrm.model.masters import FinalStatus
from hrm.model.reports import (
    ApplicationOrder,
    ApplicationReport,
    AttemptReport,
    ContainerReport,
    EventReport,
    PlacementReport,
    PortsReport,
    ServerReport,
    SubmitReport,
    TaskAttemptReport,
    TaskReport,
    WorkReport,
)
from hrm.model.resources import ZERO
from hrm.model.states import ApplicationState, AttemptState, ContainerState, TaskState
from hrm.testing.echo import Echo
from hrm.testing.fake_files import FakeFiles
from hrm.testing.fake_grounds import NODE_ID, FakeGrounds
from hrm.testing.fake_masters import FakeMasters
from hrm.testing.played_guests import EchoingGuest

_FIELDS = {
    ApplicationOrder.NAME: "name",
    ApplicationOrder.USER: "user",
    ApplicationOrder.QUEUE: "queue",
    ApplicationOrder.STATE: "state",
    ApplicationOrder.ENDED: "ended_at",
}
CLUSTER_TIMESTAMP = 1_763_900_000_000
#: What a running task of the fake listens on: it sends back what it is sent.
PORT = 8888


@dataclass
class FakeTask:
    """One task, and what each of its attempts wrote."""

    index: int
    state: TaskState = TaskState.PENDING
    attempt: int = 0
    exit_code: int | None = None
    message: str = ""
    logs: dict[tuple[int, str], bytearray] = field(default_factory=lambda: defaultdict(bytearray))
    ended_attempts: set[int] = field(default_factory=set)


@dataclass
class FakeApplication:
    """One application: what came in through the facade stands in plain fields."""

    id: ApplicationId
    job: JobSpec
    user: str
    tasks: list[FakeTask]
    state: ApplicationState = ApplicationState.ACCEPTED
    message: str = "waits for room"
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    stdin: bytearray = field(default_factory=bytearray)
    stdin_closed: bool = False
    #: The program reads its standard input only while this is set.
    stdin_read: asyncio.Event = field(default_factory=asyncio.Event)
    signals: list[int] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    attachments: int = 0
    suspended_at: float | None = None


class FakeFacade(FakeGrounds):
    """Implements `hrm.rm.facade.Facade` in memory: one queue ``default``, one node, no scheduler.

    Applications wait until a test calls `begin`, `write` and `end`. All on one event loop.
    """

    def __init__(self) -> None:
        super().__init__()
        self.apps: dict[str, FakeApplication] = {}
        self.masters = FakeMasters()
        self.files = FakeFiles()
        self.event_log: list[EventReport] = []
        #: Who drains the server.
        self.drained_by = ""
        self._submit_ids: dict[tuple[str, str], str] = {}
        self._last_seq = 0
        self._news = asyncio.Condition()

    # --- what a test does

    def begin(self, application_id: str, task_index: int = 0) -> None:
        """The next attempt of the task runs."""
        app, task = self._task(application_id, task_index)
        app.state = ApplicationState.RUNNING
        task.state, task.attempt = TaskState.RUNNING, task.attempt + 1

    def write(self, application_id: str, data: bytes, *, task_index: int = 0, stream: str = "stdout") -> None:
        """The running attempt writes ``data``."""
        task = self._task(application_id, task_index)[1]
        task.logs[task.attempt, stream] += data

    def end(self, application_id: str, exit_code: int = 0, *, task_index: int = 0, retry: bool = False) -> None:
        """The running attempt ends; unless ``retry``, so does its task, and with its last task the application."""
        app, task = self._task(application_id, task_index)
        task.ended_attempts.add(task.attempt)
        if retry:
            task.state = TaskState.PENDING
            return
        task.state = TaskState.FAILED if exit_code else TaskState.SUCCEEDED
        task.exit_code, task.message = exit_code, f"exit code {exit_code}" if exit_code else ""
        if all(other.state.final for other in app.tasks):
            failed = any(other.state is TaskState.FAILED for other in app.tasks)
            self._over(app, ApplicationState.FAILED if failed else ApplicationState.FINISHED)

    async def record(self, kind: str, application_id: str | None = None, **detail: Any) -> None:
        """Something happened that the event log keeps."""
        event = EventReport(
            seq=len(self.event_log) + 1,
            at=1_763_900_000.5,
            kind=kind,
            application_id=application_id,
            container_id=None,
            node_id=None,
            detail=detail,
        )
        self.event_log.append(event)
        async with self._news:
            self._news.notify_all()

    # --- the facade

    def server(self) -> ServerReport:
        running = sum(app.state is ApplicationState.RUNNING for app in self.apps.values())
        return ServerReport(
            pid=os.getpid(),
            address="http://127.0.0.1:8032",
            home="/home/ada/.hrm",
            version="0.1.0",
            engine="fake",
            started_at=1_763_900_000.0,
            ephemeral=False,
            applications_running=running,
            applications_pending=sum(not app.state.final for app in self.apps.values()) - running,
            nodes=1,
            loop_lag_max_ms=0.5,
            containers=len(self.containers()),
            drained_by=self.drained_by,
        )

    async def new_application_id(self) -> str:
        self._last_seq += 1
        return str(ApplicationId(CLUSTER_TIMESTAMP, self._last_seq))

    async def submit(
        self,
        job: JobSpec,
        *,
        user: str,
        submit_id: str | None = None,
        application_id: str | None = None,
        admin: bool = False,
    ) -> SubmitReport:
        if job.queue not in (None, "default"):
            raise InvalidInput(f"no queue {job.queue!r} takes applications", field="queue", next_step="choose: default")
        if submit_id is not None and (known := self._submit_ids.get((user, submit_id))):
            return SubmitReport(application_id=known, created=False)
        if application_id in self.apps:
            return SubmitReport(application_id=application_id, created=False, queue="default")
        if job.upload is not None:
            await self.files.uploads.check(job.upload, user=user)
        app_id = ApplicationId.parse(application_id or await self.new_application_id())
        tasks = [FakeTask(index) for index in range(job.task_count)]
        self.apps[str(app_id)] = FakeApplication(id=app_id, job=job, user=user, tasks=tasks)
        if submit_id is not None:
            self._submit_ids[user, submit_id] = str(app_id)
        return SubmitReport(application_id=str(app_id), created=True, queue="default", rule="default")

    async def job(self, application_id: str) -> JobSpec:
        return self._app(application_id).job

    def current_attempt(self, application_id: str) -> AttemptReport | None:
        app = self._app(application_id)
        return None if app.state.final else self._run(app)

    async def attempts(self, application_id: str) -> list[AttemptReport]:
        return [self._run(self._app(application_id))]

    def _run(self, app: FakeApplication) -> AttemptReport:
        return AttemptReport(
            attempt_id=str(AttemptId(app.id, 1)),
            state=AttemptState.RUNNING,
            started_at=1_763_900_000.0,
            ended_at=None,
            final_status=FinalStatus.UNDEFINED,
            message="",
        )

    async def place(self, job: JobSpec, *, user: str, admin: bool = False) -> PlacementReport:
        return PlacementReport(queue="default", rule="default", makes=[])

    async def move(self, application_id: str, queue: str, *, by: str, admin: bool = False) -> ApplicationReport:
        app = self._open(application_id)
        app.job = app.job.in_queue(queue)
        return await self.application(application_id)

    async def suspend(self, application_id: str, *, by: str) -> ApplicationReport:
        self._open(application_id).suspended_at = 1_763_900_001.0
        return await self.application(application_id)

    async def resume(self, application_id: str, *, by: str) -> ApplicationReport:
        self._open(application_id).suspended_at = None
        return await self.application(application_id)

    async def set_priority(self, application_id: str, priority: int, *, by: str) -> ApplicationReport:
        app = self._open(application_id)
        app.job = replace(app.job, priority=priority)
        return await self.application(application_id)

    def _open(self, application_id: str) -> FakeApplication:
        app = self._app(application_id)
        if app.state.final:
            raise Conflict(f"{application_id} is over")
        return app

    async def set_deadline(self, application_id: str, at: float | None, *, by: str) -> ApplicationReport:
        return replace(await self.application(application_id), deadline_at=at)

    async def resource_seconds(self, application_id: str) -> dict[str, float]:
        self._app(application_id)
        return dict.fromkeys(ZERO.as_dict(), 0.0)

    async def application_counts(self) -> dict[str, int]:
        return dict(Counter(app.state.value for app in self.apps.values()))

    async def groups(self, user: str) -> tuple[str, ...]:
        return ()

    async def fail_attempt(self, attempt_id: str, *, by: str) -> None:
        raise Conflict(f"{attempt_id} has no master of its own")

    async def kill(self, application_id: str, *, by: str, message: str = "") -> None:
        app = self._app(application_id)
        if not app.state.final:
            for task in app.tasks:
                if not task.state.final:
                    task.ended_attempts.add(task.attempt)
                    task.state = TaskState.KILLED
            self._over(app, ApplicationState.KILLED, message or f"killed by {by}")

    async def application(self, application_id: str) -> ApplicationReport:
        app = self._app(application_id)
        counts = {state: sum(task.state is state for task in app.tasks) for state in TaskState}
        return ApplicationReport(
            application_id=application_id,
            name=app.job.display_name,
            user=app.user,
            queue=app.job.queue or "default",
            state=app.state,
            priority=app.job.priority,
            submitted_at=1_763_900_000.0,
            started_at=None,
            ended_at=None,
            tasks_total=len(app.tasks),
            tasks_pending=counts[TaskState.PENDING],
            tasks_running=counts[TaskState.RUNNING],
            tasks_succeeded=counts[TaskState.SUCCEEDED],
            tasks_failed=counts[TaskState.FAILED],
            tasks_killed=counts[TaskState.KILLED],
            progress=sum(task.state.final for task in app.tasks) / len(app.tasks),
            used=ZERO.as_dict(),
            reason="" if app.state is ApplicationState.RUNNING else "no_room",
            message=app.message,
            exit_code=max((task.exit_code or 0 for task in app.tasks), default=0) if app.state.final else None,
            nodes=[NODE_ID] if counts[TaskState.RUNNING] else [],
            suspended_at=app.suspended_at,
        )

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
        reports = [await self.application(application_id) for application_id in reversed(self.apps)]
        if order is ApplicationOrder.OLDEST:
            reports.reverse()
        elif order is not ApplicationOrder.NEWEST:
            reports.sort(key=lambda report: getattr(report, _FIELDS[order]) or "")
        wanted = [
            report
            for report in reports
            if (not states or report.state in states)
            and user in (None, report.user)
            and queue in (None, report.queue)
            and (before is None or report.application_id < before)
            and search.lower() in report.name.lower()
        ]
        return wanted[offset : offset + limit]

    async def tasks(self, application_id: str, *, offset: int = 0, limit: int = 1000) -> list[TaskReport]:
        app = self._app(application_id)
        return [
            TaskReport(
                task_index=task.index,
                group=app.job.group_of(task.index)[1].name,
                state=task.state,
                attempt=task.attempt,
                container_id=self._container_id(app, task) if task.attempt else None,
                node_id=NODE_ID if task.attempt else None,
                progress=None,
                exit_code=task.exit_code,
                message=task.message,
            )
            for task in app.tasks[offset : offset + limit]
        ]

    async def history(
        self, application_id: str | None = None, *, since: float | None = None, limit: int = 10_000, offset: int = 0
    ) -> list[TaskAttemptReport]:
        apps = list(self.apps.values()) if application_id is None else [self._app(application_id)]
        rows = [self._attempt(app, task) for app in apps for task in app.tasks if task.attempt]
        return rows[offset : offset + limit]

    def work(self) -> list[WorkReport]:
        return []

    def containers(self, application_id: str | None = None) -> list[ContainerReport]:
        return [
            ContainerReport(
                container_id=self._container_id(app, task),
                application_id=str(app.id),
                task_index=task.index,
                node_id=NODE_ID,
                state=ContainerState.RUNNING,
                resources=app.job.group_of(task.index)[1].resources.as_dict(),
                device_ids=[],
                pid=1000 + task.index,
                allocated_at=1_763_900_000.0,
                started_at=1_763_900_000.1,
                memory_used_mib=None,
                cpu_used_milli=None,
                read_bytes=None,
                written_bytes=None,
                disk_mib=None,
            )
            for app in self.apps.values()
            for task in app.tasks
            if task.state is TaskState.RUNNING and application_id in (None, str(app.id))
        ]

    async def explain(self, application_id: str, *, nodes: bool = False) -> Explanation:
        self._app(application_id)
        return Explanation(
            application_id=application_id,
            reason="no_room",
            message="waits for room",
            evidence=[{"nodes": 1, "free": 0}],
        )

    async def wait(self, application_id: str, *, timeout_s: float) -> ApplicationReport:
        app = self._app(application_id)
        try:
            async with asyncio.timeout(timeout_s):
                await app.ended.wait()
        except TimeoutError:
            pass  # as it is then
        return await self.application(application_id)

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
        task = self._task(application_id, task_index)[1]
        wanted = attempt or task.attempt
        if wanted == 0:
            return LogChunk(data=b"", next_offset=max(0, offset), end=task.state.final)
        if wanted > task.attempt:
            raise NotFound(f"task {task_index} has no attempt {wanted}")
        if stream not in tuple(LogStream) and (wanted, stream) not in task.logs:
            raise NotFound(f"task {task_index} has no log file {stream!r}")
        log = task.logs[wanted, stream]
        start = max(0, len(log) + offset) if offset < 0 else offset
        data = bytes(log[start : start + max_bytes])
        over = wanted in task.ended_attempts and start + len(data) >= len(log)
        return LogChunk(data=data, next_offset=start + len(data), end=over)

    async def log_files(self, application_id: str, task_index: int, *, attempt: int | None = None) -> list[LogFile]:
        task = self._task(application_id, task_index)[1]
        wanted = attempt or task.attempt
        names = dict.fromkeys((*LogStream, *(name for number, name in task.logs if number == wanted)))
        return [
            LogFile(name=str(name), size_bytes=len(task.logs[wanted, name]), modified_at=0.0)
            for name in names
            if wanted
        ]

    async def latest_events(self, application_id: str, *, limit: int) -> list[EventReport]:
        return [event for event in self.event_log if event.application_id == application_id][-limit:]

    async def events(self, *, after_seq: int, application_id: str | None = None) -> AsyncIterator[EventReport]:
        seen = after_seq
        while True:
            for event in self.event_log[seen:]:
                seen = event.seq
                if application_id in (None, event.application_id):
                    yield event
            async with self._news:
                while len(self.event_log) <= seen:
                    await self._news.wait()

    async def write_stdin(self, application_id: str, data: bytes) -> None:
        app = self._app(application_id)
        if not (app.job.stdin or app.job.terminal):
            raise Conflict(f"{application_id} was submitted without an input")
        await app.stdin_read.wait()
        app.stdin += data

    async def close_stdin(self, application_id: str) -> None:
        self._app(application_id).stdin_closed = True

    async def signal(self, application_id: str, signum: int, *, container_id: str | None = None) -> None:
        self._app(application_id).signals.append(signum)

    def resize_terminal(self, application_id: str, rows: int, columns: int) -> None:
        self._app(application_id).sizes.append((rows, columns))

    async def ports(self, application_id: str, task_index: int) -> PortsReport:
        app, task = self._task(application_id, task_index)
        if task.state is not TaskState.RUNNING:
            raise Conflict(f"task {task_index} of {application_id} does not run")
        return PortsReport(
            application_id=application_id,
            task_index=task_index,
            container_id=self._container_id(app, task),
            node_id=NODE_ID,
            ports=[PORT],
        )

    async def relay(self, node_id: str, to: tuple[str, int], purpose: str = "rpc") -> tuple[str, int] | None:
        return None

    async def connect(self, application_id: str, task_index: int, port: int) -> Echo:
        if port not in (await self.ports(application_id, task_index)).ports:
            raise Conflict(f"no process of the container listens on port {port}")
        return Echo()

    async def execute(self, application_id: str, task_index: int, spec: ExecSpec, *, by: str) -> EchoingGuest:
        await self.ports(application_id, task_index)
        return EchoingGuest(spec)

    def attach(self, application_id: str) -> None:
        self._app(application_id).attachments += 1

    def detach(self, application_id: str) -> None:
        self._app(application_id).attachments -= 1

    async def drain_server(self, *, by: str) -> ServerReport:
        self.drained_by = by
        return self.server()

    async def undrain_server(self, *, by: str) -> ServerReport:
        self.drained_by = ""
        return self.server()

    # --- inside

    def _app(self, application_id: str) -> FakeApplication:
        if app := self.apps.get(application_id):
            return app
        raise NotFound(f"no application {application_id}", next_step="`hrm ps --all` lists them")

    def _task(self, application_id: str, task_index: int) -> tuple[FakeApplication, FakeTask]:
        app = self._app(application_id)
        if task_index >= len(app.tasks):
            raise NotFound(f"{application_id} has no task {task_index}")
        return app, app.tasks[task_index]

    def _over(self, app: FakeApplication, state: ApplicationState, message: str = "") -> None:
        app.state, app.message = state, message
        app.ended.set()

    def _container_id(self, app: FakeApplication, task: FakeTask) -> str:
        return str(ContainerId(AttemptId(app.id, 1), 1, 1000 * task.attempt + task.index))

    def _attempt(self, app: FakeApplication, task: FakeTask) -> TaskAttemptReport:
        return TaskAttemptReport(
            application_id=str(app.id),
            name=app.job.display_name,
            user=app.user,
            queue="default",
            task_index=task.index,
            attempt=task.attempt,
            container_id=self._container_id(app, task),
            node_id=NODE_ID,
            resources=app.job.group_of(task.index)[1].resources.as_dict(),
            device_ids=[],
            allocated_at=1_763_900_000.0,
            started_at=1_763_900_000.1,
            ended_at=None,
            exit_code=task.exit_code,
            state=task.state,
            message=task.message,
            cpu_s=None,
            max_rss_mib=None,
        )
