"""Jobs that say what they read: they would like to run where nodes have it on disks of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hrm.model.nodes import NodeSpec
from hrm.model.scheduling import SchedulerOptions
from hrm.testing.builders import node, queue, queues
from hrm.testing.lives import Life, Lives, tasks

SET, OTHER = "/scratch/set", "/scratch/other"
WAITING = SchedulerOptions(node_locality_threshold=1.0, rack_locality_threshold=1.0)


def holding(node_id: str, *paths: str) -> NodeSpec:
    return replace(node(node_id, cpus=4, memory="8G"), offers=tuple(f"local path {path}" for path in paths))


@pytest.fixture
def three(tmp_path: Path) -> Lives:
    lives = Lives(tmp_path, [holding("n1"), holding("n2", SET), holding("n3", OTHER)])
    lives.local_paths = (SET, OTHER)
    return lives


async def begin(lives: Lives, options: SchedulerOptions) -> Life:
    life = await lives.begin()
    await life.service.reload_queues(queues(queue("default")), options=options)
    return life


def nodes_of(life: Life) -> list[str]:
    return sorted(report.node_id for report in life.service.containers())


async def test_with_a_strategy_the_nodes_that_hold_the_input_come_first(three: Lives) -> None:
    async with three as lives:
        life = await begin(lives, SchedulerOptions(placement_strategy="spread"))

        await life.submit(tasks(count=5, inputs=(f"{SET}/part-1",)))
        await life.settle()

        assert (nodes_of(life).count("n2"), len(nodes_of(life))) == (4, 5)


async def test_with_delay_scheduling_a_task_waits_for_such_a_node_and_explain_says_so(three: Lives) -> None:
    async with three as lives:
        life = await begin(lives, WAITING)

        app = await life.submit(tasks(count=5, inputs=(SET,)))
        await life.settle()
        explained = await life.service.explain(app)

        assert nodes_of(life) == ["n2"] * 4
        assert explained.reason == "waits_for_locality"
        assert "would like to run on n2" in explained.message


async def test_it_takes_another_place_when_it_has_waited_long_enough(three: Lives) -> None:
    async with three as lives:
        life = await begin(lives, WAITING)
        await life.submit(tasks(count=5, inputs=(SET,)))
        await life.settle()

        for _ in range(10):
            for name in ("n1", "n3"):
                life.engine.beat(name)
            await life.settle()

        assert nodes_of(life).count("n2") == 4
        assert len(nodes_of(life)) == 5


async def test_a_node_that_comes_to_hold_the_input_is_as_good(three: Lives) -> None:
    async with three as lives:
        life = await begin(lives, WAITING)
        await life.submit(tasks(count=6, inputs=(SET,)))
        await life.settle()

        life.engine.change_node(holding("n1", SET))
        await life.settle()

        assert nodes_of(life) == ["n1", "n1", "n2", "n2", "n2", "n2"]


async def test_of_several_inputs_the_node_that_holds_most_is_liked_best(three: Lives) -> None:
    async with three as lives:
        life = await begin(lives, SchedulerOptions(placement_strategy="spread"))
        life.engine.change_node(holding("n3", SET, OTHER))
        await life.settle()

        await life.submit(tasks(count=3, inputs=(SET, OTHER)))
        await life.settle()

        assert nodes_of(life) == ["n3", "n3", "n3"]


@pytest.mark.parametrize("path", ["/elsewhere", "/scratch"])
async def test_what_no_node_is_known_to_hold_is_no_wish(three: Lives, path: str) -> None:
    async with three as lives:
        life = await begin(lives, WAITING)

        await life.submit(tasks(count=12, inputs=(path,)))
        await life.settle()

        assert nodes_of(life) == ["n1"] * 4 + ["n2"] * 4 + ["n3"] * 4
