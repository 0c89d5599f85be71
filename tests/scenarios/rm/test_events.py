"""Following what happens: live, from a point, of one application, and when one falls behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from hrm.model.errors import NotFound
from hrm.model.reports import EventReport
from hrm.testing.lives import Lives, tasks


async def take(events: AsyncIterator[EventReport], count: int) -> list[EventReport]:
    return [await asyncio.wait_for(anext(events), 10) for _ in range(count)]


async def test_what_happens_is_told_in_order_to_whoever_follows(lives: Lives) -> None:
    life = await lives.begin()
    following = life.service.events(after_seq=0)
    app = await life.submit(tasks("false"))
    await life.ended(app)
    told = await take(following, 5)
    assert [event.kind for event in told] == [
        "node_registered",
        "application_accepted",
        "application_running",
        "task_failed",
        "application_failed",
    ]
    assert [event.seq for event in told] == [1, 2, 3, 4, 5]
    assert told[0].node_id == "n1"
    assert [event.application_id for event in told[1:]] == [app] * 4
    assert told[3].container_id == life.launched()[0]
    assert told[3].detail == {"task_index": 0, "attempt": 1, "message": "exit code 1"}


async def test_a_follower_waits_for_what_has_not_happened_yet(lives: Lives) -> None:
    life = await lives.begin()
    following = life.service.events(after_seq=1)
    waiting = asyncio.create_task(take(following, 1))
    await life.settle()
    assert not waiting.done()
    await life.submit()
    assert (await waiting)[0].kind == "application_accepted"


async def test_nothing_is_told_before_it_is_on_disk(lives: Lives) -> None:
    life = await lives.begin()
    waiting = asyncio.create_task(take(life.service.events(after_seq=1), 1))
    life.disk.hold(after=1)
    await life.submit()
    await life.held()
    assert not waiting.done()
    life.disk.let_go()
    assert (await waiting)[0].kind == "application_accepted"


async def test_one_may_begin_after_any_event(lives: Lives) -> None:
    life = await lives.begin()
    await life.ended(await life.submit(tasks("true")))
    assert [event.seq for event in await take(life.service.events(after_seq=2), 2)] == [3, 4]


async def test_one_may_follow_one_application(lives: Lives) -> None:
    life = await lives.begin()
    await life.ended(await life.submit(tasks("true")))
    second = await life.submit(tasks("true"))
    await life.ended(second)
    told = await take(life.service.events(after_seq=0, application_id=second), 3)
    assert [event.kind for event in told] == ["application_accepted", "application_running", "application_finished"]
    assert {event.application_id for event in told} == {second}


async def test_following_an_application_that_never_was_is_an_error(lives: Lives) -> None:
    life = await lives.begin()
    with pytest.raises(NotFound):
        life.service.events(after_seq=0, application_id="application_1000000000_0007")


async def test_events_of_earlier_lives_are_told_too_and_go_on_counting(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit()
    await life.settle()
    await life.kill()
    life = await lives.begin()
    await life.finish(life.containers(app)[0])
    told = await take(life.service.events(after_seq=0), 5)
    assert [event.kind for event in told] == [
        "node_registered",
        "application_accepted",
        "application_running",
        "node_registered",
        "application_finished",
    ]
    assert [event.seq for event in told] == [1, 2, 3, 4, 5]


async def test_a_follower_that_falls_behind_what_is_kept_in_memory_misses_nothing(
    lives: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hrm.rm.event_log.RECENT", 4)
    monkeypatch.setattr("hrm.rm.event_log.PAGE", 3)
    life = await lives.begin()
    following = life.service.events(after_seq=0)
    assert (await take(following, 1))[0].seq == 1
    for _ in range(10):
        await life.ended(await life.submit(tasks("true")))
    assert [event.seq for event in await take(following, 30)] == list(range(2, 32))
    # And it is among those who hear at once again.
    waiting = asyncio.create_task(take(following, 1))
    await life.submit()
    assert (await waiting)[0].seq == 32
