"""The bare loop that speed is compared with."""

from __future__ import annotations

import pytest

from hrm.sim import calibrate
from hrm.sim.generate import Plan, generate


def test_the_loop_grants_what_the_scheduler_grants(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter((0.0, 2.0))
    monkeypatch.setattr(calibrate.time, "process_time", lambda: next(seconds))
    workload = generate(Plan(nodes=50, queues=20, apps=40, containers=400), 1)
    assert calibrate.bare_heap_rate(workload) == 200


def test_the_loop_ends_where_not_everything_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter((0.0, 1.0))
    monkeypatch.setattr(calibrate.time, "process_time", lambda: next(seconds))
    workload = generate(Plan(nodes=1, queues=3, apps=10, containers=1000), 1)
    assert 0 < calibrate.bare_heap_rate(workload) < 100
