"""How much one visit of a node places."""

from __future__ import annotations

from hrm.core.events import OptionsChanged
from hrm.model.scheduling import SchedulerOptions
from hrm.testing.builders import Scenario, queue, queues


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


def test_the_dynamic_rule_goes_on_until_more_than_half_of_what_was_free_is_assigned() -> None:
    # Checked after assigning: of 8 free 5, of the 3 left 2, then the last.
    s = busy(SchedulerOptions(dynamic_max_assign=True))

    assert [len(s.visit("n1")) for _ in range(4)] == [5, 2, 1, 0]


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
