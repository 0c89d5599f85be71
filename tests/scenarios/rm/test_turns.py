"""A turn hands the loop back, however much there is to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from hrm.model.containers import ContainerUsage, ExitReason, ExitRecord, NodeUsage, StartRecord
from hrm.model.states import ApplicationState, ContainerState
from hrm.rm import turn
from hrm.testing import eventually_async
from hrm.testing.builders import node
from hrm.testing.lives import Life, Lives, tasks

MANY = 10_000
#: A turn's time here. It is much shorter than in production, so that a fast machine, too, needs many turns.
BUDGET_S = 0.0005
#: Of `MANY` things in one step of the loop. In a turn 15 to 200 are granted, stopped or ended.
MOST_AT_ONCE = 1_000


@pytest.fixture
async def crowd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Life]:
    """A server on one wide node. What it costs to launch is the engine's matter: here nothing arrives."""
    monkeypatch.setattr(turn, "BUDGET_S", BUDGET_S)
    lives = Lives(tmp_path, [node("n1", cpus=MANY, memory="100T")])
    life = await lives.begin()
    life.engine.dead = True
    async with lives:
        yield life


async def steps(count: Callable[[], int], until: int) -> int:
    """Lets the loop run step by step until ``count()`` is ``until``; returns by how much it changed at most in one."""
    largest, before = 0, count()

    async def there() -> bool:
        nonlocal largest, before
        for _ in range(1000):
            now = count()
            largest, before = max(largest, abs(now - before)), now
            if now == until:
                return True
            await asyncio.sleep(0)
        return False

    await eventually_async(there, describe=f"{until} reached")
    return largest


async def granted(life: Life) -> str:
    app = await life.submit(tasks(count=MANY))
    await steps(lambda: len(life.manager.containers), until=MANY)
    await life.settle(timeout_s=60)
    return app


def in_state(life: Life, state: ContainerState) -> int:
    return sum(container.row.state is state for container in life.manager.containers.values())


async def test_many_grants_are_made_in_many_turns(crowd: Life) -> None:
    submitting = asyncio.create_task(crowd.submit(tasks(count=MANY)))
    assert await steps(lambda: len(crowd.manager.containers), until=MANY) < MOST_AT_ONCE
    app = await submitting
    assert (await crowd.service.application(app)).tasks_running == MANY


async def test_many_starts_and_ends_told_at_once_are_handled_in_many_turns(crowd: Life) -> None:
    app = await granted(crowd)
    names = list(crowd.manager.containers)
    crowd.listener.containers_started("n1", [StartRecord(container_id=name, pid=2, started_at=1.0) for name in names])
    assert await steps(lambda: in_state(crowd, ContainerState.RUNNING), until=MANY) < MOST_AT_ONCE
    crowd.listener.containers_finished(
        "n1",
        [
            ExitRecord(container_id=name, reason=ExitReason.EXITED, exit_code=0, started_at=1.0, ended_at=2.0)
            for name in names
        ],
    )
    assert await steps(lambda: len(crowd.manager.containers), until=0) < MOST_AT_ONCE
    assert (await crowd.ended(app)).tasks_succeeded == MANY


async def test_many_are_stopped_in_many_turns_and_the_kill_is_answered_before(crowd: Life) -> None:
    app = await granted(crowd)
    killing = asyncio.create_task(crowd.service.kill(app, by="ada"))
    assert await steps(lambda: in_state(crowd, ContainerState.STOPPING), until=MANY) < MOST_AT_ONCE
    await killing


async def test_a_lost_node_with_many_containers_is_given_up_in_many_turns(crowd: Life) -> None:
    app = await granted(crowd)
    crowd.listener.node_lost("n1", "it does not answer")
    assert await steps(lambda: len(crowd.manager.containers), until=0) < MOST_AT_ONCE
    await crowd.settle(timeout_s=60)
    assert (await crowd.service.application(app)).tasks_pending == MANY


async def test_a_heartbeat_of_many_containers_reaches_them_all(crowd: Life) -> None:
    app = await granted(crowd)
    crowd.listener.heartbeat(
        "n1",
        NodeUsage(memory_used_mib=0, cpu_milli=0, disk_free_mib=0),
        [
            ContainerUsage(
                container_id=name, memory_mib=1, cpu_milli=2, read_bytes=3, written_bytes=4, disk_mib=5, progress=0.5
            )
            for name in crowd.manager.containers
        ],
    )
    await crowd.settle()
    assert (await crowd.service.application(app)).progress == pytest.approx(0.5)


async def test_a_job_of_the_most_tasks_costs_nothing_before_they_begin(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(count=100_000, cpus=4))
    await life.settle()
    (live,) = life.manager.applications.values()
    assert list(live.master.begun) == [0]
    await life.service.kill(app, by="ada")
    report = await life.ended(app)
    assert (report.state, report.tasks_killed) == (ApplicationState.KILLED, 100_000)
    assert list(live.master.begun) == [0]
