"""Node labels: nodes for who names them alone, and nodes of which others get what is left."""

from __future__ import annotations

import pytest

from hrm.core.events import ContainerResize, NodeResourceUpdate
from hrm.model.nodes import NodeSpec
from hrm.model.scheduling import SchedulerOptions
from hrm.testing.builders import Scenario, amounts, node, queue, queues

STRATEGIES = [None, "spread", "pack", "best_fit", "random"]


def cluster(*nodes: NodeSpec, strategy: str | None = None) -> Scenario:
    s = Scenario(queues(queue("a"), queue("b")), options=SchedulerOptions(placement_strategy=strategy))
    for one in nodes:
        s.join(one)
    return s


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_exclusive_label_keeps_its_nodes_for_who_names_it(strategy: str | None) -> None:
    s = cluster(node("n1", cpus=2), node("n2", cpus=2, label="teaching"), strategy=strategy)
    teacher, other = s.submit("a"), s.submit("b")
    s.ask(other, 4)
    s.ask(teacher, 4, label="teaching")

    granted = s.settle()

    places = {(grant.container_id.attempt, grant.node_id) for grant in granted}
    assert places == {(teacher, "n2"), (other, "n1")}
    assert (s.running(teacher), s.running(other)) == (2, 2)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_who_names_a_label_gets_no_node_without_it_nor_with_another(strategy: str | None) -> None:
    s = cluster(node("n1"), node("n2", label="large", exclusive=False), strategy=strategy)
    teacher = s.submit("a")

    s.ask(teacher, 1, label="teaching")

    assert s.settle() == []


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_label_that_is_not_exclusive_leaves_to_others_what_its_own_do_not_want(strategy: str | None) -> None:
    s = cluster(node("n1", cpus=4, label="teaching", exclusive=False), strategy=strategy)
    other, teacher = s.submit("a"), s.submit("b")
    s.ask(other, 8)
    s.ask(teacher, 3, label="teaching")

    s.settle()

    assert (s.running(teacher), s.running(other)) == (3, 1)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_its_own_may_not_use_for_a_max_share_others_may(strategy: str | None) -> None:
    s = Scenario(
        queues(queue("a"), queue("b", max_share=amounts(cpus=1, memory="16G"))),
        options=SchedulerOptions(placement_strategy=strategy),
    )
    s.join(node("n1", cpus=4, label="teaching", exclusive=False))
    other, teacher = s.submit("a"), s.submit("b")
    s.ask(other, 8)
    s.ask(teacher, 3, label="teaching")

    s.settle()

    assert (s.running(teacher), s.running(other)) == (1, 3)


def test_who_has_no_label_does_not_reserve_a_labelled_node() -> None:
    s = Scenario(queues(queue("a"), queue("b")), options=SchedulerOptions(reservable_nodes=1.0))
    s.join(node("n1", cpus=4, memory="4G", label="teaching", exclusive=False))
    small, large = s.submit("a"), s.submit("b")
    s.ask(small, 4)
    s.settle()

    s.ask(large, 1, memory="3G")
    s.update_shares()
    s.visit("n1")

    assert s.scheduler.node_views()[0].reserved_for is None


def test_nobody_ends_on_labelled_nodes_for_who_has_no_label() -> None:
    starving = {"fair_share_preemption_timeout_s": 1.0, "fair_share_preemption_threshold": 1.0}
    s = Scenario(queues(queue("a"), queue("b", **starving)), options=SchedulerOptions(wait_before_kill_s=0.0))
    s.join(node("n1", cpus=4, memory="4G"))
    s.join(node("n2", cpus=4, memory="4G", label="teaching", exclusive=False))
    first, starved = s.submit("a"), s.submit("b")
    s.ask(first, 8)
    s.settle()
    s.ask(starved, 4)

    told = [*s.preempt(), *s.preempt(after_s=5), *s.preempt(after_s=5)]

    assert {one.node_id for one in told} == {"n1"}


def test_for_who_names_a_label_others_may_end_on_its_nodes() -> None:
    starving = {"fair_share_preemption_timeout_s": 1.0, "fair_share_preemption_threshold": 1.0}
    s = Scenario(queues(queue("a"), queue("b", **starving)), options=SchedulerOptions(wait_before_kill_s=0.0))
    s.join(node("n1", cpus=4, memory="4G"))
    s.join(node("n2", cpus=4, memory="4G", label="teaching", exclusive=False))
    first, starved = s.submit("a"), s.submit("b")
    s.ask(first, 8)
    s.settle()
    s.ask(starved, 2, label="teaching")

    told = [*s.preempt(), *s.preempt(after_s=5), *s.preempt(after_s=5)]

    assert {one.node_id for one in told} == {"n2"}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_gang_without_a_label_leaves_nodes_to_those_that_want_them(strategy: str | None) -> None:
    s = cluster(node("n1", cpus=2), node("n2", cpus=2, label="teaching", exclusive=False), strategy=strategy)
    gang, teacher = s.submit("a"), s.submit("b")
    s.ask_gang(gang, 4)
    s.ask(teacher, 1, label="teaching")

    s.settle()

    assert (s.running(gang), s.running(teacher)) == (0, 1)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_gang_without_a_label_uses_nodes_that_nobody_else_wants(strategy: str | None) -> None:
    s = cluster(node("n1", cpus=2), node("n2", cpus=2, label="teaching", exclusive=False), strategy=strategy)
    gang = s.submit("a")

    s.ask_gang(gang, 4)
    s.settle()

    assert s.running(gang) == 4


def test_what_runs_stays_when_its_node_gets_a_label_and_may_grow() -> None:
    s = cluster(node("n1", cpus=4))
    app = s.submit("a")
    s.ask(app, 1)
    (granted,) = s.settle()

    s.handle(NodeResourceUpdate(node("n1", cpus=4, label="teaching")))
    s.ask(app, 1)
    s.handle(ContainerResize(granted.container_id, amounts(cpus=2, memory="2G")))
    s.settle()

    assert (s.running(app), s.pending(app)) == (1, 1)
    assert s.used("a") == amounts(cpus=2, memory="2G")


def test_an_explanation_names_the_label_that_no_node_has() -> None:
    s = cluster(node("n1"), node("n2", label="large"))
    app = s.submit("a")
    s.ask(app, 1, label="teaching")
    s.settle()

    explained = s.explain(app)

    assert explained.reason == "not_offered"
    assert "node label teaching is missing on n1, n2" in explained.message
    assert {"kind": "missing", "need": "node label teaching", "count": 2, "nodes": ["n1", "n2"]} in explained.evidence


def test_an_explanation_names_nodes_that_are_kept_for_who_names_their_label() -> None:
    s = cluster(node("n1", cpus=1), node("n2", cpus=4, label="teaching"))
    app = s.submit("a")
    s.ask(app, 2)
    s.settle()

    explained = s.explain(app)

    assert explained.reason == "insufficient_vcores"
    assert "n2 has an exclusive node label, which it does not name" in explained.message
    assert explained.conditions[1].text == "has no node label, or one that is not exclusive"
