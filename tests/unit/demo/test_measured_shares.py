"""What the demonstration measures: container run times, cut to the window and weighed by their vcores."""

from __future__ import annotations

import pytest

from hrm.demo import measured_percent
from hrm.model.reports import TaskAttemptReport
from hrm.model.states import TaskState


def attempt(
    queue: str, started_at: float | None, ended_at: float | None, *, vcores_milli: int = 1000
) -> TaskAttemptReport:
    return TaskAttemptReport(
        application_id="application_1_0001",
        name="work",
        user="ada",
        queue=queue,
        task_index=0,
        attempt=1,
        container_id="container_e01_1_0001_01_000001",
        node_id="n1",
        resources={"memory_mib": 64, "vcores_milli": vcores_milli, "gpus_milli": 0},
        device_ids=[],
        allocated_at=0.0,
        started_at=started_at,
        ended_at=ended_at,
        exit_code=None,
        state=TaskState.RUNNING,
        message="",
        cpu_s=None,
        max_rss_mib=None,
    )


def test_each_queue_gets_its_part_of_all_run_time():
    history = [attempt("research", 0, 30), attempt("batch", 0, 10)]
    assert measured_percent(history, 0, 30) == {"research": pytest.approx(75), "batch": pytest.approx(25)}


def test_only_what_ran_within_the_window_counts():
    history = [attempt("research", 5, 15), attempt("batch", 0, 20), attempt("batch", 30, 40)]
    assert measured_percent(history, 10, 20) == {"research": pytest.approx(100 / 3), "batch": pytest.approx(200 / 3)}


def test_what_still_runs_counts_up_to_the_end():
    history = [attempt("research", 0, None), attempt("batch", 0, 10)]
    assert measured_percent(history, 0, 10) == {"research": pytest.approx(50), "batch": pytest.approx(50)}


def test_a_container_weighs_by_its_vcores():
    history = [attempt("research", 0, 10, vcores_milli=3000), attempt("batch", 0, 10)]
    assert measured_percent(history, 0, 10) == {"research": pytest.approx(75), "batch": pytest.approx(25)}


def test_what_never_started_counts_for_nothing():
    assert measured_percent([attempt("batch", None, None)], 0, 10) == {}
