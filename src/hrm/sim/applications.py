"""Applications as the simulator lives them: what waits, what runs, and what they ask the scheduler for."""

from __future__ import annotations

import math

from hrm.core.commands import Allocate
from hrm.model.ids import ApplicationId, AttemptId, ContainerId
from hrm.model.node_needs import NodeNeeds
from hrm.model.nodes import NodeSpec
from hrm.model.requests import ExecutionType, GangRequest, ResourceRequest
from hrm.model.states import ApplicationState
from hrm.rm.lifecycles import APPLICATION, check_move
from hrm.sim.workload import Job, Running


class Run:
    """One task in its container."""

    __slots__ = (
        "alive",
        "app",
        "container_id",
        "device_ids",
        "group",
        "left_s",
        "node_id",
        "number",
        "started_at",
        "waited_s",
    )

    def __init__(
        self,
        app: App,
        group: int,
        container_id: ContainerId,
        node_id: str,
        device_ids: tuple[str, ...],
        left_s: float,
        waited_s: float,
        now: float,
    ) -> None:
        self.app = app
        #: Position of its group.
        self.group = group
        self.container_id = container_id
        self.node_id = node_id
        self.device_ids = device_ids
        #: What was left of its work at its start, and how long it had waited; seconds.
        self.left_s = left_s
        self.waited_s = waited_s
        self.started_at = now
        #: Among all grants of the simulation, from 0: see `hrm.sim.recorder`.
        self.number = 0
        #: False as soon as it has ended, however.
        self.alive = True


class _Waiting:
    """Tasks of one group that wait: those that never began, in order, and what is left of those interrupted."""

    __slots__ = ("again", "fresh", "tasks")

    def __init__(self, tasks: int) -> None:
        self.tasks = tasks
        self.fresh = 0
        #: (what is left of it in seconds, since when it waits), the longest waiting last.
        self.again: list[tuple[float, float]] = []

    def __len__(self) -> int:
        return len(self.again) + self.tasks - self.fresh


class App:
    """A job that was submitted."""

    __slots__ = (
        "application_id",
        "attempt_id",
        "company_s",
        "ended_at",
        "first_start_at",
        "index",
        "job",
        "lost",
        "open_tasks",
        "preempted",
        "runs",
        "state",
        "waiting",
    )

    def __init__(self, job: Job, index: int) -> None:
        self.job = job
        self.index = index
        self.application_id = ApplicationId(1, index + 1)
        self.attempt_id = AttemptId(self.application_id, 1)
        self.state = ApplicationState.SUBMITTED
        self.waiting = [_Waiting(group.tasks) for group in job.groups]
        #: By sequence number of their containers.
        self.runs: dict[int, Run] = {}
        self.open_tasks = job.tasks
        self.first_start_at = math.nan
        self.ended_at = math.nan
        #: Jobs that were there while it was, summed over its time (see `hrm.sim.recorder`).
        self.company_s = 0.0
        #: Containers of it that ended for others, that were lost with their nodes.
        self.preempted = 0
        self.lost = 0

    @property
    def execution_type(self) -> ExecutionType:
        """Of its containers."""
        return ExecutionType.OPPORTUNISTIC if self.job.opportunistic else ExecutionType.GUARANTEED

    def enter(self, state: ApplicationState) -> None:
        """Raises InvariantBroken where the ResourceManager's table does not allow it."""
        check_move(APPLICATION, self.application_id, self.state, state)
        self.state = state

    def requests(self, groups: range | list[int], nodes: dict[str, NodeSpec]) -> tuple[ResourceRequest, ...]:
        """What these groups wait for, with absolute counts; a group that waits for a place names rack and "*" too."""
        asked = []
        gang = None
        if self.job.gang:
            # Those that were interrupted begin together; those that are done are not done again.
            groups = range(len(self.job.groups))
            gang = GangRequest(tasks_per_node=self.job.tasks_per_node)
        for position in groups:
            group = self.job.groups[position]
            count = 0 if gang and self.runs else len(self.waiting[position])
            places = ["*"]
            if group.host in nodes:
                places = [group.host, nodes[group.host].rack, "*"]
            asked += [
                ResourceRequest(
                    resources=group.resources,
                    count=count,
                    priority=group.priority,
                    resource_name=place,
                    allocation_request_id=position,
                    gpu_model=group.gpu_model,
                    gang=gang,
                    needs=NodeNeeds(constraint=group.constraint, label=group.node_label or None),
                    execution_type=self.execution_type,
                )
                for place in places
            ]
        return tuple(asked)

    def start(self, command: Allocate, now: float) -> Run:
        """A container was granted: the task that waits longest begins."""
        position = command.allocation_request_id
        waiting = self.waiting[position]
        if waiting.again:
            left_s, since = waiting.again.pop()
        else:
            left_s, since = self.job.groups[position].run_of(waiting.fresh), self.job.submit_s
            waiting.fresh += 1
        container_id = command.container_id
        run = self.runs[container_id.seq] = Run(
            self, position, container_id, command.node_id, command.device_ids, left_s, now - since, now
        )
        if self.state is not ApplicationState.RUNNING:
            self._first(now)
        return run

    def found(self, running: Running, container_id: ContainerId, now: float) -> Run:
        """A task of the job runs already."""
        waiting = self.waiting[running.group]
        left_s = self.job.groups[running.group].run_of(waiting.fresh) - running.ran_s
        waiting.fresh += 1
        run = self.runs[container_id.seq] = Run(
            self, running.group, container_id, running.node_id, running.device_ids, max(left_s, 0.0), 0.0, now
        )
        if self.state is not ApplicationState.RUNNING:
            self._first(now)
        return run

    def _first(self, now: float) -> None:
        self.enter(ApplicationState.RUNNING)
        self.first_start_at = now

    def finish(self, run: Run) -> bool:
        """A task has done its work. True iff it was the last."""
        run.alive = False
        del self.runs[run.container_id.seq]
        self.open_tasks -= 1
        return not self.open_tasks

    def interrupt(self, run: Run, now: float, *, saved: bool = False) -> None:
        """A task's container ended before its work was done: it waits again, with what it has not saved."""
        run.alive = False
        del self.runs[run.container_id.seq]
        ran_s = now - run.started_at
        every_s = self.job.checkpoint_s
        if not saved:
            ran_s = ran_s // every_s * every_s if every_s is not None else 0.0
        self.waiting[run.group].again.insert(0, (run.left_s - ran_s, now))

    def pending(self) -> int:
        return sum(len(waiting) for waiting in self.waiting)
