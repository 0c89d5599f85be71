"""The event log: numbers, what is kept, who is woken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from hrm.model.reports import EventReport
from hrm.rm import event_log
from hrm.rm.event_log import EventLog
from hrm.rm.records import EventRow


class Disk:
    """Rows that were committed, and how often somebody read them."""

    def __init__(self) -> None:
        self.rows: list[EventRow] = []
        self.reads = 0

    async def read(self, *, after_seq: int, application_seq: int | None, limit: int) -> list[EventRow]:
        self.reads += 1
        await asyncio.sleep(0)
        found = [
            row
            for row in self.rows
            if row.seq > after_seq and (application_seq is None or row.application_seq == application_seq)
        ]
        return found[:limit]


class Story:
    def __init__(self, next_seq: int = 1) -> None:
        self.disk = Disk()
        self.log = EventLog(cluster_timestamp=7, next_seq=next_seq, read=self.disk.read)

    def happen(self, times: int = 1, *, application_seq: int | None = None, published: bool = True) -> None:
        for _ in range(times):
            row = self.log.record("said", 1.0, application_seq=application_seq, word="hello")
            self.disk.rows.append(row)
            if published:
                self.log.publish(row)


async def take(events: AsyncIterator[EventReport], count: int) -> list[int]:
    return [(await asyncio.wait_for(anext(events), 5)).seq for _ in range(count)]


async def nothing_comes(events: AsyncIterator[EventReport]) -> asyncio.Task[list[int]]:
    waiting = asyncio.create_task(take(events, 1))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not waiting.done()
    return waiting


async def test_events_are_numbered_on_from_the_last_life():
    story = Story(next_seq=42)
    row = story.log.record("said", 5.0, application_seq=3, container_id="c", node_id="n", word="hello")
    assert row == EventRow(
        seq=42, at=5.0, kind="said", application_seq=3, container_id="c", node_id="n", detail={"word": "hello"}
    )
    assert story.log.record("said", 6.0).seq == 43


async def test_a_report_names_the_application_by_its_whole_id():
    story = Story()
    story.happen(application_seq=3)
    (report,) = [await anext(story.log.follow(0, None))]
    assert (report.application_id, report.detail) == ("application_7_0003", {"word": "hello"})


async def test_what_is_not_on_disk_yet_is_not_told():
    story = Story()
    story.happen(published=False)
    row = story.disk.rows.pop()
    waiting = await nothing_comes(story.log.follow(0, None))
    story.disk.rows.append(row)
    story.log.publish(row)
    assert await waiting == [1]


async def test_who_keeps_up_never_reads_the_disk():
    story = Story()
    story.happen(1)
    following = story.log.follow(0, None)
    for _ in range(20):
        await take(following, 1)
        story.happen(1)
    assert story.disk.reads == 0


async def test_what_is_kept_is_bounded_and_who_falls_behind_reads_the_disk(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(event_log, "RECENT", 5)
    monkeypatch.setattr(event_log, "PAGE", 4)
    story = Story()
    following = story.log.follow(0, None)
    story.happen(1)
    assert await take(following, 1) == [1]
    story.happen(20)
    assert await take(following, 20) == list(range(2, 22))
    assert story.disk.reads > 0
    waiting = await nothing_comes(following)
    story.happen(1)
    assert await waiting == [22]


async def test_following_one_application_skips_the_others_on_disk_and_in_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(event_log, "RECENT", 4)
    monkeypatch.setattr(event_log, "PAGE", 3)
    story = Story()
    for number in range(30):
        story.happen(application_seq=number % 3)
    following = story.log.follow(0, 1)
    assert await take(following, 10) == list(range(2, 32, 3))
    waiting = await nothing_comes(following)
    story.happen(application_seq=2)
    await asyncio.sleep(0)
    assert not waiting.done()
    story.happen(application_seq=1)
    assert await waiting == [32]


async def test_what_was_written_before_it_was_published_is_told_once():
    story = Story(next_seq=1)
    story.happen(2, published=False)
    following = story.log.follow(0, None)
    assert await take(following, 2) == [1, 2]
    for row in list(story.disk.rows):
        story.log.publish(row)
    waiting = await nothing_comes(following)
    story.happen(1)
    assert await waiting == [3]


async def test_a_point_that_lies_ahead_waits_for_it():
    story = Story()
    story.happen(2)
    waiting = await nothing_comes(story.log.follow(3, None))
    story.happen(1)
    story.happen(1)
    assert await waiting == [4]


async def test_two_followers_hear_the_same():
    story = Story()
    one, other = story.log.follow(0, None), story.log.follow(0, None)
    waiting = [await nothing_comes(one), await nothing_comes(other)]
    story.happen(1)
    assert [await each for each in waiting] == [[1], [1]]
