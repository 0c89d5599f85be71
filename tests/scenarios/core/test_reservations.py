"""A node is kept free for what does not fit yet, so that small requests do not starve a large one."""

from __future__ import annotations

import pytest

from hrm.core.commands import NodeReserved, NodeUnreserved
from hrm.core.events import BlacklistChanged, NodeUpdate
from hrm.model.ids import AttemptId
from hrm.model.scheduling import SchedulerOptions
from hrm.testing.builders import Scenario, amounts, queue, queues

RESERVING = SchedulerOptions(reservable_nodes=0.05)


def large_behind_small(options: SchedulerOptions = RESERVING, nodes: int = 1) -> tuple[Scenario, AttemptId, AttemptId]:
    """Nodes of 4 GiB full of containers of 1 GiB; then an application with its full share to come asks for 3 GiB."""
    s = Scenario(queues(queue("a"), queue("b")), options=options)
    for number in range(1, nodes + 1):
        s.add_node(f"n{number}", cpus=4, memory="4G")
    small, large = s.submit("a"), s.submit("b")
    s.ask(small, 4 * nodes)
    s.settle()
    s.ask(small, 100)
    s.ask(large, nodes, memory="3G")
    s.update_shares()
    return s, small, large


def free_one(s: Scenario, app: AttemptId, node_id: str = "n1") -> None:
    s.finish(next(one for one in s.containers(app) if one.node_id == node_id))


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


def test_a_reservation_is_no_usage_of_the_queue() -> None:
    s, _, _ = large_behind_small()

    s.visit("n1")

    assert s.used("b") == amounts()
    assert s.scheduler.node_views()[0].reserved_for is not None


def test_a_valid_reservation_holds_the_node() -> None:
    s, small, _ = large_behind_small()
    s.visit("n1")
    free_one(s, small)

    assert s.visit("n1") == []
    assert s.reason(small) == "reserved_for_others"


def test_a_request_below_the_threshold_reserves_nothing() -> None:
    options = SchedulerOptions(reservable_nodes=0.05, reservation_threshold=amounts(4, "4G"))
    s, _, _ = large_behind_small(options)

    assert s.handle(NodeUpdate("n1")) == []


def test_an_application_that_has_its_fair_share_reserves_nothing() -> None:
    s, small, large = large_behind_small()
    s.end(large)
    s.update_shares()
    s.ask(small, 1, memory="3G")
    s.add_node("n2", cpus=1, memory="1G")

    assert not any(isinstance(one, NodeReserved) for one in s.handle(NodeUpdate("n1")))


@pytest.mark.parametrize(("ratio", "reserved"), [(0.05, 1), (0.5, 2), (0.6, 3), (1.0, 4)])
def test_an_application_reserves_at_most_its_part_of_the_nodes_rounded_up(ratio: float, reserved: int) -> None:
    s, _, _ = large_behind_small(SchedulerOptions(reservable_nodes=ratio), nodes=4)

    s.visit("n1", "n2", "n3", "n4")

    assert sum(view.reserved_for is not None for view in s.scheduler.node_views()) == reserved


def test_a_reservation_that_is_of_no_more_use_goes_at_the_next_visit_of_its_node() -> None:
    s, small, large = large_behind_small()
    s.visit("n1")
    free_one(s, small)
    s.handle(BlacklistChanged(large.application, frozenset({"n1"})))

    commands = s.handle(NodeUpdate("n1"))

    assert isinstance(commands[0], NodeUnreserved)
    assert s.running(small) == 4


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
