"""What a simulation came to, worked out from what was recorded. Equal runs have equal reports."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hrm.core.fragmentation import Fragmentation
from hrm.core.mix import typical_of
from hrm.model.resources import Resources
from hrm.model.units import format_duration
from hrm.sim.applications import App
from hrm.sim.recorder import Recorder, Sample, usual_tasks
from hrm.sim.simulation import Simulation

#: Jobs named one by one where something is wrong with them.
MAX_NAMED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Of many values, in seconds unless said otherwise; not a number where there are none."""

    mean: float
    p50: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueResult:
    """One leaf queue."""

    queue: str
    jobs: int
    finished: int
    #: Its largest part of the cluster of any resource, over time, and what was due to it.
    share: float
    fair_share: float
    wait_s: Spread
    completion_s: Spread
    preempted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A job that was refused, or still waits at the end."""

    job: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationReport:
    """One simulation."""

    workload: str
    #: True iff it was broken off; what follows is what had happened until then.
    partial: bool
    nodes: int
    jobs: int
    finished: int
    #: Submitted, and not over at the end.
    unfinished: int
    #: With a request that no node could hold.
    refused: int
    allocations: int
    #: Containers that were to end for others, and those that did; that were lost with their nodes.
    warned: int
    preempted: int
    lost: int
    #: Virtual time in all, seconds.
    makespan_s: float
    #: Part of what there was, over time, by resource; at the end.
    utilisation: dict[str, float]
    allocated_at_end: dict[str, float]
    #: Part of all GPUs: idle at the end, and of no use to the usual tasks (Weng et al., ATC'23).
    fragmented_at_end: float
    #: Of tasks, from submission (or interruption) to their start.
    wait_s: Spread
    #: Of jobs, from submission to their end.
    completion_s: Spread
    #: Completion against that in a cluster of its own of 1/N the size, N jobs at once (Mahajan et al., NSDI'20).
    finish_time_fairness: Spread
    #: Of queues' shares against fair shares: 1 iff all get the same part of theirs (Jain et al., 1984).
    jain_index: float
    queues: list[QueueResult]
    problems: list[Problem]
    #: Of all decisions: equal iff they are.
    digest: str


def make_report(simulation: Simulation) -> SimulationReport:
    """Of a simulation that has run. Changes nothing."""
    recorder, apps = simulation.recorder, simulation.apps
    arrived = [app for app in apps if not math.isnan(app.company_s) and app.job.submit_s <= recorder.now]
    finished = [app for app in arrived if not math.isnan(app.ended_at)]
    total = simulation.workload.total
    queues = list(_queues(simulation, arrived))
    return SimulationReport(
        workload=simulation.workload.name,
        partial=simulation.interrupted,
        nodes=len(simulation.workload.nodes),
        jobs=len(apps) + len(simulation.refused),
        finished=len(finished),
        unfinished=len(apps) - len(finished),
        refused=len(simulation.refused),
        allocations=len(recorder.grants),
        warned=simulation.warned,
        preempted=simulation.killed,
        lost=simulation.lost,
        makespan_s=recorder.now,
        utilisation=_by_resource(
            *(_ratio(used, there) for used, there in zip(recorder.used, recorder.there, strict=True))
        ),
        allocated_at_end=_at_end(recorder.samples),
        fragmented_at_end=recorder.fragmented(Fragmentation(typical_of(usual_tasks(simulation.workload.jobs)))),
        wait_s=spread(recorder.grants.waited_s),
        completion_s=spread([app.ended_at - app.job.submit_s for app in finished]),
        finish_time_fairness=spread([_finish_time_fairness(app, total) for app in finished]),
        jain_index=jain_index([queue.share / queue.fair_share for queue in queues if queue.fair_share > 0]),
        queues=queues,
        problems=list(_problems(simulation, arrived)),
        digest=recorder.digest(),
    )


def spread(values: Sequence[float]) -> Spread:
    """Nearest ranks."""
    if not len(values):
        return Spread(mean=math.nan, p50=math.nan, p99=math.nan, max=math.nan)
    ordered = sorted(values)
    return Spread(
        mean=math.fsum(ordered) / len(ordered),
        p50=_percentile(ordered, 50),
        p99=_percentile(ordered, 99),
        max=ordered[-1],
    )


def jain_index(values: Sequence[float]) -> float:
    """(Σx)² / (n Σx²): from 1/n (one has it all) to 1 (all have the same). Not a number for none."""
    squares = math.fsum(value * value for value in values)
    return math.fsum(values) ** 2 / (len(values) * squares) if squares else math.nan


def mean_shares(samples: Sequence[Sample], end_at: float) -> tuple[list[float], list[float]]:
    """Each queue's share and fair share over time; at the last moment where no time has passed."""
    if not samples:
        return [], []
    ends = [*(sample.at for sample in samples[1:]), end_at]
    weights = [end - sample.at for sample, end in zip(samples, ends, strict=True)]
    if not sum(weights):
        weights = [*([0.0] * (len(samples) - 1)), 1.0]
    whole = math.fsum(weights)
    shares, fair = [], []
    for number in range(len(samples[0].queue_shares)):
        shares.append(math.fsum(s.queue_shares[number] * w for s, w in zip(samples, weights, strict=True)) / whole)
        fair.append(math.fsum(s.fair_shares[number] * w for s, w in zip(samples, weights, strict=True)) / whole)
    return shares, fair


