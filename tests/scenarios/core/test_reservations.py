"""A node is kept free for what does not fit yet, so that small requests do not starve a large one."""

from __future__ import annotations

from hrm.core.commands import NodeReserved
from hrm.core.events import NodeUpdate
from hrm.model.scheduling import SchedulerOptions
from tests.scenarios.core.situations import free_one, large_behind_small


def test_a_starved_request_reserves_the_node_and_gets_it_once_it_fits() -> None:
    s, small, large = large_behind_small()
    for _ in range(3):
        free_one(s, small)
        s.visit("n1")

    assert (s.running(small), s.running(large)) == (1, 1)


def test_without_reservations_small_requests_take_every_piece_that_gets_free() -> None:
    s, small, large = large_behind_small(SchedulerOptions())
    for _ in range(3):
        free_one(s, small)
        s.visit("n1")

    assert (s.running(small), s.running(large)) == (4, 0)


def test_the_reservations_of_an_application_that_ends_go_with_it() -> None:
    s, small, large = large_behind_small()
    s.visit("n1")
    free_one(s, small)

    s.end(large)

    assert len(s.visit("n1")) == 1
    assert s.running(small) == 4


def test_a_node_that_leaves_takes_its_reservation_along() -> None:
    s, _, large = large_behind_small()
    s.visit("n1")

    s.remove_node("n1")
    s.add_node("n2", cpus=4, memory="4G")
    s.settle()

    assert s.running(large) == 1


def test_nothing_is_reserved_on_a_node_that_could_never_hold_it() -> None:
    s, _, _ = large_behind_small()
    s.add_node("tiny", cpus=1, memory="1G")
    s.visit("tiny")

    assert not any(isinstance(one, NodeReserved) for one in s.handle(NodeUpdate("tiny")))
