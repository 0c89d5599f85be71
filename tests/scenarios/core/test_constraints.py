"""Which nodes will do by their attributes: expressions of requests, nodes whose attributes change, and what is said."""

from __future__ import annotations

import pytest

from hrm.core.events import NodeResourceUpdate
from hrm.model.nodes import NodeSpec
from hrm.model.scheduling import SchedulerOptions
from hrm.testing.builders import Scenario, node, queue, queues


def cluster(*nodes: NodeSpec, strategy: str | None = None) -> Scenario:
    s = Scenario(queues(queue("all")), options=SchedulerOptions(placement_strategy=strategy))
    for one in nodes:
        s.join(one)
    return s


@pytest.mark.parametrize("strategy", [None, "spread", "pack", "best_fit", "fgd", "random"])
def test_it_is_placed_only_where_its_constraint_holds(strategy: str | None) -> None:
    s = cluster(node("n1", os="debian11"), node("n2", os="debian12"), node("n3"), strategy=strategy)
    app = s.submit("all")

    s.ask(app, 3, constraint="os!=debian11 & os")
    granted = s.settle()

    assert [one.node_id for one in granted] == ["n2"] * 3


def test_equal_constraints_written_in_other_ways_are_one_request() -> None:
    s = cluster(node("n1", os="debian12"))
    app = s.submit("all")

    s.ask(app, 3, constraint="!(hdd | os!=debian12)")
    s.ask(app, 1, constraint="!hdd&os=debian12")
    granted = s.settle()

    assert len(granted) == 1


def test_it_waits_until_an_attribute_of_a_node_changes_and_says_what_there_is() -> None:
    s = cluster(node("n1", os="debian11"), node("n2", os="debian11"), node("n3"))
    app = s.submit("all")
    s.ask(app, 1, constraint="os=debian12")
    assert s.settle() == []

    explained = s.explain(app)
    s.handle(NodeResourceUpdate(node("n2", os="debian12")))
    granted = s.settle()

    assert explained.reason == "not_offered"
    assert "no node has os=debian12 (2 have os=debian11, 1 has no such attribute)" in explained.message
    assert {
        "kind": "attribute",
        "need": "os=debian12",
        "count": 3,
        "nodes": ["n1", "n2", "n3"],
        "there": {"os=debian11": 2, "": 1},
    } in explained.evidence
    assert [one.node_id for one in granted] == ["n2"]


def test_each_condition_that_some_nodes_do_not_meet_is_named_beside_what_it_waits_for() -> None:
    s = cluster(node("n1", cpus=1, os="debian12"), node("n2", os="debian11"), node("n3", os="debian12", hdd=""))
    app = s.submit("all")
    s.ask(app, 2, constraint="os=debian12 & !hdd")
    s.settle()

    explained = s.explain(app)

    assert explained.reason == "insufficient_vcores"
    assert "os=debian12 is not so on n2 (2 have os=debian12, 1 has os=debian11)" in explained.message
    assert "!hdd is not so on n3" in explained.message
    assert explained.conditions[1].text == "has os=debian12 and !hdd"


def test_what_runs_stays_when_its_node_changes_and_nothing_new_comes() -> None:
    s = cluster(node("n1", os="debian12"))
    app = s.submit("all")
    s.ask(app, 1, constraint="os=debian12")
    s.settle()

    s.handle(NodeResourceUpdate(node("n1", os="debian11")))
    s.ask(app, 1, constraint="os=debian12")

    assert s.settle() == []
    assert (s.running(app), s.pending(app)) == (1, 1)


def test_a_reservation_goes_when_the_node_is_no_more_what_was_asked_for() -> None:
    s = Scenario(queues(queue("a"), queue("b")), options=SchedulerOptions(reservable_nodes=1.0))
    s.join(node("n1", cpus=4, memory="4G", os="debian12"))
    small, large = s.submit("a"), s.submit("b")
    s.ask(small, 4)
    s.settle()
    s.ask(large, 1, memory="3G", constraint="os=debian12")
    s.update_shares()
    s.visit("n1")
    assert s.scheduler.node_views()[0].reserved_for == large.application

    s.handle(NodeResourceUpdate(node("n1", cpus=4, memory="4G", os="debian11")))
    s.visit("n1")

    assert s.scheduler.node_views()[0].reserved_for is None


def test_a_gang_is_laid_out_on_nodes_that_its_members_allow() -> None:
    s = cluster(node("n1", cpus=2, os="debian11"), node("n2", cpus=2, os="debian12"), node("n3", cpus=2, os="debian12"))
    app = s.submit("all")

    s.ask_gang(app, 4, constraint="os=debian12")
    granted = s.settle()

    assert sorted(one.node_id for one in granted) == ["n2", "n2", "n3", "n3"]


def test_nobody_ends_for_it_on_a_node_that_is_not_what_it_wants() -> None:
    starving = {"fair_share_preemption_timeout_s": 1.0, "fair_share_preemption_threshold": 1.0}
    s = Scenario(queues(queue("a"), queue("b", **starving)), options=SchedulerOptions(wait_before_kill_s=0.0))
    s.join(node("n1", cpus=4, memory="4G", os="debian11"))
    s.join(node("n2", cpus=4, memory="4G", os="debian12"))
    first, starved = s.submit("a"), s.submit("b")
    s.ask(first, 8)
    s.settle()
    s.ask(starved, 2, constraint="os=debian12")

    told = [*s.preempt(), *s.preempt(after_s=5), *s.preempt(after_s=5)]

    assert {one.node_id for one in told} == {"n2"}
