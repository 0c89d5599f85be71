"""What is simulated, as data: machines, queues, jobs with their run times, and faults.

Times are seconds of virtual time, from 0 on; run times may be infinite (it runs until the simulation ends).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from hrm.model.errors import InvalidInput
from hrm.model.nodes import NodeSpec
from hrm.model.queues import DEFAULT_QUEUE, ROOT, Policy, QueueSpec, canonical_path
from hrm.model.resources import Resources
from hrm.model.scheduling import SchedulerOptions
from hrm.rm.pacer import TICK_S

FOREVER = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskGroup:
    """``tasks`` tasks that ask for the same; each runs in a container of its own."""

    resources: Resources
    #: Seconds that each runs: one number for all, or one for each.
    run_s: tuple[float, ...]
    tasks: int = 1
    gpu_model: str | None = None
    #: Lower is more urgent within the job.
    priority: int = 0
    #: Where it would like to run: a node's id; "" iff anywhere.
    host: str = ""
    #: Expression on attributes of its nodes, "" iff any will do, and their node label.
    constraint: str = ""
    node_label: str = ""

    def __post_init__(self) -> None:
        if self.tasks < 1:
            raise InvalidInput(f"must be at least 1: {self.tasks}", field="tasks")
        if len(self.run_s) not in (1, self.tasks):
            raise InvalidInput(f"{len(self.run_s)} run times for {self.tasks} tasks", field="run_s")
        for run_s in self.run_s:
            if not run_s >= 0:
                raise InvalidInput(f"cannot be negative: {run_s}", field="run_s")
        if any(amount < 0 for _, amount in self.resources.items()) or not self.resources:
            raise InvalidInput(f"must ask for something: {self.resources}", field="resources")
        gpus = self.resources.gpus_milli
        if gpus > 1000 and gpus % 1000:
            raise InvalidInput(f"a fraction of a GPU lies on one device: {gpus / 1000:g}", field="gpus")

    def run_of(self, number: int) -> float:
        """Of the task with this number, from 0."""
        return self.run_s[number if len(self.run_s) > 1 else 0]

    @property
    def longest_s(self) -> float:
        return max(self.run_s)

    @property
    def total_s(self) -> float:
        """Of all its tasks together."""
        return sum(self.run_s) if len(self.run_s) > 1 else self.run_s[0] * self.tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A task that runs already when the simulation begins."""

    #: Position of its group in the job; there it counts as one of the first.
    group: int
    node_id: str
    device_ids: tuple[str, ...] = ()
    #: For how long already; what its group says it runs begins with that.
    ran_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One submission."""

    name: str
    submit_s: float
    groups: tuple[TaskGroup, ...]
    queue: str = DEFAULT_QUEUE
    user: str = "user"
    #: Higher runs first within a fifo queue.
    priority: int = 0
    #: How often its tasks save their work; None iff never: then a task that is interrupted begins anew.
    checkpoint_s: float | None = None
    #: Only of a job that was submitted at 0.
    running: tuple[Running, ...] = ()
    #: True iff its tasks are one gang: they begin together, and one that is interrupted interrupts the others.
    gang: bool = False
    #: Of a gang: tasks on one node at most; None iff any number.
    tasks_per_node: int | None = None
    #: True iff it runs on what others leave, and ends as soon as those want it.
    opportunistic: bool = False

    def __post_init__(self) -> None:
        if not self.submit_s >= 0 or math.isinf(self.submit_s):
            raise InvalidInput(f"must be zero or more: {self.submit_s}", field="submit_s")
        if self.checkpoint_s is not None and not self.checkpoint_s > 0:
            raise InvalidInput(f"must be above zero: {self.checkpoint_s}", field="checkpoint_s")
        if not self.groups:
            raise InvalidInput("has no tasks", field="groups")
        if self.running and self.submit_s:
            raise InvalidInput("runs before it is submitted", field="submit_s")
        if self.gang and (self.running or any(group.host for group in self.groups)):
            raise InvalidInput("begins together, wherever there is room", field="gang")

    @property
    def tasks(self) -> int:
        return sum(group.tasks for group in self.groups)


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """A node is gone for a while: what runs there is lost, and it comes back empty."""

    at_s: float
    node_id: str
    down_s: float


@dataclass(frozen=True, slots=True, order=True)
class Move:
    """Somebody moves a job to another queue. Nothing happens where it is not there, or the queue does not take it."""

    at_s: float
    #: Name of the job.
    job: str
    queue: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """All that a simulation needs; two runs of one workload are equal."""

    name: str
    root: QueueSpec
    nodes: tuple[NodeSpec, ...]
    #: In order of their submission.
    jobs: tuple[Job, ...]
    faults: tuple[Fault, ...] = ()
    moves: tuple[Move, ...] = ()
    #: Ids of nodes that take nothing new; what runs there goes on.
    closed: tuple[str, ...] = ()
    options: SchedulerOptions = field(default_factory=SchedulerOptions)
    #: How often it is looked who is starved; None iff never.
    preempt_every_s: float | None = None
    #: How often nodes heartbeat. Only where requests wait for a place they would like does it matter.
    heartbeat_s: float = 1.0

    def __post_init__(self) -> None:
        if not self.nodes:
            raise InvalidInput("has no nodes", field="nodes", next_step="say how many, or give a file of nodes")
        for name, every_s in (("preempt_every_s", self.preempt_every_s), ("heartbeat_s", self.heartbeat_s)):
            if every_s is not None and not every_s > 0:
                raise InvalidInput(f"must be above zero: {every_s}", field=name)
        leaves = {path for path, spec in self.root.walk() if not spec.children}
        for job in self.jobs:
            if canonical_path(job.queue) not in leaves:
                raise InvalidInput(
                    f"{job.name} goes to {job.queue!r}, which is no leaf queue",
                    field="queue",
                    next_step=f"use one of: {', '.join(sorted(leaves)[:20])}",
                )

    @property
    def total(self) -> Resources:
        """Of all nodes together."""
        total = Resources()
        for node in self.nodes:
            total += node.total
        return total


def rounds_of(root: QueueSpec, options: SchedulerOptions) -> float | None:
    """How often a server with this configuration looks who is starved; None where nobody ever could be."""
    timeouts = [
        timeout_s
        for _, spec in root.walk()
        for timeout_s in (spec.fair_share_preemption_timeout_s, spec.min_share_preemption_timeout_s)
        if timeout_s is not None
    ]
    return TICK_S if options.preemption and any(math.isfinite(timeout_s) for timeout_s in timeouts) else None


def queues_of(jobs: Iterable[Job], policy: Policy = Policy.DRF) -> QueueSpec:
    """A tree with a queue for each path that the jobs name, all of equal weight. Raises InvalidInput."""
    return _tree(ROOT, {canonical_path(job.queue) for job in jobs} or {DEFAULT_QUEUE}, policy)


def _tree(name: str, paths: set[str], policy: Policy) -> QueueSpec:
    below: dict[str, set[str]] = {}
    for path in sorted(paths):
        first, _, rest = path.partition(".")
        below.setdefault(first, set())
        if rest:
            below[first].add(rest)
    children = tuple(
        _tree(child, rest, policy) if rest else QueueSpec(name=child, policy=policy) for child, rest in below.items()
    )
    return QueueSpec(name=name, policy=Policy.DRF if policy is Policy.FIFO else policy, children=children)


def in_order(jobs: Iterable[Job]) -> tuple[Job, ...]:
    """By time of submission; those of one time as they were given."""
    return tuple(sorted(jobs, key=lambda job: job.submit_s))


def make_workload(
    name: str,
    nodes: tuple[NodeSpec, ...],
    jobs: tuple[Job, ...],
    *,
    root: QueueSpec | None = None,
    options: SchedulerOptions | None = None,
    queue: str | None = None,
    policy: Policy = Policy.DRF,
    closed: tuple[str, ...] = (),
) -> Workload:
    """Jobs that come from somewhere, on a configuration that does; without ``root`` the queues that they name.

    ``queue``: all go there. Raises InvalidInput where a job's queue is not there.
    """
    if queue is not None:
        jobs = tuple(replace(job, queue=queue) for job in jobs)
    root = root or queues_of(jobs, policy)
    options = options or SchedulerOptions()
    return Workload(
        name=name,
        root=root,
        nodes=nodes,
        jobs=jobs,
        closed=closed,
        options=options,
        preempt_every_s=rounds_of(root, options),
    )
