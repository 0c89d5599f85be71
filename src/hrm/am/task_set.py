"""The built-in ApplicationMaster: a set of tasks, each run in a container of its own.

It lives in the ResourceManager and costs no container, but speaks the protocol of every master: asks, gets containers,
launches, learns what ended. It does no I/O and reads no clock: what it is told goes in, `Actions` come out, and the
ResourceManager commits them before it carries them out.

A task fails by its own fault (exit code, timeout, could not be started) or is lost by nobody's (its node died). Faults
count against ``retries``; losses are retried `MAX_LOSSES` times, so that a task that kills its nodes comes to an end.
One that ended for another application (was preempted) begins again as often as that happens.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from hrm.am.group_order import GroupOrder, names, never_began
from hrm.am.master import MAX_LOSSES, Actions, AttemptEnd, Counts, Launch, Task, environment_of
from hrm.am.protocol import AllocateRequest, AllocateResponse, Container
from hrm.model.containers import ExitReason, ExitRecord, LaunchSpec, Preemption
from hrm.model.ids import ApplicationId
from hrm.model.jobs import JobSpec, TaskGroupSpec
from hrm.model.masters import FinalStatus
from hrm.model.requests import ExecutionType, ResourceRequest
from hrm.model.states import TaskState
from hrm.model.units import format_duration, format_milli


class _Waiting:
    """The tasks of one group that wait, lowest number first. Those that never began are a range, not a list."""

    def __init__(self, first: int, end: int, begun: Iterable[Task]) -> None:
        self._again: list[int] = []
        self._fresh = first
        self._end = end
        for task in begun:
            if task.state is TaskState.PENDING:
                heapq.heappush(self._again, task.index)
            self._fresh = max(self._fresh, task.index + 1)

    def __len__(self) -> int:
        return len(self._again) + self._end - self._fresh

    def pop(self) -> int:
        # What begins anew has a lower number than what never began.
        if self._again:
            return heapq.heappop(self._again)
        self._fresh += 1
        return self._fresh - 1

    def push(self, index: int) -> None:
        heapq.heappush(self._again, index)

    def clear(self) -> list[int]:
        """Nothing waits any more; returns those that had begun before."""
        begun, self._again, self._fresh = self._again, [], self._end
        return begun


class TaskSetMaster:
    """Runs one job's tasks. ``tasks`` are those that an earlier life began, the first of each group."""

    calls = False

    def __init__(
        self,
        application_id: ApplicationId,
        job: JobSpec,
        *,
        user: str,
        queue: str,
        tasks: Iterable[Task] = (),
        log_limit_bytes: int = 64 << 20,
        places: Callable[[Sequence[str]], Sequence[str]] = lambda inputs: (),
    ) -> None:
        """``places`` are nodes and racks where tasks with these inputs would like to run, as that is now."""
        self._places = places
        #: By group: what was named in its last ask.
        self._liked: dict[int, tuple[str, ...]] = {}
        self._application_id = application_id
        self._job = job
        self._user = user
        self._log_limit_bytes = log_limit_bytes
        #: By index. A task is made when it begins: a job of many costs nothing before.
        self.begun: dict[int, Task] = {}
        self.counts = Counts(pending=job.task_count)
        self._by_container: dict[str, Task] = {}
        #: Of running containers: what is known of their end for others.
        self._preemptions: dict[str, Preemption] = {}
        self._releases: list[str] = []
        self._deadlines: list[tuple[float, str]] = []
        #: What running tasks report of themselves, summed.
        self._parts = 0.0
        #: Set once nothing new may begin: (status, diagnostics) to finish with.
        self._verdict: tuple[FinalStatus, str] | None = None
        of_group: list[list[Task]] = [[] for _ in job.groups]
        for task in tasks:
            task.group, _ = job.group_of(task.index)
            of_group[task.group].append(task)
            self.begun[task.index] = task
            self.counts.add(TaskState.PENDING, -1)
            self.counts.add(task.state, 1)
            if task.state is TaskState.RUNNING and task.container_id is not None:
                self._by_container[task.container_id] = task
        #: True iff the application is suspended.
        self._paused = False
        self._waiting: list[_Waiting] = []
        first = 0
        for group, begun in zip(job.groups, of_group, strict=True):
            self._waiting.append(_Waiting(first, first + group.tasks, begun))
            first += group.tasks
        self._order = GroupOrder(job.groups)
        for task in self.begun.values():
            if task.state is TaskState.SUCCEEDED:
                self._order.succeeded(task.group)
        for task in self.begun.values():
            if task.state is TaskState.FAILED:
                self._drop_followers(task.group)
        self._stale_groups = set(self._asking())
        self.moved(queue)

    @property
    def task_count(self) -> int:
        return self._job.task_count

    def task(self, index: int) -> Task:
        """The task as it stands; a copy for reading only if it never began. Raises IndexError."""
        if known := self.begun.get(index):
            return known
        if not 0 <= index < self.task_count:
            raise IndexError(index)
        position, group = self._job.group_of(index)
        if self._verdict or position in self._order.dropped:
            return Task(index=index, group=position, state=TaskState.KILLED, message=never_began(group))
        missing = self._order.waits_for(position)
        return Task(index=index, group=position, message=f"waits for {names(missing)}" if missing else "")

    @property
    def running(self) -> list[str]:
        return []

    @property
    def held_back(self) -> list[tuple[str, list[str]]]:
        """Groups of which nothing is asked for yet, each with those that it waits for."""
        if self._verdict:
            return []
        return [(self._job.groups[one].name, self._order.waits_for(one)) for one in self._order.waiting]

    # --- what the master wants from the scheduler

    def next_request(self) -> AllocateRequest:
        """Asks that changed since the last one, with absolute counts, and containers to give back."""
        asks = tuple(ask for position in sorted(self._stale_groups) for ask in self._asks(position))
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
        parts = self._parts if counts.running else 0.0
        return min(1.0, (counts.succeeded + counts.failed + counts.killed + parts) / self.task_count)

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
        highest = max((task.exit_code or 0 for task in self.begun.values()), default=0)
        if highest or (self._verdict is None and not self.counts.failed):
            return highest
        return 143 if self._verdict and self._verdict[0] is FinalStatus.KILLED else 1

    # --- what the master is told

    def receive(self, response: AllocateResponse, now: float) -> Actions:
        """Take what `allocate` answered: start tasks in new containers, settle ended ones."""
        actions = Actions()
        for container_id, preemption in response.preemptions:
            if container_id in self._by_container:
                self._preemptions[container_id] = preemption
        for record in response.completed:
            self._completed(record, actions)
        for container in response.allocated:
            self._allocated(container, now, actions)
        return actions

    def started(self, container_id: str, at: float) -> None:
        """The container's process runs: its time limit counts from here."""
        task = self._by_container.get(container_id)
        timeout_s = task and self._job.groups[task.group].timeout_s
        if timeout_s:
            heapq.heappush(self._deadlines, (at + timeout_s, container_id))

    def report_progress(self, container_id: str, progress: float) -> None:
        if task := self._by_container.get(container_id):
            progress = min(1.0, max(0.0, progress))
            self._parts += progress - (task.progress or 0.0)
            task.progress = progress

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

    def places_changed(self) -> None:
        """Inputs may be elsewhere now."""
        self._stale_groups.update(one for one in self._asking() if self._job.groups[one].inputs)

    def pause(self) -> None:
        self._paused = True
        self._stale_groups.update(self._asking())

    def go_on(self, delays: Mapping[str, float]) -> None:
        self._paused = False
        self._stale_groups.update(self._asking())
        self._deadlines = [(at + delays.get(name, 0.0), name) for at, name in self._deadlines]
        heapq.heapify(self._deadlines)

    def _asking(self) -> list[int]:
        """Groups that ask for containers, or would."""
        return [one for one, waiting in enumerate(self._waiting) if waiting and self._order.may_begin(one)]

    def moved(self, queue: str) -> None:
        self._environments = [self._group_environment(group, queue) for group in self._job.groups]

    def kill(self, message: str) -> Actions:
        """End it all: nothing new begins, what runs is stopped."""
        return self._wind_up(FinalStatus.KILLED, message)

    def recovered(
        self, container_id: str, *, started_at: float | None, stopping: str | None, preemption: Preemption | None
    ) -> None:
        """After a restart: what is known of a running task's container."""
        if task := self._by_container.get(container_id):
            task.stopping = stopping
            if preemption is not None:
                self._preemptions[container_id] = preemption
            if started_at is not None:
                self.started(container_id, started_at)

    def resume(self, now: float) -> Actions:
        """After a restart, once: what had failed too often goes on to its end."""
        actions = Actions()
        self._end_if_too_many_failed(actions)
        return actions

    # --- inside

    @property
    def _ending(self) -> bool:
        """True iff what is told to stop is so for no fault of its own."""
        return self._verdict is not None

    def _asks(self, position: int) -> list[ResourceRequest]:
        """For anywhere and, where it would like to run, for each such place (YARN's way to ask for one thing)."""
        ask = self._ask(position)
        inputs = self._job.groups[position].inputs
        if not inputs:
            return [ask]
        liked = tuple(self._places(inputs)) if ask.count else ()
        gone = [name for name in self._liked.get(position, ()) if name not in liked]
        self._liked[position] = liked
        return [
            *(replace(ask, resource_name=name) for name in liked),
            *(replace(ask, resource_name=name, count=0) for name in gone),
            ask,
        ]

    def _ask(self, position: int) -> ResourceRequest:
        group = self._job.groups[position]
        return ResourceRequest(
            resources=group.resources,
            count=0 if self._verdict or self._paused else len(self._waiting[position]),
            priority=group.priority,
            allocation_request_id=position,
            gpu_model=group.gpu_model,
            needs=group.needs,
            execution_type=ExecutionType.OPPORTUNISTIC if self._job.opportunistic else ExecutionType.GUARANTEED,
        )

    def _allocated(self, container: Container, now: float, actions: Actions) -> None:
        group = container.allocation_request_id or 0
        waiting = self._waiting[group]
        if not waiting or self._verdict or self._paused:
            self._releases.append(container.container_id)
            return
        index = waiting.pop()
        task = self.begun.get(index)
        if task is None:
            task = self.begun[index] = Task(index=index, group=group)
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
        task = self._by_container.pop(record.container_id, None)
        preemption = self._preemptions.pop(record.container_id, None)
        if task is None:
            return
        self._parts -= task.progress or 0.0
        task.exit_code = record.exit_code
        killed = self._ending and task.stopping is not None
        if record.reason is ExitReason.LOST:
            state, task.message = TaskState.LOST, record.detail or "its container was lost"
        elif killed:
            state, task.message = TaskState.KILLED, task.stopping or ""
        elif record.exit_code == 0 and task.stopping is None:
            state, task.message = TaskState.SUCCEEDED, ""
        elif preemption is not None and task.stopping is None and preemption.explains(record):
            state, task.message = TaskState.PREEMPTED, preemption.reason
        else:
            state, task.message = TaskState.FAILED, task.stopping or record.detail or f"exit code {record.exit_code}"
        actions.ended.append(
            AttemptEnd(
                container_id=record.container_id,
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
        self._count(task, ended_as)
        group = self._job.groups[task.group]
        if self._verdict and ended_as in (TaskState.FAILED, TaskState.LOST, TaskState.PREEMPTED):
            self._enter(task, TaskState.FAILED if ended_as is TaskState.FAILED else TaskState.KILLED)
        elif (
            ended_as is TaskState.PREEMPTED
            or (ended_as is TaskState.FAILED and task.failures <= group.retries)
            or (ended_as is TaskState.LOST and task.losses <= MAX_LOSSES)
        ):
            self._enter(task, TaskState.PENDING)
            self._waiting[task.group].push(task.index)
            self._stale_groups.add(task.group)
        else:
            self._enter(task, TaskState.FAILED if ended_as is TaskState.LOST else ended_as)
            if task.state is TaskState.SUCCEEDED:
                self._stale_groups.update(self._order.succeeded(task.group))
            elif task.state is TaskState.FAILED:
                self._drop_followers(task.group)
            self._end_if_too_many_failed(actions)

    @staticmethod
    def _count(task: Task, ended_as: TaskState) -> None:
        task.losses += ended_as is TaskState.LOST
        task.failures += ended_as is TaskState.FAILED

    def _drop_followers(self, position: int) -> None:
        """Groups that wait for this one never begin: none of their tasks has."""
        for follower in self._order.failed(position):
            self._waiting[follower].clear()
            self.counts.pending -= self._job.groups[follower].tasks
            self.counts.killed += self._job.groups[follower].tasks

    def _end_if_too_many_failed(self, actions: Actions) -> None:
        limit = self._job.max_failures
        if limit is not None and self.counts.failed > limit and self._verdict is None:
            wind_up = self._wind_up(FinalStatus.FAILED, self._failure_message(self.counts.failed))
            actions.stops += wind_up.stops
            actions.changed += wind_up.changed

    def _wind_up(self, status: FinalStatus, message: str) -> Actions:
        actions = Actions()
        if self._verdict is None:
            self._verdict = (status, message)
            for position, waiting in enumerate(self._waiting):
                if waiting:
                    self._stale_groups.add(position)
                for index in waiting.clear():
                    self.begun[index].state = TaskState.KILLED
                    actions.changed.append(self.begun[index])
            self.counts.killed += self.counts.pending
            self.counts.pending = 0
        for task in self._by_container.values():
            if task.stopping is None:
                self._stop(task, message or "killed", actions)
        return actions

    def _stop(self, task: Task, reason: str, actions: Actions) -> None:
        task.stopping = reason
        if task.container_id is not None:
            actions.stops.append((task.container_id, reason))

    def _enter(self, task: Task, state: TaskState) -> None:
        self.counts.add(task.state, -1)
        task.state = state
        self.counts.add(state, 1)

    def _failure_message(self, failed: int) -> str:
        first = min((task for task in self.begun.values() if task.state is TaskState.FAILED), key=lambda one: one.index)
        total = self.task_count
        if total == 1:
            return first.message
        dropped = [self._job.groups[position].name for position in sorted(self._order.dropped)]
        rest = f"; never began for it: {names(dropped)}" if dropped else ""
        return f"{failed} of {total} tasks failed; task {first.index}: {first.message}{rest}"

    def _group_environment(self, group: TaskGroupSpec, queue: str) -> dict[str, str]:
        return environment_of(
            application_id=str(self._application_id),
            job_name=self._job.display_name,
            queue=queue,
            user=self._user,
            workdir=group.workdir,
            env=group.env,
        ) | {
            "HRM_TASK_COUNT": str(self.task_count),
            "HRM_TASK_GROUP": group.name,
            "HRM_CPUS_PER_TASK": format_milli(group.resources.vcores_milli),
            "HRM_MEMORY_MIB": str(group.resources.memory_mib),
        }

    def _task_environment(self, task: Task) -> dict[str, str]:
        return {
            "HRM_TASK_INDEX": str(task.index),
            "HRM_TASK_ATTEMPT": str(task.attempt),
            "HRM_RESTART_COUNT": str(task.attempt - 1),
        }

    def _launch_spec(self, task: Task, container: Container, now: float) -> LaunchSpec:
        group = self._job.groups[task.group]
        environment = self._environments[task.group] | self._task_environment(task)
        if group.timeout_s is not None:
            environment["HRM_END_TIME"] = str(int(now + group.timeout_s))
        return LaunchSpec(
            container_id=container.container_id,
            application_id=str(self._application_id),
            user=self._user,
            command=group.command,
            env=environment,
            workdir=group.workdir,
            resources=container.resources,
            device_ids=container.device_ids,
            stdin=self._job.stdin,
            terminal=self._job.terminal,
            upload=self._job.upload,
            python_env=self._job.python_env,
            log_limit_bytes=self._log_limit_bytes,
        )
