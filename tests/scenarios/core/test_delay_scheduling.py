"""Waiting for a node or a rack that would be better, and for how long."""

from __future__ import annotations

from hrm.core.events import NodeUpdate
from hrm.model.scheduling import SchedulerOptions
from hrm.testing.builders import request
from tests.scenarios.core.situations import PATIENT, visits_until_placed, wishes_for_n1


def test_the_node_that_was_asked_for_is_taken_at_once() -> None:
    s, _ = wishes_for_n1(PATIENT)

    assert len(s.visit("n1")) == 1


def test_a_threshold_above_one_counts_as_one() -> None:
    s, _ = wishes_for_n1(SchedulerOptions(node_locality_threshold=7, rack_locality_threshold=7))

    assert visits_until_placed(s, "n2") == 5


def test_visits_that_are_no_heartbeat_do_not_count_as_opportunities() -> None:
    s, _ = wishes_for_n1(PATIENT)
    for _ in range(10):
        assert s.handle(NodeUpdate("n2", heartbeat=False)) == []

    assert visits_until_placed(s, "n2") == 3


def test_a_full_node_is_no_opportunity() -> None:
    s, _ = wishes_for_n1(PATIENT)
    s.add_node("tiny", cpus=0.5, memory="512M")
    for _ in range(10):
        s.visit("tiny")

    assert visits_until_placed(s, "n2") == 3


def test_what_was_placed_nearer_than_it_had_to_be_waits_for_that_again() -> None:
    s, app = wishes_for_n1(PATIENT, count=3)
    for _ in range(6):
        s.visit("n3")
    # Anything is allowed by now: all three went there in one visit.
    assert s.running(app) == 3
    s.request(app, *(request(2, where=where) for where in ("n1", "/r1", "*")))

    assert len(s.handle(NodeUpdate("n1", most=1))) == 1
    assert s.visit("n3") == []


def test_with_continuous_scheduling_time_counts_instead_of_opportunities() -> None:
    s, _ = wishes_for_n1(
        SchedulerOptions(continuous_scheduling=True, node_locality_delay_s=10, rack_locality_delay_s=20)
    )
    s.visit("n2")
    seen_at = s.now

    visits_until_placed(s, "n2")

    # Strictly more than 10 s, and each visit takes one.
    assert s.now - seen_at == 11


def test_waiting_for_a_place_is_said() -> None:
    s, app = wishes_for_n1(PATIENT)
    s.visit("n3")
    for node_id in ("n1", "n2"):
        s.remove_node(node_id)

    assert s.explain(app).reason == "waits_for_locality"
    assert "would like to run on n1, /r1; there is room on n3, n4" in s.explain(app).message


def test_switching_relaxation_off_for_a_node_alone_is_warned_of() -> None:
    s, app = wishes_for_n1(PATIENT)
    s.request(app, request(1, where="n1", relax=False))

    warnings = [one for one in s.explain(app).evidence if one["kind"] == "warning"]

    assert [one["places"] for one in warnings] == [["n1"]]
