"""Killing: waiting, running, ended, twice, and while the disk is slow."""

from __future__ import annotations

import asyncio

import pytest

from hrm.model.errors import NotFound
from hrm.model.states import ApplicationState
from hrm.testing.lives import Lives, tasks


async def test_killing_what_waits_ends_it_at_once(lives: Lives) -> None:
    life = await lives.begin(nodes=False)
    app = await life.submit(tasks(count=3))
    await life.service.kill(app, by="ada")
    report = await life.ended(app)
    assert (report.state, report.tasks_killed, report.exit_code) == (ApplicationState.KILLED, 3, 143)
    assert report.message == "killed by ada"
    assert [(task.state, task.message) for task in await life.service.tasks(app)] == [("KILLED", "never began")] * 3


async def test_killing_what_runs_stops_it_and_starts_nothing_more(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(count=6))
    await life.settle()
    assert len(life.engine.running()) == 4
    await life.service.kill(app, by="ada", message="wrong data")
    report = await life.ended(app)
    assert (report.state, report.message, report.tasks_killed) == (ApplicationState.KILLED, "wrong data", 6)
    assert life.engine.running() == []
    assert len(life.launched()) == 4
    attempts = await life.service.history(app)
    assert [(one.state, one.message, one.exit_code) for one in attempts] == [("KILLED", "wrong data", 143)] * 4


async def test_a_task_that_ignores_the_signal_is_killed_after_the_grace(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks("sh", "-c", "trap '' TERM; sleep 1000000"))
    await life.settle()
    await life.service.kill(app, by="ada")
    await life.settle()
    assert (await life.service.application(app)).state is ApplicationState.RUNNING
    await life.pass_time(30)
    report = await life.ended(app)
    assert (report.state, report.exit_code) == (ApplicationState.KILLED, 137)


async def test_killing_twice_is_killing_once(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks("sh", "-c", "trap '' TERM; sleep 1000000"))
    await life.settle()
    await life.service.kill(app, by="ada", message="first")
    await life.service.kill(app, by="bob", message="second")
    await life.pass_time(30)
    assert (await life.ended(app)).message == "first"
    kinds = [event.kind for event in await life.store.events()]
    assert kinds.count("application_kill_requested") == 1


async def test_killing_what_has_ended_changes_nothing(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks("true"))
    before = await life.ended(app)
    await life.service.kill(app, by="ada")
    assert await life.service.application(app) == before


async def test_killing_what_never_was_is_an_error(lives: Lives) -> None:
    life = await lives.begin()
    with pytest.raises(NotFound, match="no application application_1_0007"):
        await life.service.kill("application_1_0007", by="ada")


async def test_a_kill_is_answered_only_after_it_is_on_disk(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit()
    await life.settle()
    life.disk.hold()
    killing = asyncio.create_task(life.service.kill(app, by="ada"))
    await life.held()
    assert not killing.done()
    assert len(life.engine.running()) == 1
    life.disk.let_go()
    await killing
    assert (await life.ended(app)).state is ApplicationState.KILLED


async def test_killed_before_its_launch_was_told_it_does_not_run_on(lives: Lives) -> None:
    life = await lives.begin()
    life.engine.hold_reports()
    app = await life.submit()
    await life.settle()
    await life.service.kill(app, by="ada")
    life.engine.release_reports()
    assert (await life.ended(app)).state is ApplicationState.KILLED
    assert life.engine.running() == []


async def test_room_that_a_kill_makes_is_used_at_once(lives: Lives) -> None:
    life = await lives.begin()
    first = await life.submit(tasks(count=4))
    second = await life.submit(tasks(count=4))
    await life.settle()
    assert await life.states(second) == ["PENDING"] * 4
    await life.service.kill(first, by="ada")
    await life.settle()
    assert await life.states(second) == ["RUNNING"] * 4
