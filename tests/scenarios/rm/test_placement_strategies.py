"""The ResourceManager with a placement strategy: its visits come as ever, and containers go where the strategy says."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.core.applications import Shape
from hrm.core.nodes import Node
from hrm.core.strategies import BUILT_IN, PlacementStrategy, Score
from hrm.model.scheduling import SchedulerOptions
from hrm.testing.builders import node, queue, queues
from hrm.testing.lives import Life, Lives, tasks


@pytest.fixture
def three(tmp_path: Path) -> Lives:
    return Lives(tmp_path, [node(name, cpus=4, memory="8G") for name in ("n1", "n2", "n3")])


def spread(life: Life) -> list[int]:
    """How many containers run on n1, n2 and n3."""
    where = [report.node_id for report in life.service.containers()]
    return [where.count(name) for name in ("n1", "n2", "n3")]


async def choose(life: Life, strategy: str | None) -> None:
    await life.service.reload_queues(queues(queue("default")), options=SchedulerOptions(placement_strategy=strategy))


async def test_what_is_asked_for_at_once_is_spread_and_what_comes_later_as_well(three: Lives) -> None:
    async with three as lives:
        life = await lives.begin()
        await choose(life, "spread")
        await life.submit(tasks(count=6))
        await life.settle()
        assert spread(life) == [2, 2, 2]
        await life.submit(tasks(count=3))
        await life.settle()
        assert spread(life) == [3, 3, 3]


async def test_room_on_one_node_is_used_by_whoever_waits(three: Lives) -> None:
    async with three as lives:
        life = await lives.begin()
        await choose(life, "pack")
        app = await life.submit(tasks(count=14))
        await life.settle()
        assert spread(life) == [4, 4, 4]
        ending = [one.container_id for one in life.service.containers() if one.node_id == "n2"][:2]
        for container_id in ending:
            await life.finish(container_id)
        await life.settle()
        assert spread(life) == [4, 4, 4]
        assert (await life.service.application(app)).tasks_succeeded == 2


async def test_back_to_none_the_visited_node_is_filled_again(three: Lives) -> None:
    async with three as lives:
        life = await lives.begin()
        await choose(life, "spread")
        await life.submit(tasks(count=3))
        await life.settle()
        await choose(life, None)
        await life.submit(tasks(count=3))
        await life.settle()
        assert sorted(spread(life)) == [1, 1, 4]


async def test_one_that_raises_is_gone_without_and_status_and_event_log_say_so(three: Lives) -> None:
    class Broken(PlacementStrategy):
        def score(self, node: Node, shape: Shape) -> Score:
            raise RuntimeError("no sensor")

    async with three as lives:
        life = await lives.begin(strategies={**BUILT_IN, "own": Broken})
        await choose(life, "own")
        await life.submit(tasks(count=12))
        await life.settle()

        assert spread(life) == [4, 4, 4]
        assert life.service.server().strategy_trouble == "own: RuntimeError: no sensor"
        (failed,) = [row for row in await life.store.events() if row.kind == "placement_strategy_failed"]
        assert failed.detail == {"strategy": "own", "message": "RuntimeError: no sensor"}

        await choose(life, "spread")
        assert life.service.server().strategy_trouble == ""
