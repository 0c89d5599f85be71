"""A disk that refuses, and a state that contradicts itself."""

from __future__ import annotations

import asyncio
import errno

import pytest

from hrm.core.events import NodeAdded
from hrm.model.errors import ClusterError, InvariantBroken, StoreError
from hrm.model.states import ApplicationState, ContainerState
from hrm.rm.turn import Turn
from hrm.testing import eventually_async
from hrm.testing.builders import node
from hrm.testing.lives import Lives, tasks

FULL = OSError(errno.ENOSPC, "no space left on device")


async def test_while_a_decision_cannot_be_written_nothing_is_launched_and_all_goes_on_afterwards(lives: Lives) -> None:
    life = await lives.begin(nodes=False)
    app = await life.submit(tasks("true", count=3))
    await life.settle()
    life.disk.fail(FULL)
    await life.join_nodes()
    await eventually_async(lambda: not life.store.healthy)
    assert life.launched() == []
    with pytest.raises(StoreError, match="no space left"):
        await life.submit()
    assert life.launched() == []
    assert "no space left on device" in life.service.server().store_trouble

    life.disk.recover()
    assert (await life.ended(app)).tasks_succeeded == 3
    assert life.service.server().store_trouble == ""
    assert not life.broken


async def test_ends_told_while_the_disk_is_full_are_acknowledged_when_it_is_not(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit()
    await life.settle()
    (name,) = life.containers()
    life.disk.fail(FULL)
    life.engine.finish(name, 3)
    await eventually_async(lambda: not life.store.healthy)
    assert life.engine.acknowledged == []
    life.disk.recover()
    assert (await life.ended(app)).exit_code == 3
    assert life.engine.acknowledged == [name]


@pytest.mark.parametrize("nth", range(1, 16))
async def test_whichever_write_fails_nothing_acknowledged_is_lost_or_doubled(lives: Lives, nth: int) -> None:
    life = await lives.begin()
    life.disk.fail_once(nth, FULL if nth % 2 else OSError(errno.EIO, "input/output error"))
    app = ""
    while not app:
        try:
            app = await life.submit(
                tasks("true", count=3), tasks("sh", "-c", "exit 2", name="bad", retries=1), submit_id="mine"
            )
        except StoreError:
            # Nothing of it was kept: to ask again makes no second one.
            assert await life.service.applications() == []
    report = await life.ended(app)
    assert (report.tasks_succeeded, report.tasks_failed) == (3, 1)
    assert len(await life.service.history(app)) == 5
    await life.kill()
    life = await lives.begin()
    assert await life.service.application(app) == report
    assert len(await life.service.history(app)) == 5
    assert life.launched() == []


async def test_what_was_decided_and_not_written_is_decided_anew_in_the_next_life(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit()
    await life.settle()
    (name,) = life.containers()
    life.disk.fail(FULL)
    life.engine.finish(name, 3)
    await eventually_async(lambda: not life.store.healthy)
    await life.kill()
    life = await lives.begin()
    assert (await life.ended(app)).exit_code == 3
    assert len(await life.service.history(app)) == 1


async def test_an_orderly_end_does_not_wait_for_a_full_disk_for_ever(
    lives: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hrm.rm.loop.CLOSE_PATIENCE_S", 0.05)
    life = await lives.begin()
    await life.submit()
    await life.settle()
    life.disk.fail(FULL)
    life.engine.finish(life.containers()[0], 0)
    killing = asyncio.create_task(life.service.kill((await life.service.applications())[0].application_id, by="ada"))
    await eventually_async(lambda: not life.store.healthy)
    await asyncio.wait_for(life.close(), 5)
    with pytest.raises(ClusterError, match="the server ends"):
        await killing


def contradict(turn: Turn) -> None:
    raise InvariantBroken("1 is 2")


async def test_a_turn_that_fails_stops_the_manager_and_writes_and_launches_nothing_of_it(lives: Lives) -> None:
    life = await lives.begin(nodes=False)
    app = await life.submit()
    await life.settle()
    # In one turn with what gives the job its container.
    await life.join_nodes()
    life.manager.post(contradict)
    await eventually_async(lambda: life.broken)
    await life.settle()
    assert life.launched() == []
    assert not life.manager.turns.is_open

    await life.kill()
    life = await lives.begin()
    assert len(life.launched()) == 1
    assert len(await life.service.history(app)) == 1


async def test_after_it_stopped_nobody_is_kept_waiting(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit()
    await life.settle()
    killing = asyncio.create_task(life.service.kill(app, by="ada"))
    await asyncio.sleep(0)
    life.manager.post(contradict)
    with pytest.raises(ClusterError, match="a turn failed"):
        await asyncio.wait_for(killing, 5)
    with pytest.raises(ClusterError):
        await asyncio.wait_for(life.service.kill(app, by="ada"), 5)


async def test_an_illegal_move_stops_the_manager_once(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit()
    await life.settle()
    live = next(iter(life.manager.applications.values()))

    def finish_twice(turn: Turn) -> None:
        live.move(ApplicationState.FINISHED)
        live.move(ApplicationState.FINISHED)

    stopped = []
    life.manager.turns._on_broken = lambda: stopped.append(True)
    life.manager.post(finish_twice)
    life.manager.post(contradict)
    await eventually_async(lambda: stopped)
    await life.kill()
    assert stopped == [True]
    life = await lives.begin()
    assert (await life.service.application(app)).state is ApplicationState.RUNNING


async def test_books_that_disagree_stop_the_manager(lives: Lives) -> None:
    life = await lives.begin()
    life.manager.post(life.manager.tell, NodeAdded(node("n1")))
    await eventually_async(lambda: life.broken)


async def test_an_engine_that_cannot_be_told_stops_the_manager_and_the_next_life_tries_again(
    lives: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = await lives.begin()

    def refuse(*_: object) -> None:
        raise RuntimeError("the engine is broken")

    monkeypatch.setattr(life.engine, "launch", refuse)
    app = await life.submit(tasks("true"))
    await eventually_async(lambda: life.broken)
    await life.kill()
    life = await lives.begin()
    report = await life.ended(app)
    assert report.state is ApplicationState.FINISHED
    assert [one.state for one in await life.service.history(app)] == ["LOST", "SUCCEEDED"]


async def test_every_state_shown_in_the_end_is_the_one_on_disk(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks("sh", "-c", "exit 2", count=3, retries=1))
    await life.ended(app)
    loaded = await life.store.load()
    assert loaded.applications == [] and loaded.orphans == []
    rows = await life.store.history()
    assert {one.row.state for one in rows} == {ContainerState.COMPLETED}
