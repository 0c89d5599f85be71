"""What a request needs of a node besides amounts, and nodes that come to offer it or do not any more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hrm.core.events import NodeResourceUpdate
from hrm.model.nodes import NodeSpec
from hrm.model.scheduling import SchedulerOptions
from hrm.testing.builders import Scenario, node, queue, queues

DATA, HOME = "shared path /data", "shared path /home"


def offering(node_id: str, *offers: str, **size: object) -> NodeSpec:
    return replace(node(node_id, **size), offers=offers)  # type: ignore[arg-type]


def cluster(*nodes: NodeSpec, strategy: str | None = None) -> Scenario:
    s = Scenario(queues(queue("all")), options=SchedulerOptions(placement_strategy=strategy))
    for one in nodes:
        s.join(one)
    return s


@pytest.mark.parametrize("strategy", [None, "spread", "pack", "random"])
def test_it_is_placed_only_where_all_that_it_needs_is_offered(strategy: str | None) -> None:
    s = cluster(offering("n1"), offering("n2", DATA), offering("n3", DATA, HOME), strategy=strategy)
    app = s.submit("all")

    s.ask(app, 2, needs=[DATA, HOME])
    granted = s.settle()

    assert [one.node_id for one in granted] == ["n3", "n3"]


def test_what_needs_nothing_shares_no_shape_with_what_does() -> None:
    s = cluster(offering("n1"), offering("n2", DATA))
    one, other = s.submit("all"), s.submit("all")

    s.ask(one, 1, needs=[DATA])
    s.ask(other, 1)
    granted = s.visit("n1")

    assert [grant.container_id.attempt for grant in granted] == [other]


def test_it_waits_until_a_node_offers_it_and_says_where_it_is_missing() -> None:
    s = cluster(offering("n1"), offering("n2"))
    app = s.submit("all")
    s.ask(app, 1, needs=[DATA])
    assert s.settle() == []

    explained = s.explain(app)
    s.handle(NodeResourceUpdate(offering("n2", DATA)))
    granted = s.settle()

    assert explained.reason == "not_offered"
    assert "shared path /data is missing on n1, n2" in explained.message
    assert {"kind": "missing", "need": DATA, "count": 2, "nodes": ["n1", "n2"]} in explained.evidence
    assert [one.node_id for one in granted] == ["n2"]


def test_where_some_nodes_offer_it_and_are_full_the_others_are_named_besides() -> None:
    s = cluster(offering("n1", DATA, cpus=1), offering("n2", HOME, cpus=4))
    app = s.submit("all")
    s.ask(app, 2, needs=[DATA])
    s.settle()

    explained = s.explain(app)

    assert explained.reason == "insufficient_vcores"
    assert "; shared path /data is missing on n2" in explained.message
    assert [step.code for step in explained.conditions][1] == "needs"
    assert (explained.conditions[1].passing, explained.conditions[1].remaining) == (1, 1)


def test_what_runs_stays_when_its_node_stops_offering_it_and_nothing_new_comes() -> None:
    s = cluster(offering("n1", DATA))
    app = s.submit("all")
    s.ask(app, 1, needs=[DATA])
    s.settle()

    s.handle(NodeResourceUpdate(offering("n1")))
    s.ask(app, 1, needs=[DATA])

    assert s.settle() == []
    assert (s.running(app), s.pending(app)) == (1, 1)
    assert s.reason(app) == "not_offered"


def test_a_node_is_not_reserved_for_what_it_does_not_offer() -> None:
    s = Scenario(queues(queue("a"), queue("b")), options=SchedulerOptions(reservable_nodes=1.0))
    s.join(offering("n1", cpus=4, memory="4G"))
    s.join(offering("n2", DATA, cpus=4, memory="4G"))
    small, large = s.submit("a"), s.submit("b")
    s.ask(small, 8)
    s.settle()
    s.ask(small, 100)

    s.ask(large, 1, memory="3G", needs=[DATA])
    s.update_shares()
    s.visit("n1", "n2")

    reserved = {view.node_id: view.reserved_for for view in s.scheduler.node_views()}
    assert reserved == {"n1": None, "n2": large.application}
