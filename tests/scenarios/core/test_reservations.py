"""A node is kept free for what does not fit yet, so that small requests do not starve a large one."""

from __future__ import annotations

from hrm.core.commands import NodeReserved
from hrm.core.events import NodeUpdate
from hrm.model.resources import ZERO
from hrm.model.scheduling import SchedulerOptions
from hrm.testing.builders import Scenario, amounts, queue, queues
from tests.scenarios.core.situations import RESERVING, free_one, hungry, large_behind_small, reserved, starve


def test_a_starved_request_reserves_the_node_and_gets_it_once_it_fits() -> None:
    s, small, large = large_behind_small()
    for _ in range(3):
        free_one(s, small)
        s.visit("n1")

    assert (s.running(small), s.running(large)) == (1, 1)


def test_what_is_reserved_is_told_of_the_application_and_its_queues() -> None:
    s, small, large = large_behind_small()
    s.visit("n1")

    told = [s.application(large), s.queue("b"), s.queue("root")]
    others = [s.application(small), s.queue("a")]

    assert [(one.reserved, one.containers_reserved) for one in told] == [(amounts(memory="3G", cpus=1), 1)] * 3
    assert [(one.reserved, one.containers_reserved) for one in others] == [(ZERO, 0)] * 2


def test_what_was_reserved_is_told_no_more_once_it_is_granted() -> None:
    s, small, large = large_behind_small()
    for _ in range(3):
        free_one(s, small)
        s.visit("n1")

    assert (s.application(large).reserved, s.queue("b").containers_reserved) == (ZERO, 0)


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


def test_what_would_bring_its_queue_over_the_max_share_reserves_nothing() -> None:
    s = Scenario(queues(queue("a"), queue("b", max_share=amounts(4, "2G"))), options=RESERVING)
    s.add_node("n1", cpus=4, memory="4G")
    s.ask(s.submit("a"), 4)
    s.settle()
    s.ask(s.submit("b"), 1, memory="3G")
    s.update_shares()

    s.visit("n1")

    assert reserved(s) == []


def test_nobody_ends_on_a_node_that_is_reserved_for_another() -> None:
    tree = queues(queue("greedy"), queue("large"), hungry("starved"))
    s = Scenario(tree, options=SchedulerOptions(reservable_nodes=1.0, reservation_threshold=amounts(2, "2G")))
    s.add_node("n1", cpus=8, memory="8G")
    greedy = s.submit("greedy")
    s.ask(greedy, 8)
    s.settle()
    s.ask(s.submit("large"), 1, cpus=2, memory="2G")
    s.update_shares()
    s.visit("n1")
    assert reserved(s) == ["n1"]

    assert starve(s, s.submit("starved"), count=1) == []


def test_what_takes_the_place_of_a_withdrawn_reservation_may_reserve_the_node_for_the_same_application() -> None:
    s, small, large = large_behind_small()
    s.visit("n1")
    free_one(s, small)
    s.ask(large, 0, memory="3G")
    s.ask(large, 1, memory="1G", priority=1)
    s.ask(large, 1, memory="2G", priority=2)

    s.visit("n1")

    assert (s.running(small), s.running(large)) == (3, 1)
    assert s.node("n1").reserved_for == large.application
