"""The task set of a gang: all tasks begin together, and what ends one too early ends them all.

A gang is granted at once (`hrm.core.gangs`), but where its members meet is known only then: a port has to be free on
the node of rank 0. So the master holds what it was granted, asks for a *rendezvous*, and launches all members when it
is told (`meet`). Until then it holds containers in which nothing runs, which a restart gives up by itself.

An *attempt of the gang* lasts from there until all members have ended. The first that fails, is lost or preempted ends
it: the others are stopped, and what became of them counts for nothing. Then the whole gang is tried again, or has
failed, by the rules for the one that was first. A member that has succeeded runs again with the others.

What a restart has to know is in the tasks' states: of a gang of which some run and some wait, the attempt is ending.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from hrm.am.master import MAX_LOSSES, Actions, Rendezvous, Task
from hrm.am.protocol import AllocateResponse, Container
from hrm.am.task_set import TaskSetMaster
from hrm.model.containers import ExitRecord
from hrm.model.ids import ApplicationId
from hrm.model.jobs import GangSpec, JobSpec
from hrm.model.masters import FinalStatus
from hrm.model.requests import GangRequest, ResourceRequest
from hrm.model.states import TaskState
from hrm.model.units import format_duration

#: A job is one gang.
GANG_ID = 0


class GangMaster(TaskSetMaster):
    """Runs one job whose tasks are a gang."""

    def __init__(
        self, application_id: ApplicationId, job: JobSpec, *, tasks: Iterable[Task] = (), **settings: Any
    ) -> None:
        assert job.gang is not None, "of another job a task set is the master"
        super().__init__(application_id, job, tasks=tasks, **settings)
        self._gang: GangSpec = job.gang
        #: Granted, and waiting for their rendezvous, in the order of the grant.
        self._granted: list[Container] = []
        self._rendezvous = 0
        #: Since when all of it waits to be granted (epoch seconds); None iff it does not, or no time was told since.
        self._waits_since: float | None = None
        #: Why the gang's attempt is ending; "" iff it is not.
        self._attempt_ends = ""
        #: What members are told of each other.
        self._meeting: dict[str, str] = {}
        # All begin in one transaction.
        states = {task.state for task in self.begun.values()}
        if states & {TaskState.FAILED, TaskState.KILLED} or (TaskState.PENDING in states and len(states) > 1):
            self._attempt_ends = "the attempt of its gang was ending when the server began anew"

    # --- what the master is told

    def receive(self, response: AllocateResponse, now: float) -> Actions:
        actions = super().receive(response, now)
        if self._granted and response.allocated:
            if len(self._granted) == self.task_count:
                self._rendezvous += 1
                first = next(one for one in self._granted if not one.allocation_request_id)
                actions.rendezvous = Rendezvous(node_id=first.node_id, number=self._rendezvous)
            else:
                # Part of a gang is of no use to anybody.
                self._give_back()
        return actions

    def meet(self, number: int, hosts: Mapping[str, str], port: int | None, now: float) -> Actions:
        """The answer to a rendezvous: ``hosts`` by node, and a port on that of rank 0; None iff there is none."""
        actions = Actions()
        if number != self._rendezvous or not self._granted:
            return actions
        if port is None or self._paused or self._verdict:
            self._give_back()
            return actions
        granted, self._granted = self._granted, []
        in_order = [one for group in range(len(self._job.groups)) for one in granted if _group(one) == group]
        addresses = [hosts[one.node_id] for one in in_order]
        self._meeting = {
            "HRM_GANG_SIZE": str(self.task_count),
            "HRM_HOSTS": ",".join(addresses),
            "MASTER_ADDR": addresses[0],
            "MASTER_PORT": str(port),
        }
        self._waits_since = None
        for container in in_order:
            super()._allocated(container, now, actions)
        return actions

    def next_deadline(self) -> float | None:
        deadline = super().next_deadline()
        if self._gang.timeout_s is None or not self._waits:
            return deadline
        # It is told the time only at a deadline: the first is at once.
        due = 0.0 if self._waits_since is None else self._waits_since + self._gang.timeout_s
        return due if deadline is None else min(due, deadline)

    def expire(self, now: float) -> Actions:
        actions = super().expire(now)
        timeout_s = self._gang.timeout_s
        if timeout_s is not None and self._waits:
            if self._waits_since is None:
                self._waits_since = now
            elif now >= self._waits_since + timeout_s:
                many = f"its {self.task_count} containers" if self.task_count > 1 else "its container"
                why = f"{many} were not to be had at once within {format_duration(timeout_s)}"
                _add(actions, self._wind_up(FinalStatus.FAILED, why))
        return actions

    def pause(self) -> None:
        super().pause()
        self._waits_since = None

    def go_on(self, delays: Mapping[str, float]) -> None:
        super().go_on(delays)
        self._waits_since = None

    def resume(self, now: float) -> Actions:
        actions = super().resume(now)
        if self._attempt_ends:
            for task in self._by_container.values():
                if task.stopping is None:
                    self._stop(task, self._attempt_ends, actions)
            self._end_attempt(actions)
        return actions

    @property
    def exit_code(self) -> int:
        """Of the members that failed: the others were only stopped for them."""
        failed = [task.exit_code or 1 for task in self.begun.values() if task.state is TaskState.FAILED]
        return max(failed) if failed and self._verdict is None else super().exit_code

    # --- inside

    @property
    def _ending(self) -> bool:
        return super()._ending or bool(self._attempt_ends)

    @property
    def _waits(self) -> bool:
        """True iff all of it waits to be granted."""
        return not (self._granted or self._verdict or self._paused) and self.counts.pending == self.task_count

    def _ask(self, position: int) -> ResourceRequest:
        asked = super()._ask(position)
        gang = GangRequest(gang_id=GANG_ID, tasks_per_node=self._gang.tasks_per_node)
        return replace(asked, count=asked.count if self._waits else 0, gang=gang)

    def _asking(self) -> list[int]:
        """One changes with all others."""
        return list(range(len(self._job.groups))) if super()._asking() else []

    def _allocated(self, container: Container, now: float, actions: Actions) -> None:
        if self._verdict or self._paused:
            self._releases.append(container.container_id)
        else:
            self._granted.append(container)

    def _completed(self, record: ExitRecord, actions: Actions) -> None:
        if any(one.container_id == record.container_id for one in self._granted):
            self._granted = [one for one in self._granted if one.container_id != record.container_id]
            self._give_back()
        else:
            super()._completed(record, actions)

    def _give_back(self) -> None:
        """Nothing begins in what was granted; it is asked for again."""
        self._releases += [one.container_id for one in self._granted]
        self._granted = []
        self._stale_groups.update(self._asking())

    def _wind_up(self, status: FinalStatus, message: str) -> Actions:
        self._give_back()
        for task in self.begun.values():
            if self._attempt_ends and task.state is TaskState.PENDING:
                self._waiting[task.group].push(task.index)
        return super()._wind_up(status, message)

    def _settle(self, task: Task, ended_as: TaskState, actions: Actions) -> None:
        if self._verdict:
            super()._settle(task, ended_as, actions)
            return
        if self._attempt_ends:
            self._enter(task, TaskState.PENDING if self._again else TaskState.KILLED)
        elif ended_as is TaskState.SUCCEEDED:
            self._enter(task, TaskState.SUCCEEDED)
        else:
            self._count(task, ended_as)
            self._attempt_ends = f"task {task.index} of its gang: {task.message}"
            self._enter(task, TaskState.PENDING if self._may_try_again(task, ended_as) else TaskState.FAILED)
            for other in self._by_container.values():
                if other.stopping is None:
                    self._stop(other, self._attempt_ends, actions)
        self._end_attempt(actions)

    def _may_try_again(self, task: Task, ended_as: TaskState) -> bool:
        if ended_as is TaskState.FAILED:
            return sum(one.failures for one in self.begun.values()) <= self._job.groups[task.group].retries
        return ended_as is not TaskState.LOST or sum(one.losses for one in self.begun.values()) <= MAX_LOSSES

    @property
    def _again(self) -> bool:
        """True iff the gang is tried again when its attempt has ended."""
        return not self.counts.failed

    def _end_attempt(self, actions: Actions) -> None:
        """When the last member has ended: all wait anew, or nobody does."""
        if not self._attempt_ends or self._by_container:
            return
        self._attempt_ends = ""
        state = TaskState.PENDING if self._again else TaskState.KILLED
        for waiting in self._waiting:
            waiting.clear()
        for index in range(self.task_count):
            position, _ = self._job.group_of(index)
            if self._again:
                self._waiting[position].push(index)
            task = self.begun[index]
            if task.state not in (state, TaskState.FAILED):
                self._enter(task, state)
                actions.changed.append(task)
        self._stale_groups.update(range(len(self._job.groups)))

    def _task_environment(self, task: Task) -> dict[str, str]:
        return super()._task_environment(task) | self._meeting | {"HRM_NODE_RANK": str(task.index)}


def _group(container: Container) -> int:
    return container.allocation_request_id or 0


def _add(actions: Actions, more: Actions) -> None:
    actions.stops += more.stops
    actions.changed += more.changed
