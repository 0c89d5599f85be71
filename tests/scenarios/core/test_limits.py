"""Max share and max running applications, on any level of the tree."""

from __future__ import annotations

import pytest

from hrm.core.events import AppMoved
from hrm.model.errors import InvalidInput
from hrm.testing.builders import Scenario, amounts, queue, queues


def test_no_allocation_brings_a_queue_over_its_max_share() -> None:
    s = Scenario(queues(queue("small", max_share=amounts(3, "8G")), queue("other")))
    s.add_node("n1", cpus=8, memory="16G")
    app = s.submit("small")
    s.ask(app, 10)

    s.settle()

    assert s.running(app) == 3


def test_the_max_share_of_a_parent_holds_for_all_below_it_together() -> None:
    s = Scenario(queues(queue("parent", queue("a"), queue("b"), max_share=amounts(3, "16G"))))
    s.add_node("n1", cpus=8, memory="16G")
    a, b = s.submit("parent.a"), s.submit("parent.b")
    s.ask(a, 10)
    s.ask(b, 10)

    s.settle()

    assert s.running(a) + s.running(b) == 3


def test_the_max_share_of_the_root_holds_too() -> None:
    s = Scenario(queue("root", queue("a"), max_share=amounts(2, "2G")))
    s.add_node("n1")
    app = s.submit("a")
    s.ask(app, 10)

    s.settle()

    assert s.running(app) == 2


def test_a_queue_at_its_max_share_leaves_room_to_those_behind_it() -> None:
    s = Scenario(queues(queue("first", weight=100, max_share=amounts(1, "1G")), queue("second")))
    s.add_node("n1", cpus=4, memory="4G")
    first, second = s.submit("first"), s.submit("second")
    s.ask(first, 10)
    s.ask(second, 10)

    s.settle()

    assert (s.running(first), s.running(second)) == (1, 3)


def test_under_a_max_share_a_smaller_request_may_still_fit() -> None:
    s = Scenario(queues(queue("small", max_share=amounts(3, "16G"))))
    s.add_node("n1")
    app = s.submit("small")
    s.ask(app, 5, cpus=2)
    s.ask(app, 5, cpus=1, priority=1)

    granted = s.settle()

    assert [one.resources.vcores_milli for one in granted] == [2000, 1000]


def test_max_share_frees_up_when_a_container_ends() -> None:
    s = Scenario(queues(queue("small", max_share=amounts(1, "16G"))))
    s.add_node("n1")
    app = s.submit("small")
    s.ask(app, 2)
    (running,) = s.settle()

    s.finish(running)

    assert len(s.settle()) == 1


def test_demand_counts_only_up_to_the_max_share_at_every_level() -> None:
    s = Scenario(queues(queue("parent", queue("capped", max_share=amounts(2, "2G")), queue("free"))))
    s.add_node("n1")
    capped, free = s.submit("parent.capped"), s.submit("parent.free")
    s.ask(capped, 10)
    s.ask(free, 1)

    demands = {view.path: view.demand for view in s.scheduler.queue_views()}

    assert demands["parent.capped"] == amounts(2, "2G")
    assert demands["parent"] == demands["root"] == amounts(3, "3G")


# ---- running applications


def test_an_application_over_the_limit_waits_until_another_ends() -> None:
    s = Scenario(queues(queue("all", max_running_apps=1)))
    s.add_node("n1")
    first, second = s.submit("all"), s.submit("all")
    s.ask(first)
    s.ask(second)
    s.settle()
    assert (s.running(first), s.running(second)) == (1, 0)

    commands = s.end(first)
    s.settle()

    assert s.activated_after(commands) == [second.application]
    assert s.running(second) == 1


def test_the_oldest_waiting_application_runs_next_wherever_it_waits() -> None:
    s = Scenario(queues(queue("a"), queue("b"), max_running_apps=1))
    first = s.submit("a", submitted_at=1)
    younger, older = s.submit("a", submitted_at=3), s.submit("b", submitted_at=2)

    ended_first = s.activated_after(s.end(first))
    ended_second = s.activated_after(s.end(older))

    assert ended_first == [older.application]
    assert ended_second == [younger.application]


def test_a_limit_below_holds_one_back_and_lets_a_younger_one_pass() -> None:
    s = Scenario(queues(queue("narrow", max_running_apps=1), queue("wide"), max_running_apps=2))
    in_narrow, in_wide = s.submit("narrow", submitted_at=1), s.submit("wide", submitted_at=2)
    waits_in_narrow, waits_in_wide = s.submit("narrow", submitted_at=3), s.submit("wide", submitted_at=4)

    activated = s.activated_after(s.end(in_wide))

    assert activated == [waits_in_wide.application]
    assert s.reason(waits_in_narrow) == "queue_max_running_apps"
    assert in_narrow.application in s.activated


def test_a_limit_of_zero_lets_nothing_run() -> None:
    s = Scenario(queues(queue("closed", max_running_apps=0)))
    s.add_node("n1")
    app = s.submit("closed")
    s.ask(app)

    assert s.settle() == []
    assert s.activated == []


def test_a_waiting_application_may_end_without_ever_running() -> None:
    s = Scenario(queues(queue("all", max_running_apps=1)))
    first, second, third = (s.submit("all") for _ in range(3))

    assert s.activated_after(s.end(second)) == []
    assert s.activated_after(s.end(first)) == [third.application]


# ---- moving


def test_a_moved_application_takes_its_containers_and_requests_along() -> None:
    s = Scenario(queues(queue("a"), queue("b")))
    s.add_node("n1", cpus=2, memory="2G")
    app = s.submit("a")
    s.ask(app, 3)
    s.settle()

    s.handle(AppMoved(app.application, "b"))

    assert (s.used("a"), s.used("b")) == (amounts(), amounts(2, "2G"))
    s.finish(*s.containers(app)[:1])
    assert len(s.settle()) == 1


@pytest.mark.parametrize(
    "target", [queue("b", max_running_apps=0), queue("b", max_share=amounts(1, "1G")), queue("b", queue("below"))]
)
def test_a_move_that_would_break_a_limit_is_refused_and_changes_nothing(target) -> None:  # type: ignore[no-untyped-def]
    s = Scenario(queues(queue("a"), target))
    s.add_node("n1")
    app = s.submit("a")
    s.ask(app, 2)
    s.settle()

    with pytest.raises(InvalidInput):
        s.handle(AppMoved(app.application, "b"))

    assert s.used("a") == amounts(2, "2G")
