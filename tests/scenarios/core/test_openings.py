"""Which nodes the core says are worth a visit although nothing happened there."""

from __future__ import annotations

from hrm.core.events import UpdateShares
from hrm.model.ids import AttemptId
from hrm.model.queues import QueueSpec, ShareOfCluster
from hrm.model.scheduling import SchedulerOptions
from hrm.testing.builders import Scenario, amounts, queue, queues

LIMITED = queues(queue("p", queue("a"), queue("b"), max_share=amounts(4, "64G")), queue("other"))


def openings(s: Scenario) -> list[str]:
    found = []
    while (node_id := s.scheduler.next_opening()) is not None:
        found.append(node_id)
    return found


def at_its_limit(root: QueueSpec = LIMITED, *, waits: int = 1, nodes: int = 4) -> tuple[Scenario, AttemptId, AttemptId]:
    """p.a uses 4 CPUs of the first node, others the rest of it; p.b waits for 2 CPUs, and all other nodes are idle."""
    s = Scenario(root)
    for number in range(nodes):
        s.add_node(f"n{number}", cpus=8, memory="16G")
    running, other = s.submit("p.a"), s.submit("other")
    s.ask(running, 4, cpus=1, memory="1G")
    s.ask(other, 4, cpus=1, memory="1G")
    s.visit("n0")
    waiting = s.submit("p.b")
    s.ask(waiting, waits, cpus=2, memory="1G")
    s.visit(*(f"n{number}" for number in range(nodes)))
    assert (s.running(running), s.running(other), s.running(waiting)) == (4, 4, 0)
    return s, running, waiting


def test_where_nothing_ended_nothing_is_named() -> None:
    s, *_ = at_its_limit()
    assert not s.scheduler.has_openings
    assert openings(s) == []


def test_a_limit_that_is_still_reached_names_nothing() -> None:
    s, running, _ = at_its_limit()
    # 3 of 4 are in use, and 2 are asked for.
    s.finish(s.containers(running)[0])
    assert openings(s) == []


def test_a_limit_that_lets_something_in_names_nodes_with_room_for_it_until_it_is_placed() -> None:
    s, running, waiting = at_its_limit()
    s.finish(*s.containers(running)[:2])
    assert s.scheduler.has_openings
    node_id = s.scheduler.next_opening()
    assert node_id in {"n1", "n2", "n3"}
    s.visit(node_id)
    assert s.running(waiting) == 1
    assert openings(s) == []


def test_once_the_limit_is_reached_again_no_more_nodes_are_named() -> None:
    s, running, waiting = at_its_limit(waits=5)
    for one in s.containers(running):
        s.finish(one)
        while (node_id := s.scheduler.next_opening()) is not None:
            s.visit(node_id)
    assert s.running(waiting) == 2
    # Four ends, of which each second lets in one: nowhere was looked for more.
    s.ask(s.submit("p.a"), 1, cpus=1, memory="1G")
    assert openings(s) == []


def test_where_nobody_comes_each_node_with_room_is_named_once() -> None:
    s, running, _ = at_its_limit(nodes=40)
    s.finish(*s.containers(running)[:2])
    # The first has two CPUs free as well.
    assert sorted(openings(s)) == sorted(f"n{number}" for number in range(40))
    assert not s.scheduler.has_openings


def test_who_does_not_wait_any_more_is_not_looked_for() -> None:
    s, running, waiting = at_its_limit()
    s.finish(*s.containers(running)[:2])
    s.ask(waiting, 0, cpus=2, memory="1G")
    assert openings(s) == []


def test_a_limit_below_that_is_reached_names_nothing_until_that_one_lets_in() -> None:
    tree = queues(queue("p", queue("a"), queue("b", max_share=amounts(2, "64G")), max_share=amounts(4, "64G")))
    s = Scenario(tree)
    for number in range(3):
        s.add_node(f"n{number}", cpus=4, memory="16G")
    other, small, large = s.submit("p.a"), s.submit("p.b"), s.submit("p.b")
    s.ask(other, 3, cpus=1, memory="1G")
    s.ask(small, 1, cpus=1, memory="1G")
    s.visit("n0")
    s.ask(large, 1, cpus=2, memory="1G")
    s.visit("n0", "n1", "n2")
    s.finish(*s.containers(other))
    # p would let it in now, p.b uses 1 of 2.
    assert openings(s) == []
    s.finish(*s.containers(small))
    assert sorted(openings(s)) == ["n0", "n1", "n2"]


def test_a_limit_in_percent_that_grows_with_the_cluster_lets_in_what_fits_elsewhere() -> None:
    half = ShareOfCluster(default=0.125)
    s, *_ = at_its_limit(queues(queue("p", queue("a"), queue("b"), max_share_of_cluster=half), queue("other")))
    # An eighth of 32 CPUs; of 48 it is 6.
    s.add_node("small", cpus=1, memory="1G")
    assert openings(s) == []
    s.add_node("large", cpus=15, memory="16G")
    assert "n1" in openings(s)


def test_masters_that_may_run_again_are_looked_for_where_there_is_room() -> None:
    s = Scenario(queues(queue("q", max_am_share=0.25)))
    s.add_node("n0", cpus=4, memory="4G")
    first, second = s.submit("q"), s.submit("q")
    s.handle(UpdateShares())
    for app in (first, second):
        s.ask(app, 1, cpus=1, memory="1G", for_master=True)
    s.visit("n0")
    assert (s.running(first), s.running(second)) == (1, 0)
    s.end(first)
    assert openings(s) == ["n0"]


def test_a_node_where_kept_space_was_let_go_is_named_unless_it_was_visited_since() -> None:
    s = Scenario(
        queues(
            queue("a"), queue("b", fair_share_preemption_timeout_s=1.0, fair_share_preemption_threshold=1.0), queue("c")
        ),
        options=SchedulerOptions(preemption_utilization_threshold=0.0, wait_before_kill_s=60.0),
    )
    for number in range(2):
        s.add_node(f"n{number}", cpus=4, memory="4G")
    rich, starved = s.submit("a"), s.submit("b")
    s.ask(rich, 6, cpus=1, memory="1G")
    s.settle()
    s.ask(starved, 1, cpus=3, memory="3G")
    assert s.preempt() == []
    assert len(s.preempt(2)) > 0
    s.ask(s.submit("c"), 1, cpus=1, memory="1G")
    s.end(starved)
    assert len(openings(s)) == 1
    assert openings(s) == []


def test_a_node_whose_reservation_went_with_its_application_is_named() -> None:
    s = Scenario(queues(queue("a"), queue("b")), options=SchedulerOptions(reservable_nodes=1.0))
    s.add_node("n0", cpus=4, memory="4G")
    first, large = s.submit("a"), s.submit("b")
    s.ask(first, 3, cpus=1, memory="1G")
    s.visit("n0")
    s.handle(UpdateShares())
    s.ask(large, 1, cpus=2, memory="2G")
    s.visit("n0")
    s.ask(first, 1, cpus=1, memory="1G")
    s.end(large)
    assert openings(s) == ["n0"]
