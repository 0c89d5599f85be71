"""Times that are drawn, as words."""

from __future__ import annotations

import random
from statistics import fmean, median

import pytest

from hrm.model.errors import InvalidInput
from hrm.sim.distributions import parse_distribution


def drawn(words: str, count: int = 20_000) -> list[float]:
    distribution, rng = parse_distribution(words, field=""), random.Random(7)
    return [distribution.draw(rng) for _ in range(count)]


@pytest.mark.parametrize(("words", "seconds"), [("90s", 90), ("0", 0), ("10:30", 630), ("forever", float("inf"))])
def test_a_time_alone_is_that_time(words: str, seconds: float) -> None:
    assert drawn(words, 2) == [seconds, seconds]


def test_an_exponential_one_is_given_by_its_mean() -> None:
    assert fmean(drawn("exponential:10m")) == pytest.approx(600, rel=0.03)


def test_a_lognormal_one_is_given_by_its_median() -> None:
    assert median(drawn("lognormal:20m,1.5")) == pytest.approx(1200, rel=0.05)


def test_a_uniform_one_lies_between_its_ends() -> None:
    values = drawn("uniform:0..2m")
    assert 0 <= min(values) < 1
    assert 119 < max(values) <= 120


def test_a_pareto_one_begins_at_its_least() -> None:
    values = drawn("pareto:1m,2")
    assert min(values) == pytest.approx(60, rel=0.01)
    assert fmean(values) == pytest.approx(120, rel=0.1)


@pytest.mark.parametrize(
    "words",
    [
        "normal:1m,2",
        "uniform:2m..1m",
        "uniform:2m",
        "exponential:-3s",
        "lognormal:1m",
        "lognormal:1m,0",
        "exponential:1m,2",
    ],
)
def test_other_words_are_refused_with_the_name_of_the_option(words: str) -> None:
    with pytest.raises(InvalidInput, match=r"^--run-time: "):
        parse_distribution(words, field="--run-time")
