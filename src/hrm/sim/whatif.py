"""A live cluster as a workload: its nodes, its queues, what runs and waits there, and how long that will take.

Nobody knows run times beforehand. In this order: a task that tells its progress goes on at its pace; else it takes as
long as tasks of that name and user took so far (median); else one that waits as long as those of its application that
run already are thought to; else as long as it may (its time limit); else as long as any task took; else an hour longer.
How many were estimated in which way is told with the result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from statistics import median

from hrm.model.devices import DeviceState
from hrm.model.errors import InvalidInput
from hrm.model.nodes import DeviceSpec, NodeSpec
from hrm.model.queues import ROOT, Policy, QueueSpec
from hrm.model.reports import NodeReport, QueueReport, TaskAttemptReport, WorkReport
from hrm.model.resources import Resources
from hrm.model.states import NodeState
from hrm.sim.generate import make_node
from hrm.sim.traces.history import Attempt, jobs_of
from hrm.sim.workload import Job, Running, TaskGroup

GUESS_S = 3600.0
#: What tasks of one group have in common: what they ask for, of which model of GPU, and how urgent they are.
#: Amounts, model of GPU, priority, constraint and node label.
_Kind = tuple[Resources, str | None, int, str, str]


class Source(StrEnum):
    """What a run time was estimated from."""

    PROGRESS = "progress"
    HISTORY = "history"
    SIBLINGS = "siblings"
    TIME_LIMIT = "time_limit"
    ALL_HISTORY = "all_history"
    GUESS = "guess"


@dataclass(slots=True)
class Estimator:
    """Knows how long tasks took, and counts what it was asked."""

    #: By (user, name), and of all; seconds.
    took_s: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    all_s: list[float] = field(default_factory=list)
    used: Counter[Source] = field(default_factory=Counter)

    @classmethod
    def of(cls, history: Iterable[TaskAttemptReport]) -> Estimator:
        estimator = cls()
        for attempt in history:
            if attempt.started_at is not None and attempt.ended_at is not None and attempt.exit_code == 0:
                took_s = max(attempt.ended_at - attempt.started_at, 0.0)
                estimator.took_s.setdefault((attempt.user, attempt.name), []).append(took_s)
                estimator.all_s.append(took_s)
        return estimator

    def run_s(
        self,
        work: WorkReport,
        timeout_s: float | None,
        *,
        ran_s: float = 0.0,
        progress: float | None = None,
        siblings_s: Sequence[float] = (),
        tasks: int = 1,
    ) -> float:
        """From beginning to end, of ``tasks`` tasks that have run for ``ran_s``; ``siblings_s`` were estimated so."""
        source, run_s = self._estimate(work, timeout_s, ran_s, progress, siblings_s)
        self.used[source] += tasks
        return run_s

    def _estimate(
        self,
        work: WorkReport,
        timeout_s: float | None,
        ran_s: float,
        progress: float | None,
        siblings_s: Sequence[float],
    ) -> tuple[Source, float]:
        if progress and ran_s:
            return Source.PROGRESS, max(ran_s / min(progress, 1.0), ran_s)
        # One that has run longer already is no longer like the others.
        alike = [took_s for took_s in self.took_s.get((work.user, work.name), ()) if took_s > ran_s]
        if alike:
            return Source.HISTORY, median(alike)
        if siblings_s:
            return Source.SIBLINGS, median(siblings_s)
        if timeout_s is not None:
            return Source.TIME_LIMIT, max(timeout_s, ran_s)
        longer = [took_s for took_s in self.all_s if took_s > ran_s]
        if longer:
            return Source.ALL_HISTORY, median(longer)
        return Source.GUESS, ran_s + GUESS_S


def live_jobs(
    work: Sequence[WorkReport], estimator: Estimator, nodes: Iterable[NodeSpec], now: float
) -> tuple[Job, ...]:
    """What runs goes on where it is; the rest waits, from 0 on, in the order of submission."""
    there = {node.node_id for node in nodes}
    found = []
    for one in work:
        tasks: dict[_Kind, list[float]] = {}
        running: list[tuple[_Kind, Running]] = []
        for held in one.holding:
            kind: _Kind = (Resources.of(held.resources), None, 0, "", "")
            ran_s = max(now - held.since, 0.0)
            run_s = estimator.run_s(one, held.timeout_s, ran_s=ran_s, progress=held.progress)
            times = tasks.setdefault(kind, [])
            if held.node_id in there:
                # Those that run are the first of their group.
                times.insert(sum(other == kind for other, _ in running), run_s)
                running.append(
                    (kind, Running(group=0, node_id=held.node_id, device_ids=tuple(held.device_ids), ran_s=ran_s))
                )
            else:
                times.append(run_s)
        siblings_s = [run_s for times in tasks.values() for run_s in times]
        for waiting in one.waiting:
            asked = Resources.of(waiting.resources)
            kind = (asked, waiting.gpu_model, waiting.priority, waiting.constraint, waiting.node_label)
            run_s = estimator.run_s(one, waiting.timeout_s, siblings_s=siblings_s, tasks=waiting.containers)
            tasks.setdefault(kind, []).extend([run_s] * waiting.containers)
        kinds = list(tasks)
        if kinds:
            found.append(
                Job(
                    name=one.application_id,
                    submit_s=0.0,
                    groups=tuple(_group(kind, tasks[kind]) for kind in kinds),
                    queue=one.queue,
                    user=one.user,
                    priority=one.priority,
                    running=tuple(replace(task, group=kinds.index(kind)) for kind, task in running),
                    opportunistic=one.opportunistic,
                )
            )
    return tuple(found)


def _group(kind: _Kind, times: list[float]) -> TaskGroup:
    resources, gpu_model, priority, constraint, node_label = kind
    return TaskGroup(
        resources=resources,
        run_s=tuple(times),
        tasks=len(times),
        gpu_model=gpu_model,
        priority=priority,
        constraint=constraint,
        node_label=node_label,
    )


def past_jobs(history: Iterable[TaskAttemptReport], submitted: dict[str, float]) -> tuple[Job, ...]:
    """What ran, at the distances in time at which it was submitted."""
    return jobs_of(
        Attempt(
            application_id=one.application_id,
            user=one.user,
            queue=one.queue,
            submitted_at=submitted.get(one.application_id, one.allocated_at),
            task_index=one.task_index,
            attempt=one.attempt,
            resources=Resources.of(one.resources),
            allocated_at=one.allocated_at,
            started_at=one.started_at,
            ended_at=one.ended_at,
        )
        for one in history
    )


def live_nodes(reports: Iterable[NodeReport]) -> tuple[NodeSpec, ...]:
    """Those that are there, each with the devices that it lends. Raises InvalidInput where there are none."""
    found = tuple(_node(report) for report in reports if report.state is not NodeState.LOST)
    if not found:
        raise InvalidInput("the cluster has no nodes now", next_step="`hrm nodes` says why")
    return found


def closed_nodes(reports: Iterable[NodeReport]) -> tuple[str, ...]:
    """Those that take nothing new: drained and unhealthy ones."""
    return tuple(report.node_id for report in reports if report.state in (NodeState.DRAINING, NodeState.UNHEALTHY))


def _node(report: NodeReport) -> NodeSpec:
    devices = tuple(
        DeviceSpec(device_id=device.device_id, index=device.index, model=device.model, virtual=device.virtual)
        for device in report.devices
        if device.state is DeviceState.LENT
    )
    total = replace(Resources.of(report.total), gpus_milli=1000 * len(devices))
    return NodeSpec(
        node_id=report.node_id,
        total=total,
        devices=devices,
        rack=report.rack,
        label=report.label,
        exclusive=report.exclusive,
    ).with_attributes(report.attributes)


def live_queues(reports: Sequence[QueueReport]) -> QueueSpec:
    """The tree as the server tells it: weights, limits and policies, but no timeouts of preemption."""
    children: dict[str, list[QueueReport]] = {}
    for report in reports:
        if report.parent is not None:
            children.setdefault(report.parent, []).append(report)
    root = next(report for report in reports if report.parent is None)

    def build(report: QueueReport) -> QueueSpec:
        return QueueSpec(
            name=report.name.rpartition(".")[2],
            weight=report.weight,
            min_share=Resources.of(report.min_share),
            max_share=None if report.max_share is None else Resources.of(report.max_share),
            max_running_apps=report.max_running_apps,
            policy=Policy(report.policy),
            children=tuple(build(child) for child in children.get(report.name, ())),
        )

    return replace(build(root), name=ROOT)


def with_queues_of(root: QueueSpec, reports: Sequence[QueueReport]) -> QueueSpec:
    """The tree that is declared, and what the server has besides: queues that a rule made, and those that drain."""
    return _joined(root, live_queues(reports))


def _joined(declared: QueueSpec, live: QueueSpec) -> QueueSpec:
    below = {child.name: child for child in live.children}
    children = [_joined(child, below.pop(child.name)) if child.name in below else child for child in declared.children]
    return replace(declared, children=(*children, *below.values()))


def more_nodes(nodes: Sequence[NodeSpec], wanted: str) -> tuple[NodeSpec, ...]:
    """``3``: so many more like the largest; ``3:cpus=64,memory=256G,gpus=8,model=A100``: of that size.

    Raises InvalidInput.
    """
    count, _, size = wanted.partition(":")
    if not count.isdigit() or not 0 < int(count) <= 100_000:
        raise InvalidInput(
            f"not a number of nodes: {count!r:.40}",
            field="--add-nodes",
            next_step="write for example 3, or 3:cpus=64,memory=256G,gpus=8",
        )
    if size:
        words = dict(part.partition("=")[::2] for part in size.split(","))
        if unknown := words.keys() - {"cpus", "memory", "gpus", "model"}:
            raise InvalidInput(
                f"unknown: {', '.join(sorted(unknown))}", field="--add-nodes", next_step="say cpus, memory, gpus, model"
            )
        total = Resources.parse(
            cpus=words.get("cpus", "0"), memory=words.get("memory", "0"), gpus=words.get("gpus", "0")
        )
        model = words.get("model", "GPU")
    else:
        largest = max(nodes, key=lambda node: (node.total.gpus_milli, node.total.memory_mib, node.total.vcores_milli))
        total, model = largest.total, largest.devices[0].model if largest.devices else "GPU"
    return (*nodes, *(make_node(f"added{number}", total, model) for number in range(int(count))))
