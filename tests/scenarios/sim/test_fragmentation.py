"""Filling a small cluster until nothing more fits."""

from __future__ import annotations

import random

import pytest

from hrm.model.errors import InvalidInput
from hrm.model.nodes import NodeSpec
from hrm.model.resources import Resources
from hrm.model.scheduling import Strategy
from hrm.sim.comparison import compare
from hrm.sim.fragmentation import FragmentationResult, FragmentationRun, draw
from hrm.sim.published import published_allocation
from hrm.sim.traces.openb import Pod
from hrm.testing.builders import node


def pod(cpus: float, gpus: float) -> Pod:
    return Pod(name="a", resources=Resources.parse(cpus=cpus, memory="1M", gpus=gpus))


def fill(
    nodes: list[NodeSpec], pods: list[Pod], placement: str = "fgd", load: float = 1.3, seed: int = 1
) -> FragmentationResult:
    return FragmentationRun(nodes, pods, placement=placement, load=load, seed=seed).run()


#: A hundred tasks for a cluster of 48 GPUs.
SHAPES = ((3, 0.8), (11, 1), (4, 1), (12, 0.5), (8, 0.3), (24, 0), (40, 4))
MIXED = [pod(*random.Random(number).choice(SHAPES)) for number in range(100)]
CLUSTER = [
    node(f"n{number}", cpus=96 if number % 2 else 24, memory="64G", gpus=2 if number % 3 else 8) for number in range(12)
]


def test_tasks_that_fit_nowhere_have_failed_and_the_rest_is_counted_exactly() -> None:
    # 2 GPUs, 3.2 asked for: of four tasks of 0.8 two find a device, and 0.2 of each is left to nobody.
    result = fill([node("n1", cpus=8, gpus=2)], [pod(1, 0.8)], load=1.7)

    assert (result.tasks, result.failed) == (4, 2)
    assert result.gpu_allocation_percent == 80
    assert result.fragmented_percent == 20
    assert result.vcore_allocation_percent == 25
    # When no more than 2 had been asked for, two tasks had come.
    assert result.gpu_allocation_percent_at_100 == 80
    assert not result.partial


def test_without_vcores_idle_gpus_are_of_no_use() -> None:
    result = fill([node("n1", cpus=3, gpus=4)], [pod(1, 1)])

    assert (result.gpu_allocation_percent, result.fragmented_percent) == (75, 25)


def test_the_sequence_is_the_list_in_an_order_of_chance_then_more_of_it_up_to_the_load() -> None:
    pods = [Pod(name=str(number), resources=Resources(1, 1, 100)) for number in range(10)]

    names = [one.name for one in draw(pods, 1500, seed=3)]

    assert len(names) == 15
    assert sorted(names[:10]) == sorted(one.name for one in pods)
    assert names != [one.name for one in draw(pods, 1500, seed=4)]
    assert len(draw(pods, 450, seed=3)) == 4


def test_strategies_know_the_list_and_not_what_was_drawn_from_it() -> None:
    # Of the list a half asks for 0.6 and a half for 0.4; the seed decides which come first.
    pods = [pod(1, 0.6), pod(1, 0.4)] * 5
    results = [fill([node("n1", cpus=99, gpus=6)], pods, load=1.0, seed=seed) for seed in range(20)]

    # A 0.4 goes to where it leaves what others cannot use anyway, so most pairs make whole devices.
    assert sum(result.gpu_allocation_percent for result in results) / 20 > 90


@pytest.mark.parametrize("placement", Strategy)
def test_each_strategy_fills_the_cluster_the_same_way_each_time(placement: Strategy) -> None:
    first, second = (fill(CLUSTER, MIXED, placement, seed=5) for _ in range(2))

    assert 40 < first.gpu_allocation_percent <= 100
    assert (first.tasks, first.failed, first.gpu_allocation_percent, first.fragmented_percent) == (
        second.tasks,
        second.failed,
        second.gpu_allocation_percent,
        second.fragmented_percent,
    )


def test_looking_ahead_is_better_than_fgd_which_is_better_than_chance() -> None:
    figures = {line.placement: line for line in compare(CLUSTER, {"mixed": MIXED}, load=1.3, seeds=range(10))}

    assert figures["lookahead"].gpu_allocation_percent >= figures["fgd"].gpu_allocation_percent
    assert figures["fgd"].gpu_allocation_percent > figures["random"].gpu_allocation_percent + 1


def test_a_comparison_has_the_mean_of_the_seeds_beside_what_was_published() -> None:
    lines = compare(CLUSTER, {"openb_pod_list_default": MIXED, "others": MIXED}, load=1.3, seeds=(5, 6))
    runs = [fill(CLUSTER, MIXED, "fgd", seed=seed) for seed in (5, 6)]

    fgd = next(line for line in lines if (line.pods, line.placement) == ("openb_pod_list_default", "fgd"))
    assert fgd.gpu_allocation_percent == pytest.approx(sum(run.gpu_allocation_percent for run in runs) / 2, abs=0.001)
    assert (fgd.seeds, fgd.published_percent) == (2, 95.39)
    assert fgd.difference == pytest.approx(fgd.gpu_allocation_percent - 95.39, abs=0.001)
    assert [line.published_percent for line in lines if line.pods == "others"] == [None] * len(Strategy)
    assert published_allocation("openb_pod_list_default", "fgd", 1.0) is None


def test_what_is_interrupted_tells_what_there_is() -> None:
    def interrupt(done: float, total: float) -> None:
        raise KeyboardInterrupt

    run = FragmentationRun(CLUSTER, MIXED, placement="fgd", load=9.0, seed=1)

    result = run.run(interrupt)

    assert result.partial
    assert result.tasks == 200
    assert result.gpu_allocation_percent > 0


def test_a_comparison_that_is_interrupted_has_the_runs_until_then() -> None:
    def interrupt(done: float, total: float) -> None:
        if done >= 2:
            raise KeyboardInterrupt

    (line,) = compare(CLUSTER, {"mixed": MIXED}, load=9.0, seeds=range(5), progress=interrupt)

    assert (line.partial, line.seeds) == (True, 2)


@pytest.mark.parametrize(
    ("nodes", "pods", "load", "problem"),
    [
        (CLUSTER, MIXED, 0.0, "--load: must be above 0"),
        (CLUSTER, MIXED, float("nan"), "--load: must be above 0"),
        (CLUSTER, MIXED, 11.0, "at most 10"),
        ([node("n1")], MIXED, 1.3, "the nodes have no GPUs"),
        (CLUSTER, [pod(1, 0)], 1.3, "no task asks for a GPU"),
    ],
)
def test_what_would_have_no_end_or_no_sense_is_refused(nodes, pods, load: float, problem: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidInput, match=problem):
        fill(nodes, pods, load=load)


def test_a_strategy_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no such placement strategy: 'fdg'"):
        fill(CLUSTER, MIXED, "fdg")