def _queues(simulation: Simulation, arrived: list[App]) -> Iterator[QueueResult]:
    recorder = simulation.recorder
    shares, fair_shares = mean_shares(recorder.samples, recorder.now)
    waits: dict[str, array[float]] = {queue: array("d") for queue in recorder.queues}
    of_app = [simulation.apps[number].job.queue.removeprefix("root.") for number in range(len(simulation.apps))]
    for app, waited_s in zip(recorder.grants.app, recorder.grants.waited_s, strict=True):
        waits[of_app[app]].append(waited_s)
    jobs: dict[str, list[App]] = {queue: [] for queue in recorder.queues}
    for one in arrived:
        jobs[of_app[one.index]].append(one)
    for number, queue in enumerate(recorder.queues):
        over = [app for app in jobs[queue] if not math.isnan(app.ended_at)]
        yield QueueResult(
            queue=queue,
            jobs=len(jobs[queue]),
            finished=len(over),
            share=shares[number] if shares else math.nan,
            fair_share=fair_shares[number] if fair_shares else math.nan,
            wait_s=spread(waits[queue]),
            completion_s=spread([app.ended_at - app.job.submit_s for app in over]),
            preempted=sum(app.preempted for app in jobs[queue]),
        )


def _finish_time_fairness(app: App, total: Resources) -> float:
    took_s = app.ended_at - app.job.submit_s
    others = max(app.company_s / took_s, 1.0) if took_s > 0 else 1.0
    work: dict[str, float] = {}
    for group in app.job.groups:
        for name, amount in group.resources.items():
            work[name] = work.get(name, 0.0) + amount * group.total_s
    alone_s = max(_ratio(amount, total.get(name)) for name, amount in work.items()) * others
    ideal_s = max(alone_s, max(group.longest_s for group in app.job.groups))
    return took_s / ideal_s if ideal_s > 0 else 1.0


def _problems(simulation: Simulation, arrived: list[App]) -> Iterator[Problem]:
    largest = max(
        (node.total for node in simulation.workload.nodes), key=lambda total: total.dominant_share(total + total)
    )
    for job in simulation.refused[:MAX_NAMED]:
        asked = "; ".join(str(group.resources) + _model(group.gpu_model) for group in job.groups)
        message = f"no node could hold {asked}, were it empty; the largest has {largest}"
        yield Problem(job=job.name, reason="never_fits", message=message)
    waiting = [app for app in arrived if math.isnan(app.ended_at) and app.pending()]
    for app in waiting[:MAX_NAMED] if not simulation.interrupted else ():
        said = simulation.scheduler.explain(app.application_id)
        since = format_duration(simulation.now - app.job.submit_s)
        yield Problem(job=app.job.name, reason=said.reason, message=f"{said.message} (waits for {since})")


def _model(glob: str | None) -> str:
    return "" if glob is None else f" of {glob}"


def _by_resource(memory: float, vcores: float, gpus: float) -> dict[str, float]:
    return {"memory": memory, "vcores": vcores, "gpus": gpus}


def _at_end(samples: Sequence[Sample]) -> dict[str, float]:
    return _by_resource(samples[-1].memory, samples[-1].vcores, samples[-1].gpus) if samples else {}


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _percentile(ordered: Sequence[float], percent: int) -> float:
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


__all__ = [
    "Problem",
    "QueueResult",
    "Recorder",
    "SimulationReport",
    "Spread",
    "jain_index",
    "make_report",
    "mean_shares",
    "spread",
]
