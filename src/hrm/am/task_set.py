"""The built-in ApplicationMaster: a set of tasks, each run in a container of its own.

It lives in the ResourceManager and costs no container, but speaks the protocol of every master: asks, gets containers,
launches, learns what ended. It does no I/O and reads no clock: what it is told goes in, `Actions` come out, and the
ResourceManager commits them before it carries them out.

A task fails by its own fault (exit code, timeout, could not be started) or is lost by nobody's (its node died). Faults
count against ``retries``; losses are retried `MAX_LOSSES` times, so that a task that kills its nodes comes to an end.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hrm.am.protocol import AllocateRequest, AllocateResponse, Container, FinalStatus
from hrm.model.containers import ExitReason, ExitRecord, LaunchSpec
from hrm.model.ids import ApplicationId, ContainerId
from hrm.model.jobs import JobSpec, TaskGroupSpec
from hrm.model.requests import ResourceRequest
from hrm.model.states import TaskState
from hrm.model.units import format_duration, format_milli

#: How often a task may be lost by no fault of its own before it counts as failed.
MAX_LOSSES = 10


@dataclass(slots=True, kw_only=True)
class Task:
    """One task as it stands."""

    index: int
    #: Position of its group in the job; the master sets it.
    group: int = 0
    state: TaskState = TaskState.PENDING
    #: Attempts begun.
    attempt: int = 0
    failures: int = 0
    losses: int = 0
    #: Of the running or latest attempt.
    container_id: ContainerId | None = None
    exit_code: int | None = None
    message: str = ""
    #: 0 to 1 as the running attempt reports; None iff it reports none.
    progress: float | None = None
    #: Why the master told its container to stop; None while it did not.
    stopping: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A task begins in a container."""

    container: Container
    spec: LaunchSpec
    task_index: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnd:
    """An attempt of a task is over."""

    container_id: ContainerId
    task_index: int
    attempt: int
    state: TaskState
    message: str


@dataclass(slots=True)
class Actions:
    """What the master wants done, in one go."""

    launches: list[Launch] = field(default_factory=list)
    #: Containers to stop, with the reason.
    stops: list[tuple[ContainerId, str]] = field(default_factory=list)
    ended: list[AttemptEnd] = field(default_factory=list)
    #: Tasks whose record changed, in order of change; a task may be named twice.
    changed: list[Task] = field(default_factory=list)


@dataclass(slots=True)
class Counts:
    """How many tasks are in which state."""

    pending: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    killed: int = 0


