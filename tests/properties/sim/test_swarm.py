"""Random clusters, queues, options, work and faults, with every checker looking on."""

from __future__ import annotations

import os

import pytest

from hrm.sim.checkers.base import Checker
from hrm.sim.simulation import Simulation
from hrm.sim.swarm import CHECKERS, MECHANISMS, draw, run_one, run_swarm


def test_nothing_that_must_hold_is_broken_and_every_mechanism_happened() -> None:
    result = run_swarm(range(16))

    assert result.failures == []
    # To be spared is rare: a few runs in a hundred.
    assert {what for what in MECHANISMS if not result.happened[what].runs} <= {"spared"}


@pytest.mark.parametrize("seed", [5166])
def test_seeds_that_once_found_something_find_nothing_any_more(seed: int) -> None:
    run_one(seed)


def test_a_seed_makes_the_same_run_whatever_ran_before() -> None:
    run_one(3)
    assert run_one(5).recorder.digest() == run_one(5).recorder.digest()


def test_runs_differ_in_what_they_have() -> None:
    drawn = [draw(seed) for seed in range(60)]
    assert {one.preempt_every_s is None for one in drawn} == {True, False}
    assert {bool(one.faults) for one in drawn} == {True, False}
    assert len({one.options.placement_strategy for one in drawn}) > 5


def test_a_failure_names_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Never(Checker):
        """Fails at once."""

        def look(self, now: float) -> None:
            self.fail("as it should", now)

    original = run_one

    def run(seed: int) -> Simulation:
        return original(seed, (*CHECKERS, Never))

    monkeypatch.setattr("hrm.sim.swarm.run_one", run)
    result = run_swarm(range(7, 9))
    assert [seed for seed, _ in result.failures] == [7, 8]
    assert "Never, at" in result.failures[0][1]


@pytest.mark.real
def test_thousands_of_runs_break_nothing() -> None:
    seeds = range(1000, 1000 + int(os.environ.get("HRM_SWARM_SEEDS", "2000")))
    result = run_swarm(seeds)
    may_preempt = sum(draw(seed).preempt_every_s is not None for seed in seeds)

    assert result.failures == []
    assert result.happened["preempted"].runs > may_preempt / 4
    assert min(one.runs for what, one in result.happened.items() if what != "spared") > result.runs / 20
    assert result.happened["spared"].runs > 0
