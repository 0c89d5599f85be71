"""What queues used over a time: samples that are kept, recalled and drawn one on another."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from hrm.model.dominance import dominant_resource, dominant_share
from hrm.model.reports import TaskAttemptReport
from hrm.testing.facade import FakeFacade
from hrm.web.charts import Layer, scale, stack
from hrm.web.queue_use import COLOURS, COLUMNS, POINTS, queue_use
from hrm.web.samples import MOST_ATTEMPTS, PERIOD_S, Sample, Span, UsageLog, mean

TOTAL = {"vcores_milli": 4000, "memory_mib": 4096, "gpus_milli": 2000}
NOW = 100_000.0


def sample(at: float, **gpus_milli: int) -> Sample:
    queues = {name: {"vcores_milli": 100, "gpus_milli": amount} for name, amount in gpus_milli.items()}
    return Sample(at=at, used={}, total=TOTAL, queues=queues)


def attempt(queue: str, begin: float, end: float | None, gpus_milli: int = 1000) -> TaskAttemptReport:
    return TaskAttemptReport(
        application_id="a",
        name="",
        user="ada",
        queue=queue,
        task_index=0,
        attempt=1,
        state="RUNNING",  # type: ignore[arg-type]
        node_id="n",
        container_id="c",
        resources={"gpus_milli": gpus_milli},
        device_ids=[],
        allocated_at=begin,
        started_at=begin,
        ended_at=end,
        exit_code=None,
        message="",
        max_rss_mib=None,
        cpu_s=None,
    )


def history(attempts: list[TaskAttemptReport]):
    async def read(*, since: float, limit: int, offset: int) -> list[TaskAttemptReport]:
        return attempts[offset : offset + limit]

    return read


def test_the_resource_counts_of_which_the_largest_part_is_used() -> None:
    used = {"vcores_milli": 1000, "memory_mib": 1024, "gpus_milli": 1500}

    assert (dominant_resource(TOTAL, used), dominant_share(used, TOTAL)) == ("gpus_milli", 0.75)
    assert dominant_resource(TOTAL, {}, {"memory_mib": 1}) == "memory_mib"
    assert dominant_share(used, {}) == 0


def test_each_queue_is_a_layer_in_the_order_of_the_tree_and_ends_with_now() -> None:
    samples = [sample(NOW - 3500, a=500, b=1000), sample(NOW - 5, a=1000, b=0)]

    first, second = queue_use(samples, ["b", "a"], Span.HOUR, NOW)

    assert (first.name, first.now, second.name, second.now) == ("b", 0.025, "a", 0.5)
    assert first.columns()[0] == 0.5 and first.columns()[1] is None
    assert len(first.shares) == POINTS and len(first.columns()) == COLUMNS


def test_a_queue_that_is_gone_is_still_in_the_picture() -> None:
    assert [use.name for use in queue_use([sample(NOW, gone=1000)], ["a"], Span.HOUR, NOW)] == ["a", "gone"]


def test_of_many_queues_the_least_used_are_one_layer_together() -> None:
    names = [f"q{number:02d}" for number in range(20)]
    samples = [sample(NOW, **{name: 10 * number for number, name in enumerate(names, 10)})]

    uses = queue_use(samples, names, Span.HOUR, NOW)

    assert [use.name for use in uses] == [*names[-COLOURS:], ""]
    assert len({use.hue for use in uses}) == len(uses)


def test_while_nothing_new_is_seen_the_picture_stays_the_same() -> None:
    samples = [sample(NOW - 100 + 10 * at, a=1000) for at in range(10)]

    assert queue_use(samples, ["a"], Span.HOUR, NOW + 5) == queue_use(samples, ["a"], Span.HOUR, NOW + 7)


def test_layers_lie_on_one_another() -> None:
    picture = stack([Layer([0.5, 0.5], "hue-0", "a"), Layer([0.25, 0.5], "hue-1", "<b>")], label="s")
    below, above = ElementTree.fromstring(picture).iter("polygon")

    assert below.get("points") == "0,60.0 600,60.0 600,120.0 0,120.0"
    assert above.get("points") == "0,30.0 600,0.0 600,60.0 0,60.0"


def test_more_than_the_whole_is_drawn_to_scale() -> None:
    layers = [Layer([0.9], "hue-0", "a"), Layer([0.6], "hue-1", "b")]

    assert scale(layers) == 1.5
    assert scale([]) == 1


def test_the_day_keeps_means_of_what_was_seen_and_ends_with_the_latest() -> None:
    log = UsageLog()
    for number in range(round(Span.DAY.period_s / PERIOD_S) + 1):
        log.add(sample(NOW + number * PERIOD_S, a=1000 if number % 2 else 0))

    first, last = log.over(Span.DAY)

    assert first.queues["a"]["gpus_milli"] == pytest.approx(500, abs=20)
    assert last.queues["a"]["gpus_milli"] == 0
    assert len(log.over(Span.HOUR)) == 31


def test_a_mean_counts_a_queue_that_was_not_there_as_unused() -> None:
    assert mean([sample(1, a=1000), sample(2)]).queues["a"] == {"vcores_milli": 50, "gpus_milli": 500}


async def test_what_a_restart_would_lose_is_recalled_from_the_history() -> None:
    log = UsageLog()
    attempts = [attempt("a", NOW - 7200, NOW - 1800), attempt("b", NOW - 600, None, 2000)]

    await log.recall(history(attempts), TOTAL, NOW)

    hour, day = log.over(Span.HOUR), log.over(Span.DAY)
    assert [one.queues.get("a", {}).get("gpus_milli", 0) for one in (hour[0], hour[-1])] == [1000, 0]
    assert hour[-1].queues["b"] == {"gpus_milli": 2000} == hour[-1].used
    assert len(hour) == 360
    assert 23 <= len(day) <= 25 and NOW - 7200 <= day[0].at <= NOW - 6900


async def test_a_day_of_too_many_attempts_begins_anew() -> None:
    log = UsageLog()

    await log.recall(history([attempt("a", NOW - 60, None)] * (MOST_ATTEMPTS + 1)), TOTAL, NOW)

    assert not log.over(Span.HOUR)


async def test_nothing_is_recalled_where_nothing_was() -> None:
    log = UsageLog()

    await log.recall(FakeFacade().history, {}, NOW)

    assert not log.over(Span.DAY)
