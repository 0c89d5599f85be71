"""The stand-in for a master in a container of its own (YARN's ApplicationMaster proper).

It is to the ResourceManager what the task set is: told what happens, answering with `Actions`. What it decides by
itself is little: the master's container is asked for and started, watched and started again when it fails. All else
the master's process decides, whose calls come in by `register`, `hear`, `launch`, `stop` and `finish`, and which hears
by `answer` what happened since.

The master is task 0; what it launches are tasks 1, 2, … so that logs, history and reports are those of every
application. A failed attempt's containers are stopped, unless they are kept, and only when they have ended the next
attempt begins: what they hold is on the books until then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from hrm.am.asks import MASTER_REQUEST, Asks
from hrm.am.failures import Failures
from hrm.am.master import Actions, AttemptEnd, Counts, Launch, Task, environment_of
from hrm.am.protocol import AllocateRequest, AllocateResponse, Container
from hrm.am.unheard import Unheard
from hrm.model.containers import ExitReason, ExitRecord, LaunchSpec, Preemption
from hrm.model.errors import Conflict, InvalidInput, NotFound
from hrm.model.ids import AttemptId
from hrm.model.jobs import MAX_TASKS, JobSpec, MasterSpec, TaskGroupSpec
from hrm.model.masters import MASTER_FINISHED, STOPPED_BY_MASTER, EndedContainer, FinalStatus, Heartbeat
from hrm.model.requests import ResourceRequest
from hrm.model.resources import Resources
from hrm.model.states import TaskState
from hrm.model.units import format_duration, format_milli

#: How long a master that has finished may take to leave.
LEAVE_GRACE_S = 10.0
#: A master that is not heard of for this long is ended (YARN's am.liveness-monitor.expiry-interval).
EXPIRY_S = 60.0


#: A granted container in which nothing is launched for so long is taken back (YARN's container-allocation.expiry).
LAUNCH_WITHIN_S = 600.0

#: By attempt, user and node: variables by which a master's process finds the server and proves who it is.
Credentials = Callable[[AttemptId, str, str], Mapping[str, str]]


class OwnMaster:
    """One application's. ``tasks`` are those that an earlier life began; ``final`` what its master had said by then.

    ``credentials`` is asked when the master's process begins.
    """

    calls = True

    def __init__(
        self,
        attempt_id: AttemptId,
        job: JobSpec,
        *,
        user: str,
        queue: str,
        credentials: Credentials,
        tasks: Iterable[Task] = (),
        final: tuple[FinalStatus, str] | None = None,
        log_limit_bytes: int = 64 << 20,
        expiry_s: float = EXPIRY_S,
    ) -> None:
        self._attempt_id = attempt_id
        self._job = job
        self._spec = job.master or MasterSpec()
        self._user = user
        self._queue = queue
        self._credentials = credentials
        self._log_limit_bytes = log_limit_bytes
        self._expiry_s = expiry_s
        self.begun: dict[int, Task] = {task.index: task for task in tasks}
        self._master = self.begun.setdefault(0, Task(index=0))
        self.counts = Counts()
        for task in self.begun.values():
            self.counts.add(task.state, 1)
        self._by_container: dict[str, Task] = {
            task.container_id: task
            for task in self.begun.values()
            if task.state is TaskState.RUNNING and task.container_id is not None
        }
        #: What had ended when this life began, by number.
        self._ended_before = {index for index, task in self.begun.items() if task.state is not TaskState.RUNNING}
        self._failures = Failures(self._spec, self._master)
        self._asks = Asks(job.groups[0].needs, self._spec.node_label)
        if self._master.state is TaskState.PENDING and self._master.attempt < attempt_id.number:
            self._want_master()
        #: Of containers that are not over: what is known of their end for others.
        self._preemptions: dict[str, Preemption] = {}
        self._unheard = Unheard()
        self._registered = False
        self._told_progress = 0.0
        #: When it is ended unless it is heard of before, and whether it is or not.
        self._deadline: float | None = None
        self._times_out_at: float | None = None
        self._verdict = final

    # --- what is known of it

    @property
    def task_count(self) -> int:
        return len(self.begun)

    def task(self, index: int) -> Task:
        if index not in self.begun:
            raise IndexError(index)
        return self.begun[index]

    @property
    def held_back(self) -> list[tuple[str, list[str]]]:
        return []

    @property
    def progress(self) -> float:
        return self._told_progress

    @property
    def verdict(self) -> tuple[FinalStatus, str] | None:
        return None if self._by_container else self._verdict

    @property
    def exit_code(self) -> int:
        if self._verdict is None or self._verdict[0] is FinalStatus.SUCCEEDED:
            return 0
        return self._master.exit_code or (143 if self._verdict[0] is FinalStatus.KILLED else 1)

    @property
    def registered(self) -> bool:
        """True iff its process has registered with this server."""
        return self._registered

    @property
    def running(self) -> list[str]:
        """Containers in which what the master launched runs."""
        return [name for name, task in self._by_container.items() if task is not self._master]

    @property
    def ended(self) -> list[EndedContainer]:
        """All that it launched and that is over."""
        return [
            _ended(task.container_id, task)
            for task in self.begun.values()
            if task is not self._master and task.state is not TaskState.RUNNING and task.container_id is not None
        ]

    @property
    def ended_lately(self) -> list[EndedContainer]:
        """Of those the ones that no earlier server can have told of."""
        return [
            _ended(task.container_id, task)
            for index, task in self.begun.items()
            if index not in self._ended_before
            and task is not self._master
            and task.state is not TaskState.RUNNING
            and task.container_id is not None
        ]

    # --- asks, and what comes of them

    def next_request(self) -> AllocateRequest:
        return self._asks.next_request(self.progress)

    @property
    def wants_something(self) -> bool:
        return self._asks.anything_new

    def receive(self, response: AllocateResponse, now: float) -> Actions:
        actions = Actions()
        for name, preemption in response.preemptions:
            self._preempted(name, preemption)
        for name, resources in response.resized:
            if name in self._by_container:
                self._unheard.resized(name, resources)
        for name, execution_type in response.retyped:
            if name in self._by_container or name in self._asks:
                self._unheard.retyped(name, execution_type)
        for record in response.completed:
            self._completed(record, actions)
        for container in response.allocated:
            if container.allocation_request_id == MASTER_REQUEST:
                self._start_master(container, now, actions)
            elif self._verdict or not self._registered:
                self._release(container.container_id)
            else:
                self._asks.hold(container, until=now + LAUNCH_WITHIN_S)
                self._unheard.granted(container)
        return actions

    def started(self, container_id: str, at: float) -> None:
        if container_id == self._master.container_id and self._deadline is None:
            self._deadline = at + self._expiry_s
            self._limit_time(at)

    def report_progress(self, container_id: str, progress: float) -> None:
        if task := self._by_container.get(container_id):
            task.progress = min(1.0, max(0.0, progress))

    def next_deadline(self) -> float | None:
        deadlines = (self._deadline, self._times_out_at, self._asks.next_deadline())
        return min((one for one in deadlines if one is not None), default=None)

    def expire(self, now: float) -> Actions:
        """End a master that is not heard of, or that has finished and does not leave."""
        actions = Actions()
        if self._deadline is not None and self._deadline <= now:
            self._deadline = None
            silent = f"its master was not heard of for {format_duration(self._expiry_s)}"
            self._stop(self._master, "it had finished and did not leave" if self._verdict else silent, actions)
        if self._times_out_at is not None and self._times_out_at <= now:
            self._times_out_at = None
            timeout_s = self._job.groups[0].timeout_s or 0.0
            self._stop(self._master, f"timed out after {format_duration(timeout_s)}", actions)
        for name in self._asks.overdue(now):
            self._release(name)
            why = f"given back: nothing was launched in it within {format_duration(LAUNCH_WITHIN_S)}"
            self._unheard.ended(EndedContainer(container_id=name, state=TaskState.LOST, exit_code=None, message=why))
        return actions

    def pause(self) -> None:
        """It makes no calls while it is halted. What it asked for may still be granted, and waits for it."""

    def go_on(self, delays: Mapping[str, float]) -> None:
        delay_s = delays.get(self._master.container_id or "", 0.0)
        if self._deadline is not None:
            self._deadline += delay_s
        if self._times_out_at is not None:
            self._times_out_at += delay_s
        # What was granted waited for nobody's fault.
        self._asks.put_off(max(delays.values(), default=0.0))

    def moved(self, queue: str) -> None:
        self._queue = queue

    def kill(self, message: str) -> Actions:
        return self._wind_up(FinalStatus.KILLED, message)

    def fail_attempt(self, message: str) -> Actions:
        """Somebody wants this run of it to fail. Raises Conflict where it does not run."""
        if self._master.state is not TaskState.RUNNING:
            raise Conflict("its master does not run", next_step="wait until it does, or end the application")
        actions = Actions()
        self._stop(self._master, message, actions)
        return actions

    def recovered(
        self, container_id: str, *, started_at: float | None, stopping: str | None, preemption: Preemption | None
    ) -> None:
        if task := self._by_container.get(container_id):
            task.stopping = stopping
            if preemption is not None:
                self._preemptions[container_id] = preemption
            if task is self._master and started_at is not None:
                self._limit_time(started_at)

    def resume(self, now: float) -> Actions:
        actions = Actions()
        self._failures.resume(now)
        master = self._master
        if master.state is TaskState.RUNNING:
            # It could not be heard while there was no server.
            self._deadline = now + (LEAVE_GRACE_S if self._verdict else self._expiry_s)
        if self._verdict:
            self._stop_all_but_master(MASTER_FINISHED, actions)
        elif master.state is TaskState.FAILED:
            wound_up = self._wind_up(FinalStatus.FAILED, master.message)
            actions.stops += wound_up.stops
        elif master.state is TaskState.PENDING and master.attempt == self._attempt_id.number:
            self._leave_attempt(actions)
        return actions

    # --- the master's calls. Each raises a CallerError before it changes anything.

    def register(self, now: float) -> None:
        """It is there, for the first time or anew: what it asked for before counts no more."""
        self._check_not_finished()
        self._heard(now)
        self._asks.withdraw()
        for name in self._asks:
            self._release(name)
        self._unheard.begin((name, one) for name, one in self._preemptions.items() if one.stands)
        self._registered = True

    def hear(
        self,
        response_id: int,
        asks: Sequence[ResourceRequest],
        releases: Sequence[str],
        progress: float | None,
        now: float,
    ) -> None:
        """A heartbeat. Said again, because its answer did not come through, it changes nothing."""
        if not self._registered:
            self._heard(now)
            return
        repeated = self._unheard.is_repeated(response_id)
        self._heard(now)
        if repeated or self._verdict:
            return
        if progress is not None:
            self._told_progress = progress
        self._asks.ask(asks)
        for name in releases:
            if name in self._asks:
                self._release(name)

    def answer(self, response_id: int) -> Heartbeat:
        """What it has not heard of yet; the same again if it did not get the last answer."""
        if not self._registered:
            return Heartbeat(response_id=response_id, resync=True)
        return self._unheard.answer(response_id)

    def launch(self, container_id: str, group: TaskGroupSpec) -> tuple[int, Actions]:
        """Start ``group``'s command in a container that is held. A second time it starts nothing more.

        Returns the task's number. Raises NotFound, Conflict.
        """
        self._check_not_finished()
        actions = Actions()
        if known := self._by_container.get(container_id):
            return known.index, actions
        if container_id not in self._asks:
            raise NotFound(f"{container_id} is not this master's to launch in", next_step="it may have ended meanwhile")
        if len(self.begun) >= MAX_TASKS:
            raise Conflict(f"this application has launched {MAX_TASKS} containers", next_step="submit another")
        container = self._asks.take(container_id)
        assert container is not None, "it was held a moment ago"
        task = Task(index=len(self.begun), attempt=1)
        self.begun[task.index] = task
        self._begin(task, container, group, {"HRM_TASK_INDEX": str(task.index), "HRM_TASK_ATTEMPT": "1"}, actions)
        return task.index, actions

    def spec_anew(
        self, name: str, resources: Resources, device_ids: tuple[str, ...], group: TaskGroupSpec
    ) -> LaunchSpec:
        """For ``group``'s command in place of what runs in a container of the master's. Raises NotFound, Conflict."""
        self._check_not_finished()
        task = self._by_container.get(name)
        if task is None:
            raise NotFound(f"nothing of this master's runs in {name}")
        if task is self._master:
            raise Conflict(f"{name} is the master's own container", next_step="fail the attempt to begin another")
        more = {"HRM_TASK_INDEX": str(task.index), "HRM_TASK_ATTEMPT": str(task.attempt)}
        return self._spec_of(task, name, resources, device_ids, group, more)

    def stop(self, container_ids: Sequence[str]) -> Actions:
        """End what runs there, or give back what is only held. What is not known has ended."""
        actions = Actions()
        for name in container_ids:
            task = self._by_container.get(name)
            if task is not None and task is not self._master:
                self._stop(task, STOPPED_BY_MASTER, actions)
            elif name in self._asks:
                self._release(name)
        return actions

    def finish(self, status: FinalStatus, message: str, now: float) -> Actions:
        """It has done its work. The first word counts."""
        if status is FinalStatus.UNDEFINED:
            raise InvalidInput("say how it ended", field="status", next_step="SUCCEEDED, FAILED or KILLED")
        actions = Actions()
        if self._verdict is None:
            self._verdict = (status, message)
            self._deadline = now + LEAVE_GRACE_S
            self._asks.withdraw()
            self._stop_all_but_master(MASTER_FINISHED, actions)
        return actions

    @property
    def final(self) -> tuple[FinalStatus, str] | None:
        """What stands, though something may still run."""
        return self._verdict

    # --- inside

    def _want_master(self) -> None:
        """Have the attempt begin."""
        self._asks.ask_for_master(self._job.groups[0])

    def _limit_time(self, began_at: float) -> None:
        timeout_s = self._job.groups[0].timeout_s
        self._times_out_at = None if timeout_s is None else began_at + timeout_s

    def _heard(self, now: float) -> None:
        if self._verdict is None:
            self._deadline = now + self._expiry_s

    def _check_not_finished(self) -> None:
        if self._verdict is not None:
            raise Conflict("this application is over", next_step="leave")

    def _start_master(self, container: Container, now: float, actions: Actions) -> None:
        master = self._master
        if self._verdict or master.state is not TaskState.PENDING:
            self._release(container.container_id)
            return
        master.attempt = self._attempt_id.number
        restarts = {"HRM_TASK_INDEX": "0", "HRM_TASK_ATTEMPT": str(master.attempt)}
        credentials = self._credentials(self._attempt_id, self._user, container.node_id)
        self.counts.add(TaskState.PENDING, -1)
        self._begin(master, container, self._job.groups[0], {**restarts, **credentials}, actions)

    def _begin(
        self, task: Task, container: Container, group: TaskGroupSpec, more: Mapping[str, str], actions: Actions
    ) -> None:
        name = container.container_id
        task.state, task.container_id = TaskState.RUNNING, name
        task.exit_code, task.message, task.progress, task.stopping = None, "", None, None
        self.counts.add(TaskState.RUNNING, 1)
        self._by_container[name] = task
        spec = self._spec_of(task, name, container.resources, container.device_ids, group, more)
        actions.changed.append(task)
        actions.launches.append(Launch(container=container, spec=spec, task_index=task.index, attempt=task.attempt))

    def _spec_of(
        self,
        task: Task,
        name: str,
        resources: Resources,
        device_ids: tuple[str, ...],
        group: TaskGroupSpec,
        more: Mapping[str, str],
    ) -> LaunchSpec:
        application_id = str(self._attempt_id.application)
        environment = environment_of(
            application_id=application_id,
            job_name=self._job.display_name,
            queue=self._queue,
            user=self._user,
            workdir=group.workdir,
            env=group.env,
        ) | {
            "HRM_RESTART_COUNT": str(task.attempt - 1),
            "HRM_CPUS_PER_TASK": format_milli(resources.vcores_milli),
            "HRM_MEMORY_MIB": str(resources.memory_mib),
            **more,
        }
        return LaunchSpec(
            container_id=name,
            application_id=application_id,
            user=self._user,
            command=group.command,
            env=environment,
            workdir=group.workdir,
            resources=resources,
            device_ids=device_ids,
            upload=self._job.upload,
            python_env=self._job.python_env,
            log_limit_bytes=self._log_limit_bytes,
        )

    def _preempted(self, name: str, preemption: Preemption) -> None:
        """Something is new of a container's end for others."""
        if name not in self._by_container and name not in self._asks:
            return
        self._preemptions[name] = preemption
        self._unheard.preempted(name, preemption)

    def _completed(self, record: ExitRecord, actions: Actions) -> None:
        name = record.container_id
        preemption = self._preemptions.pop(name, None)
        if self._asks.was_released(name):
            return
        for_others = preemption is not None and preemption.explains(record)
        task = self._by_container.pop(name, None)
        if task is None:
            self._asks.take(name)
            state = TaskState.PREEMPTED if for_others else TaskState.LOST
            gone = EndedContainer(container_id=name, state=state, exit_code=None, message=record.detail)
            self._unheard.ended(gone)
            return
        task.exit_code = record.exit_code
        if record.reason is ExitReason.LOST:
            state, task.message = TaskState.LOST, record.detail or "its container was lost"
        elif task.stopping is not None and task is not self._master:
            state, task.message = TaskState.KILLED, task.stopping
        elif (
            preemption is not None
            and for_others
            and task.stopping is None
            and (record.exit_code != 0 or task is self._master)
        ):
            state, task.message = TaskState.PREEMPTED, preemption.reason
        elif record.exit_code == 0 and task.stopping is None:
            state, task.message = TaskState.SUCCEEDED, ""
        else:
            state, task.message = TaskState.FAILED, task.stopping or record.detail or f"exit code {record.exit_code}"
        if task is self._master:
            state = self._master_ended(state, record.ended_at, actions)
        else:
            self._settle(task, TaskState.FAILED if state is TaskState.LOST else state)
            self._unheard.ended(_ended(name, task))
        actions.ended.append(
            AttemptEnd(
                container_id=name, task_index=task.index, attempt=task.attempt, state=state, message=task.message
            )
        )
        actions.changed.append(task)
        left = self._master.state is TaskState.PENDING and self._master.attempt == self._attempt_id.number
        if left and not self._verdict and not self._by_container:
            # The last of a failed attempt.
            self._leave_attempt(actions)

    def _settle(self, task: Task, state: TaskState) -> None:
        self.counts.add(task.state, -1)
        self.counts.add(state, 1)
        task.state = state

    def _master_ended(self, state: TaskState, at: float, actions: Actions) -> TaskState:
        """Returns how its attempt ended: without a last word, badly, whatever the exit code."""
        master = self._master
        self._deadline = self._times_out_at = None
        if self._verdict is not None:
            killed = self._verdict[0] is FinalStatus.KILLED
            state = TaskState.KILLED if killed else TaskState(self._verdict[0].value)
            self._settle(master, state)
            return state
        if state is TaskState.SUCCEEDED:
            state, master.message = TaskState.FAILED, "its master ended with exit code 0 and had not finished"
        self._failures.add(state, at)
        if self._failures.used_up(at):
            self._settle(master, TaskState.FAILED)
            what = f"its master failed in {master.attempt} attempts; the last: " if master.attempt > 1 else ""
            actions.stops += self._wind_up(FinalStatus.FAILED, f"{what}{master.message}").stops
        else:
            self._settle(master, TaskState.PENDING)
            if self._by_container:
                self._leave_attempt(actions)
        return state

    def _leave_attempt(self, actions: Actions) -> None:
        """The attempt failed: go on to the next, once what it leaves is gone or kept."""
        self._asks.withdraw()
        for name in self._asks:
            self._release(name)
        self._registered = False
        if not self._spec.keep_containers:
            self._stop_all_but_master("its master failed", actions)
            if self._by_container:
                return
        self._attempt_id = AttemptId(self._attempt_id.application, self._attempt_id.number + 1)
        self._want_master()
        actions.next_attempt = self._master.message

    def _wind_up(self, status: FinalStatus, message: str) -> Actions:
        actions = Actions()
        if self._verdict is None:
            self._verdict = (status, message)
            self._asks.withdraw()
            if self._master.state is TaskState.PENDING:
                self._settle(self._master, TaskState.KILLED)
                actions.changed.append(self._master)
        for name in self._asks:
            self._release(name)
        for task in self._by_container.values():
            self._stop(task, message or "killed", actions)
        return actions

    def _stop_all_but_master(self, why: str, actions: Actions) -> None:
        for name in self._asks:
            self._release(name)
        for task in self._by_container.values():
            if task is not self._master:
                self._stop(task, why, actions)

    def _stop(self, task: Task, why: str, actions: Actions) -> None:
        if task.stopping is None and task.container_id is not None:
            task.stopping = why
            actions.stops.append((task.container_id, why))

    def _release(self, name: str) -> None:
        self._unheard.given_back(name)
        self._asks.release(name)


def _ended(container_id: str, task: Task) -> EndedContainer:
    return EndedContainer(container_id=container_id, state=task.state, exit_code=task.exit_code, message=task.message)
