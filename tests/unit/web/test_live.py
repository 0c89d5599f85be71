"""Pages that are open: drawn once for all who see the same, sent where they changed, and an error is told."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator

import pytest

from hrm.model.errors import InvariantBroken, NotFound
from hrm.web.live import Live, Topic

TOPIC = Topic(url="/ui", language="en", user="ada", admin=False)


class Drawn:
    """A page that is what a test says, and counts how often it is drawn."""

    def __init__(self) -> None:
        self.html = "one"
        self.times = 0
        self.error: Exception | None = None

    async def __call__(self) -> str:
        self.times += 1
        if self.error is not None:
            raise self.error
        return self.html


async def html(frames: AsyncGenerator[bytes, None]) -> str:
    frame = await anext(frames)
    return str(json.loads(frame.decode().split("data: ", 1)[1])["html"])


async def test_who_comes_later_sees_what_is_there_and_all_see_what_changes() -> None:
    live, page = Live(), Drawn()
    first = live.watch(TOPIC, page, period_s=0.001)
    assert await html(first) == "one"
    second = live.watch(TOPIC, page, period_s=0.001)
    assert await html(second) == "one"
    page.html = "two"
    assert [await html(first), await html(second)] == ["two", "two"]
    await first.aclose()
    await second.aclose()


async def test_fifty_who_see_the_same_cost_one_drawing() -> None:
    live, page = Live(), Drawn()
    watchers = [live.watch(TOPIC, page, period_s=1000) for _ in range(50)]
    for watcher in watchers:
        assert await html(watcher) == "one"
    assert page.times == 1
    for watcher in watchers:
        await watcher.aclose()


@pytest.mark.parametrize(("error", "told"), [(NotFound("gone"), NotFound), (ZeroDivisionError(), InvariantBroken)])
async def test_a_page_that_cannot_be_drawn_any_more_says_so_and_ends(error: Exception, told: type[Exception]) -> None:
    live, page = Live(), Drawn()
    frames = live.watch(TOPIC, page, period_s=0.001)
    await html(frames)
    page.error = error
    with pytest.raises(told):
        await anext(frames)
    page.error, page.html = None, "again"
    again = live.watch(TOPIC, page, period_s=0.001)
    assert await html(again) == "again"
    await again.aclose()
