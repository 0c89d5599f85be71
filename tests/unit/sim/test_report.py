"""Figures of a simulation, checked against ones worked out by hand."""

from __future__ import annotations

import math

import pytest

from hrm.sim.report import jain_index, make_report, spread
from hrm.testing.builders import queue, queues
from tests.scenarios.sim.stories import job, play, workload


def test_jains_index_is_one_where_all_have_the_same_and_one_nth_where_one_has_it_all() -> None:
    assert jain_index([3.0, 3.0, 3.0]) == pytest.approx(1)
    assert jain_index([5.0, 0.0, 0.0, 0.0]) == pytest.approx(0.25)
    assert math.isnan(jain_index([]))


def test_a_spread_uses_nearest_ranks() -> None:
    assert spread([float(number) for number in range(1, 101)]) == spread([*map(float, range(100, 0, -1))])
    found = spread([*map(float, range(1, 101))])
    assert (found.mean, found.p50, found.p99, found.max) == (50.5, 50, 99, 100)


def test_utilisation_is_over_time() -> None:
    # One of two CPUs and GiB for 10 of 40 s, both for 30 s.
    report = make_report(play(workload(job("x", run_s=40), job("y", at=10, run_s=30))))
    assert report.utilisation["memory"] == report.utilisation["vcores"] == pytest.approx((10 + 2 * 30) / 80)


def test_waits_are_from_submission_to_start() -> None:
    report = make_report(play(workload(job("x", cpus=2), job("y", at=4))))
    assert (report.wait_s.max, report.wait_s.mean) == (6, 3)
    assert report.completion_s.max == 16


def test_a_job_that_is_as_fast_as_in_its_own_part_of_the_cluster_has_fairness_one() -> None:
    # Two at once, each with the half of the cluster that it would have alone.
    report = make_report(play(workload(job("x", tasks=3), job("y", tasks=3, in_queue="b"))))
    assert report.finish_time_fairness.mean == pytest.approx(1.0)
    # The second waits for the first, which takes the whole.
    waits = make_report(play(workload(job("x", cpus=2, run_s=10), job("y", cpus=2, run_s=10))))
    assert waits.finish_time_fairness.max > 1


def test_shares_of_queues_are_told_beside_what_is_due() -> None:
    tree = queues(queue("a", weight=3), queue("b"))
    report = make_report(play(workload(job("x", tasks=300), job("y", tasks=100, in_queue="b"), nodes=4, tree=tree)))
    of = {one.queue: one for one in report.queues}
    assert of["a"].share == pytest.approx(0.75, abs=0.02)
    assert of["a"].fair_share == pytest.approx(0.75, abs=0.02)
    assert report.jain_index == pytest.approx(1, abs=0.01)