class TaskSetMaster:
    """Runs one job's tasks. ``tasks`` are those of an earlier life, by index; the others are pending."""

    def __init__(
        self,
        application_id: ApplicationId,
        job: JobSpec,
        *,
        user: str,
        queue: str,
        tasks: Iterable[Task] = (),
        log_limit_bytes: int = 64 << 20,
    ) -> None:
        self._application_id = application_id
        self._job = job
        self._user = user
        self._log_limit_bytes = log_limit_bytes
        self.tasks = [Task(index=index, group=group) for index, (group, _) in enumerate(job.task_groups())]
        for task in tasks:
            task.group = self.tasks[task.index].group
            self.tasks[task.index] = task
        self._pending: list[list[int]] = [[] for _ in job.groups]
        self._by_container: dict[ContainerId, Task] = {}
        self._releases: list[ContainerId] = []
        self._deadlines: list[tuple[float, ContainerId]] = []
        self.counts = Counts()
        #: Set once nothing new may begin: (status, diagnostics) to finish with.
        self._verdict: tuple[FinalStatus, str] | None = None
        for task in self.tasks:
            self._count(task.state, 1)
            if task.state is TaskState.PENDING:
                self._pending[task.group].append(task.index)
            elif task.state is TaskState.RUNNING and task.container_id is not None:
                self._by_container[task.container_id] = task
        self._stale_groups = {position for position, pending in enumerate(self._pending) if pending}
        self._environments = [self._group_environment(group, queue) for group in job.groups]

    # --- what the master wants from the scheduler

    def next_request(self) -> AllocateRequest:
        """Asks that changed since the last one, with absolute counts, and containers to give back."""
        asks = tuple(self._ask(position) for position in sorted(self._stale_groups))
        self._stale_groups.clear()
        releases, self._releases = tuple(self._releases), []
        return AllocateRequest(asks=asks, releases=releases, progress=self.progress)

    @property
    def wants_something(self) -> bool:
        """True iff `next_request` would say anything new."""
        return bool(self._stale_groups or self._releases)

    @property
    def progress(self) -> float:
        """0 to 1: tasks that are over, and the parts that running ones report."""
        counts = self.counts
        done = float(counts.succeeded + counts.failed + counts.killed)
        if counts.running:
            done += sum(task.progress or 0.0 for task in self._by_container.values())
        return done / len(self.tasks)

    @property
    def verdict(self) -> tuple[FinalStatus, str] | None:
        """How the application ends; None while a task waits or runs."""
        if self._by_container or (self.counts.pending and not self._verdict):
            return None
        if self._verdict:
            return self._verdict
        if failed := self.counts.failed:
            return FinalStatus.FAILED, self._failure_message(failed)
        return FinalStatus.SUCCEEDED, ""

    @property
    def exit_code(self) -> int:
        """The highest exit code of its tasks; where none tells, 1 for a failure, 143 (TERM) for a kill."""
        highest = max((task.exit_code or 0 for task in self.tasks), default=0)
        if highest or (self._verdict is None and not self.counts.failed):
            return highest
        return 143 if self._verdict and self._verdict[0] is FinalStatus.KILLED else 1

    # --- what the master is told

    def receive(self, response: AllocateResponse, now: float) -> Actions:
        """Take what `allocate` answered: start tasks in new containers, settle ended ones."""
        actions = Actions()
        for record in response.completed:
            self._completed(record, actions)
        for container in response.allocated:
            self._allocated(container, now, actions)
        return actions

    def started(self, container_id: ContainerId, at: float) -> None:
        """The container's process runs: its time limit counts from here."""
        task = self._by_container.get(container_id)
        timeout_s = task and self._job.groups[task.group].timeout_s
        if timeout_s:
            heapq.heappush(self._deadlines, (at + timeout_s, container_id))

    def report_progress(self, container_id: ContainerId, progress: float) -> None:
        if task := self._by_container.get(container_id):
            task.progress = min(1.0, max(0.0, progress))

    def next_deadline(self) -> float | None:
        """When `expire` has something to do, at the earliest."""
        return self._deadlines[0][0] if self._deadlines else None

    def expire(self, now: float) -> Actions:
        """Stop the tasks whose time is over."""
        actions = Actions()
        while self._deadlines and self._deadlines[0][0] <= now:
            _, container_id = heapq.heappop(self._deadlines)
            task = self._by_container.get(container_id)
            if task is not None and task.stopping is None:
                timeout_s = self._job.groups[task.group].timeout_s or 0.0
                self._stop(task, f"timed out after {format_duration(timeout_s)}", actions)
        return actions

    def kill(self, message: str) -> Actions:
        """End it all: nothing new begins, what runs is stopped."""
        return self._wind_up(FinalStatus.KILLED, message)

    def lost_before_launch(self, container_ids: Iterable[ContainerId], at: float) -> Actions:
        """After a restart: these containers were granted but are not to be found."""
        records = tuple(
            ExitRecord(
                container_id=str(container_id),
                reason=ExitReason.LOST,
                exit_code=None,
                started_at=None,
                ended_at=at,
                detail="its node does not know it",
            )
            for container_id in container_ids
        )
        return self.receive(AllocateResponse(completed=records), at)

    # --- inside

    def _ask(self, position: int) -> ResourceRequest:
        group = self._job.groups[position]
        return ResourceRequest(
            resources=group.resources,
            count=0 if self._verdict else len(self._pending[position]),
            priority=group.priority,
            allocation_request_id=position,
            gpu_model=group.gpu_model,
        )

    def _allocated(self, container: Container, now: float, actions: Actions) -> None:
        pending = self._pending[container.allocation_request_id]
        if not pending or self._verdict:
            self._releases.append(container.container_id)
            return
        task = self.tasks[heapq.heappop(pending)]
        self._enter(task, TaskState.RUNNING)
        task.attempt += 1
        task.container_id = container.container_id
        task.exit_code, task.message, task.progress, task.stopping = None, "", None, None
        self._by_container[container.container_id] = task
        actions.changed.append(task)
        actions.launches.append(
            Launch(
                container=container,
                spec=self._launch_spec(task, container, now),
                task_index=task.index,
                attempt=task.attempt,
            )
        )

    def _completed(self, record: ExitRecord, actions: Actions) -> None:
        task = self._by_container.pop(ContainerId.parse(record.container_id), None)
        if task is None or task.container_id is None:
            return
        task.exit_code = record.exit_code
        killed = self._verdict is not None and task.stopping is not None
        if record.reason is ExitReason.LOST:
            task.losses += 1
            state, task.message = TaskState.LOST, record.detail or "its container was lost"
        elif killed:
            state, task.message = TaskState.KILLED, task.stopping or ""
        elif record.exit_code == 0 and task.stopping is None:
            state, task.message = TaskState.SUCCEEDED, ""
        else:
            task.failures += 1
            state, task.message = TaskState.FAILED, task.stopping or record.detail or f"exit code {record.exit_code}"
        actions.ended.append(
            AttemptEnd(
                container_id=task.container_id,
                task_index=task.index,
                attempt=task.attempt,
                state=state,
                message=task.message,
            )
        )
        actions.changed.append(task)
        self._settle(task, state, actions)

    def _settle(self, task: Task, ended_as: TaskState, actions: Actions) -> None:
        """Decide whether the task is over or tries again."""
        group = self._job.groups[task.group]
        if self._verdict and ended_as in (TaskState.FAILED, TaskState.LOST):
            self._enter(task, TaskState.KILLED if ended_as is TaskState.LOST else TaskState.FAILED)
        elif (ended_as is TaskState.FAILED and task.failures <= group.retries) or (
            ended_as is TaskState.LOST and task.losses <= MAX_LOSSES
        ):
            self._enter(task, TaskState.PENDING)
            heapq.heappush(self._pending[task.group], task.index)
            self._stale_groups.add(task.group)
        else:
            self._enter(task, TaskState.FAILED if ended_as is TaskState.LOST else ended_as)
            limit = self._job.max_failures
            if task.state is TaskState.FAILED and limit is not None and self.counts.failed > limit:
                wind_up = self._wind_up(FinalStatus.FAILED, self._failure_message(self.counts.failed))
                actions.stops += wind_up.stops
                actions.changed += wind_up.changed

    def _wind_up(self, status: FinalStatus, message: str) -> Actions:
        actions = Actions()
        if self._verdict is None:
            self._verdict = (status, message)
            for position, pending in enumerate(self._pending):
                for index in pending:
                    self._enter(self.tasks[index], TaskState.KILLED)
                if pending:
                    pending.clear()
                    self._stale_groups.add(position)
        for task in self._by_container.values():
            if task.stopping is None:
                self._stop(task, message or "killed", actions)
        return actions

    def _stop(self, task: Task, reason: str, actions: Actions) -> None:
        task.stopping = reason
        if task.container_id is not None:
            actions.stops.append((task.container_id, reason))

    def _enter(self, task: Task, state: TaskState) -> None:
        self._count(task.state, -1)
        task.state = state
        self._count(state, 1)

    def _count(self, state: TaskState, by: int) -> None:
        name = state.value.lower()
        setattr(self.counts, name, getattr(self.counts, name) + by)

    def _failure_message(self, failed: int) -> str:
        first = next(task for task in self.tasks if task.state is TaskState.FAILED)
        total = len(self.tasks)
        return first.message if total == 1 else f"{failed} of {total} tasks failed; task {first.index}: {first.message}"

    def _group_environment(self, group: TaskGroupSpec, queue: str) -> dict[str, str]:
        environment = {
            **group.env,
            "HRM_APPLICATION_ID": str(self._application_id),
            "HRM_JOB_NAME": self._job.display_name,
            "HRM_QUEUE": queue,
            "HRM_USER": self._user,
            "HRM_TASK_COUNT": str(len(self.tasks)),
            "HRM_TASK_GROUP": group.name,
            "HRM_CPUS_PER_TASK": format_milli(group.resources.vcores_milli),
            "HRM_MEMORY_MIB": str(group.resources.memory_mib),
        }
        if group.workdir is not None:
            environment["HRM_SUBMIT_DIR"] = group.workdir
        return environment

    def _launch_spec(self, task: Task, container: Container, now: float) -> LaunchSpec:
        group = self._job.groups[task.group]
        environment = self._environments[task.group] | {
            "HRM_TASK_INDEX": str(task.index),
            "HRM_TASK_ATTEMPT": str(task.attempt),
            "HRM_RESTART_COUNT": str(task.attempt - 1),
        }
        if group.timeout_s is not None:
            environment["HRM_END_TIME"] = str(int(now + group.timeout_s))
        return LaunchSpec(
            container_id=str(container.container_id),
            application_id=str(self._application_id),
            user=self._user,
            command=group.command,
            env=environment,
            workdir=group.workdir,
            resources=container.resources,
            device_ids=container.device_ids,
            stdin=self._job.stdin,
            terminal=self._job.terminal,
            log_limit_bytes=self._log_limit_bytes,
        )

    def states(self) -> Mapping[ContainerId, Task]:
        """Running tasks by container."""
        return self._by_container
