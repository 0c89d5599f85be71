"""One visit of a node: what comes first, and how much is placed."""

from __future__ import annotations

from hrm.core.commands import ContainerEnded, EndCause
from hrm.core.events import ContainerRecovered, OptionsChanged
from hrm.model.ids import AttemptId, ContainerId
from hrm.model.scheduling import SchedulerOptions
from hrm.testing.builders import Scenario, amounts, queue, queues
from tests.scenarios.core.situations import RESERVING, full_of_greedy, hungry, reserved, starve


def busy(options: SchedulerOptions) -> Scenario:
    s = Scenario(queues(queue("all")), options=options)
    s.add_node("n1", cpus=8, memory="8G")
    s.ask(s.submit("all"), 100)
    return s


def test_a_visit_fills_the_node() -> None:
    s = busy(SchedulerOptions())

    assert [len(s.visit("n1")) for _ in range(2)] == [8, 0]


def test_without_assign_multiple_a_visit_places_one() -> None:
    s = busy(SchedulerOptions(assign_multiple=False))

    assert [len(s.visit("n1")) for _ in range(3)] == [1, 1, 1]


def test_a_visit_places_at_most_what_is_configured() -> None:
    s = busy(SchedulerOptions(max_assign=3))

    assert [len(s.visit("n1")) for _ in range(4)] == [3, 3, 2, 0]


def test_what_has_ended_makes_room_for_the_visit_that_follows() -> None:
    s = busy(SchedulerOptions())
    ended = s.visit("n1")[:3]

    s.finish(*ended)

    assert len(s.visit("n1")) == 3


def test_what_runs_on_a_node_is_on_the_books_before_anything_is_placed_there() -> None:
    s = busy(SchedulerOptions())
    app = next(iter(s.scheduler.books.apps))
    s.add_node("n2", cpus=8, memory="8G")

    for number in range(1, 7):
        s.handle(ContainerRecovered(ContainerId(AttemptId(app, 1), 0, number), "n2", amounts(1, "1G")))

    assert len(s.visit("n2")) == 2


def test_what_a_visit_granted_is_lost_with_a_node_that_goes_before_it_is_launched() -> None:
    s = busy(SchedulerOptions())
    granted = s.visit("n1")

    commands = s.remove_node("n1")

    assert commands == [ContainerEnded(one.container_id, "n1", EndCause.NODE_LOST) for one in granted]
    assert s.visit("n1") == []


def test_a_visit_serves_preempted_space_then_the_reservation_and_nobody_else() -> None:
    s, greedy = full_of_greedy(hungry("starved"), queue("large"), options=RESERVING)
    starved, large = s.submit("starved"), s.submit("large")
    s.ask(large, 1, cpus=3, memory="3G")
    starve(s, starved, count=1, cpus=2, memory="2G")
    s.visit("n1")
    assert reserved(s) == ["n1"]
    s.finish(*s.containers(greedy)[1:])

    order = [[one.container_id.attempt for one in s.visit("n1")] for _ in range(2)]

    # Of 7 free 2 and 3 are taken. The 2 that are left wait for the next visit.
    assert order == [[starved, large], [greedy, greedy]]


def test_other_options_count_from_the_next_visit_on() -> None:
    s = busy(SchedulerOptions(assign_multiple=False))
    s.visit("n1")

    s.handle(OptionsChanged(SchedulerOptions(max_assign=3)))

    assert [len(s.visit("n1")) for _ in range(3)] == [3, 3, 1]


def test_a_small_request_is_placed_though_a_larger_one_before_it_does_not_fit() -> None:
    s = Scenario(queues(queue("all")))
    s.add_node("n1", cpus=2, memory="2G")
    large, small = s.submit("all"), s.submit("all")
    s.ask(large, 1, memory="4G")
    s.ask(small, 1, memory="1G")

    s.visit("n1")

    assert (s.running(large), s.running(small)) == (0, 1)


def test_five_more_rounds_change_nothing() -> None:
    s = Scenario(queues(queue("a", weight=2), queue("b")))
    for number in range(3):
        s.add_node(f"n{number}", cpus=4, memory="4G")
    for path in ("a", "b", "a"):
        s.ask(s.submit(path), 20)
    s.settle()

    assert [s.settle() for _ in range(5)] == [[]] * 5
