"""Applications, containers and tasks as they live in the ResourceManager's memory.

Each owns its row of the store; to change one is to replace its row and touch it in the turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from hrm.am.master import Master, Task
from hrm.am.protocol import Container
from hrm.model.containers import ContainerUsage, ExitReason, ExitRecord, LaunchSpec, Preemption, StartRecord
from hrm.model.ids import ApplicationId, AttemptId, ContainerId
from hrm.model.jobs import JobSpec
from hrm.model.requests import ExecutionType
from hrm.model.resources import Resources
from hrm.model.states import ApplicationState, AttemptState, ContainerState, TaskState
from hrm.rm.lifecycles import APPLICATION, ATTEMPT, CONTAINER, check_move
from hrm.rm.records import ApplicationRow, AttemptRow, ContainerRow, TaskRow

#: Tasks of a group whose run times are kept.
RUN_TIMES = 32


@dataclass(slots=True)
class LiveContainer:
    """A container that is not over."""

    id: ContainerId
    row: ContainerRow
    #: Kept until its start is told: a node that came back without it is asked again.
    launch: LaunchSpec | None = None
    usage: ContainerUsage | None = None
    #: Why a device of it is gone, in words; None iff all are there. Its failure is then not its own fault.
    lost_device: str | None = None

    def move(self, state: ContainerState, **changes: Any) -> None:
        check_move(CONTAINER, self.row.container_id, self.row.state, state)
        self.change(state=state, **changes)

    def change(self, **changes: Any) -> None:
        self.row = replace(self.row, **changes)

    def begin(self, record: StartRecord) -> None:
        """Its process runs. One that was told to stop meanwhile is on its way out already."""
        if self.row.state is ContainerState.ALLOCATED:
            self.move(ContainerState.RUNNING, pid=record.pid, started_at=record.started_at)
        else:
            self.change(pid=record.pid, started_at=record.started_at)
        self.launch = None

    def end(self, record: ExitRecord, *, owned: bool) -> None:
        """It ended as ``record`` says. What became of its task its master says, if there is one (``owned``)."""
        lost = record.reason is ExitReason.LOST
        task_state = None
        if not owned and self.row.task_index is not None:
            task_state = TaskState.LOST if lost else TaskState.KILLED
        self.move(
            ContainerState.LOST if lost else ContainerState.COMPLETED,
            started_at=record.started_at or self.row.started_at,
            ended_at=record.ended_at,
            task_state=task_state,
            exit_code=record.exit_code,
            message=record.detail or self.row.message,
            cpu_s=record.cpu_s,
            max_rss_mib=record.max_rss_mib,
            read_bytes=self.usage.read_bytes if self.usage else None,
            written_bytes=self.usage.written_bytes if self.usage else None,
        )


@dataclass(slots=True)
class TaskRecord:
    """A task of an application, as a thing with a row."""

    application_seq: int
    task: Task

    @property
    def row(self) -> TaskRow:
        task = self.task
        return TaskRow(
            application_seq=self.application_seq,
            task_index=task.index,
            state=task.state,
            attempt=task.attempt,
            failures=task.failures,
            losses=task.losses,
            container_id=task.container_id,
            exit_code=task.exit_code,
            message=task.message,
        )


@dataclass(slots=True)
class LiveAttempt:
    """The run of the application's master."""

    id: AttemptId
    row: AttemptRow

    def move(self, state: AttemptState, **changes: Any) -> None:
        check_move(ATTEMPT, self.id, self.row.state, state)
        self.change(state=state, **changes)

    def change(self, **changes: Any) -> None:
        self.row = replace(self.row, **changes)


@dataclass(slots=True)
class LiveApplication:
    """An application that is not over, with its master."""

    id: ApplicationId
    row: ApplicationRow
    job: JobSpec
    master: Master
    attempt: LiveAttempt
    #: Those that are not settled yet, by the text of their ids.
    containers: dict[str, LiveContainer] = field(default_factory=dict)
    #: Granted, and ended, since the master's last heartbeat.
    granted: list[Container] = field(default_factory=list)
    completed: list[ExitRecord] = field(default_factory=list)
    #: Containers that hold more or less since then, with what they hold now.
    resized: dict[str, Resources] = field(default_factory=dict)
    #: Containers that were promoted or demoted since then, with what they are now.
    retyped: dict[str, ExecutionType] = field(default_factory=dict)
    #: What is new since then of its containers' ends for others, by container.
    preemptions: dict[str, Preemption] = field(default_factory=dict)
    #: Set once its end is on disk.
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    #: Its row as it was before its end; None iff that has not come.
    before_end: ApplicationRow | None = None
    #: Clients that hold it; only an ``attached`` job needs one.
    attachments: int = 0
    #: When an ``attached`` job without a client is ended (epoch seconds); None while one holds it.
    abandoned_at: float | None = None
    records: dict[int, TaskRecord] = field(default_factory=dict)
    #: Nodes where its containers share a directory.
    shares_on: set[str] = field(default_factory=set)
    #: How long the latest tasks of each group took that succeeded, in seconds.
    run_times: dict[int, deque[float]] = field(default_factory=dict)

    def move(self, state: ApplicationState, **changes: Any) -> None:
        check_move(APPLICATION, self.id, self.row.state, state)
        if state.final:
            self.before_end = self.row
        self.change(state=state, **changes)

    def change(self, **changes: Any) -> None:
        self.row = replace(self.row, **changes)

    def record_of(self, task: Task) -> TaskRecord:
        """The same object for the same task, so that a turn writes it once."""
        record = self.records.get(task.index)
        if record is None:
            record = self.records[task.index] = TaskRecord(self.row.seq, task)
        return record

    @property
    def has_news(self) -> bool:
        """True iff its master is to hear of something."""
        return bool(self.granted or self.completed or self.resized or self.retyped or self.preemptions)

    def note_run(self, group: int, row: ContainerRow) -> None:
        """A task of the group has succeeded: how long it took counts for those that come."""
        if row.started_at is not None and row.ended_at is not None:
            self.run_times.setdefault(group, deque(maxlen=RUN_TIMES)).append(row.ended_at - row.started_at)

    @property
    def told(self) -> ApplicationRow:
        """Its row for whoever asks. While it is live its end is not on disk: a crash would take it back."""
        return self.before_end or self.row

    def with_counts(self) -> ApplicationRow:
        """What is `told` of it, with the tasks counted as they stand."""
        counts = self.master.counts
        return replace(
            self.told,
            tasks_total=self.master.task_count,
            tasks_succeeded=counts.succeeded,
            tasks_failed=counts.failed,
            tasks_killed=counts.killed,
        )
