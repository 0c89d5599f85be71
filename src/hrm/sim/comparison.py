"""Compares placement strategies on lists of tasks, over several seeds, beside what others have published."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hrm.model.nodes import NodeSpec
from hrm.model.scheduling import Strategy
from hrm.sim.fragmentation import FragmentationResult, FragmentationRun
from hrm.sim.published import published_allocation
from hrm.sim.traces.openb import Pod

#: Called with how much is done and how much there is.
Tell = Callable[[float, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One strategy on one list of tasks: the mean of its runs, beside what was published."""

    pods: str
    placement: str
    load: float
    #: How many runs; fewer than were wanted iff ``partial``.
    seeds: int
    partial: bool
    gpu_allocation_percent: float
    #: Of the runs' allocations, their standard deviation.
    deviation: float
    #: None where nothing was published.
    published_percent: float | None
    difference: float | None
    gpu_allocation_percent_at_100: float
    fragmented_percent: float
    tasks: float
    failed: float
    #: Of the runs: the longest, and the mean of what they cost one core.
    wall_s: float
    cpu_s: float


def compare(
    nodes: Sequence[NodeSpec],
    lists: Mapping[str, Sequence[Pod]],
    *,
    load: float,
    seeds: Sequence[int],
    progress: Tell = lambda done, total: None,
) -> list[Line]:
    """Each built-in strategy on each list, by its name. Ctrl-C ends it with the runs until then.

    Raises InvalidInput.
    """
    wanted = [(name, strategy) for name in lists for strategy in Strategy]
    total = len(wanted) * len(seeds)
    lines: list[Line] = []
    for number, (name, strategy) in enumerate(wanted):
        results: list[FragmentationResult] = []
        for seed in seeds:
            run = FragmentationRun(nodes, lists[name], placement=strategy, load=load, seed=seed)
            results.append(run.run(_part_of(progress, number * len(seeds) + len(results), total)))
            if results[-1].partial:
                break
        lines.append(_line(name, results))
        if lines[-1].partial:
            break
    return lines


def _part_of(tell: Tell, done: int, total: int) -> Tell:
    """For the run after ``done`` of ``total`` runs."""
    return lambda tasks, all_tasks: tell(done + tasks / all_tasks, total)


def _line(name: str, results: Sequence[FragmentationResult]) -> Line:
    # One that was broken off says nothing beside others that were not.
    whole = [result for result in results if not result.partial] or list(results)
    first, partial = results[0], results[-1].partial
    allocation = statistics.fmean(result.gpu_allocation_percent for result in whole)
    published = None if first.partial else published_allocation(name, first.placement, first.load)

    def mean(figure: str) -> float:
        return round(statistics.fmean(getattr(result, figure) for result in whole), 3)

    return Line(
        pods=name,
        placement=str(first.placement),
        load=first.load,
        seeds=len(whole),
        partial=partial,
        gpu_allocation_percent=round(allocation, 3),
        deviation=round(statistics.pstdev(result.gpu_allocation_percent for result in whole), 3),
        published_percent=published,
        difference=None if published is None else round(allocation - published, 3),
        gpu_allocation_percent_at_100=mean("gpu_allocation_percent_at_100"),
        fragmented_percent=mean("fragmented_percent"),
        tasks=mean("tasks"),
        failed=mean("failed"),
        wall_s=max(result.wall_s for result in whole),
        cpu_s=mean("cpu_s"),
    )
