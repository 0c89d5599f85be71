"""Gangs: so many containers at once or none, over several nodes."""

from __future__ import annotations

import pytest

from hrm.core.events import (
    BlacklistChanged,
    NodeResourceUpdate,
)
from hrm.model.errors import InvalidInput
from hrm.model.requests import GangRequest
from hrm.model.scheduling import SchedulerOptions, Strategy
from hrm.testing.builders import amounts, node, request
from tests.scenarios.core.gang_situations import GATHER_S, cluster, end_one_on, full_of_small_ones

# ---- at once or not at all


def test_all_of_it_is_granted_in_one_decision_over_several_nodes() -> None:
    s = cluster(3)
    app = s.submit("a")
    s.ask_gang(app, 6)

    granted = s.visit("n1")

    assert len(granted) == 6
    assert {one.node_id for one in granted} == {"n0", "n1", "n2"}


def test_neighbours_on_a_node_come_one_after_another() -> None:
    s = cluster(3)
    app = s.submit("a")
    s.ask_gang(app, 6)

    nodes = [one.node_id for one in s.visit("n1")]

    assert nodes == ["n1", "n1", "n0", "n0", "n2", "n2"]


def test_one_that_does_not_fit_as_a_whole_holds_nothing() -> None:
    s = cluster(3)
    app, other = s.submit("a"), s.submit("b")
    s.ask_gang(app, 7)
    s.ask(other, 6)

    s.settle()

    assert (s.running(app), s.running(other)) == (0, 6)


def test_it_is_granted_as_soon_as_the_last_of_it_fits() -> None:
    s = cluster(2)
    first, gang = s.submit("b"), s.submit("a")
    s.ask(first, 1)
    s.settle()
    s.ask_gang(gang, 4)
    s.settle()
    assert s.running(gang) == 0

    end_one_on(s, first, s.containers(first)[0].node_id)

    assert s.running(gang) == 4


def test_no_node_gets_more_of_it_than_it_says() -> None:
    s = cluster(3)
    app = s.submit("a")
    s.ask_gang(app, 3, tasks_per_node=1)

    granted = s.settle()

    assert sorted(one.node_id for one in granted) == ["n0", "n1", "n2"]


def test_with_fewer_nodes_than_that_needs_it_waits() -> None:
    s = cluster(3, cpus=8)
    app = s.submit("a")
    s.ask_gang(app, 4, tasks_per_node=1)

    assert s.settle() == []
    assert s.reason(app) == "never_fits"


def test_containers_of_several_shapes_are_one_gang() -> None:
    s = cluster(2)
    app = s.submit("a")
    one_gang = GangRequest()
    s.request(app, request(3, request_id=0, gang=one_gang), request(1, memory="2G", request_id=1, gang=one_gang))

    assert s.settle() == []
    s.add_node("n2", cpus=2, memory="2G")
    granted = s.visit("n2")

    assert sorted(one.allocation_request_id for one in granted) == [0, 0, 0, 1]


def test_whole_gpus_are_found_for_every_member() -> None:
    s = cluster(0)
    s.add_node("n0", gpus=2)
    s.add_node("n1", gpus=2)
    app = s.submit("a")
    s.ask_gang(app, 4, gpus=1)

    granted = s.visit("n0")

    assert sorted(one.device_ids[0] for one in granted) == ["n0/0", "n0/1", "n1/0", "n1/1"]


@pytest.mark.parametrize("strategy", list(Strategy))
def test_where_a_strategy_chooses_nodes_it_chooses_them_for_each_member(strategy: Strategy) -> None:
    s = cluster(4, options=SchedulerOptions(placement_strategy=strategy))
    small, app = s.submit("b"), s.submit("a")
    s.ask(small, 2)
    s.settle()
    s.ask_gang(app, 7)
    assert s.settle() == [], "seven of six"
    s.ask_gang(app, 6)

    granted = s.settle()

    assert len(granted) == 6


def test_spread_lays_it_out_over_the_nodes_and_pack_fills_them() -> None:
    nodes_of = {}
    for strategy in (Strategy.SPREAD, Strategy.PACK):
        s = cluster(4, options=SchedulerOptions(placement_strategy=strategy), cpus=4)
        app = s.submit("a")
        s.ask_gang(app, 4)
        nodes_of[strategy] = {one.node_id for one in s.visit("n0")}

    assert len(nodes_of[Strategy.SPREAD]) == 4
    assert len(nodes_of[Strategy.PACK]) == 1


# ---- whose turn it is, and limits


def test_its_turn_comes_by_the_queues_order_as_for_anything_else() -> None:
    s = cluster(2)
    rich, poor = s.submit("a"), s.submit("b")
    s.ask(rich, 2)
    s.settle()
    s.ask(rich, 2)
    s.ask_gang(poor, 2)

    granted = s.visit("n0", "n1")

    assert [one.container_id.attempt for one in granted] == [poor, poor]


def test_a_max_share_counts_the_whole_of_it() -> None:
    s = cluster(3, max_share=amounts(3, "3G"))
    app = s.submit("a")
    s.ask_gang(app, 4)

    assert s.settle() == []
    assert s.explain(app).message.startswith("asks for 4G at once, more than the max share of queue a (3G)")

    s.ask_gang(app, 3)
    assert len(s.settle()) == 3


def test_a_limit_on_containers_of_a_visit_cuts_no_gang() -> None:
    s = cluster(3, options=SchedulerOptions(max_assign=1))
    app = s.submit("a")
    s.ask_gang(app, 5)

    assert len(s.visit("n0")) == 5


def test_a_blacklisted_node_gets_none_of_it() -> None:
    s = cluster(3)
    app = s.submit("a")
    s.handle(BlacklistChanged(app.application, frozenset({"n1"})))
    s.ask_gang(app, 5)
    assert s.settle() == []

    s.ask_gang(app, 4)

    assert {one.node_id for one in s.settle()} == {"n0", "n2"}


def test_a_smaller_gang_is_tried_at_once() -> None:
    s = cluster(2)
    app = s.submit("a")
    s.ask_gang(app, 5)
    assert s.settle() == []

    s.ask_gang(app, 4)

    assert len(s.settle()) == 4


def test_a_node_that_holds_more_than_it_has_takes_nothing_from_what_is_free_elsewhere() -> None:
    s = cluster(0)
    s.add_node("n0", cpus=4, memory="4G")
    s.add_node("n1", cpus=2, memory="2G")
    first, app = s.submit("b"), s.submit("a")
    s.ask(first, 4)
    s.visit("n0")
    s.handle(NodeResourceUpdate(node("n0", cpus=1, memory="1G")))
    s.ask_gang(app, 2)

    assert [one.node_id for one in s.visit("n1")] == ["n1", "n1"]


def test_a_device_that_is_gone_while_it_is_used_takes_nothing_from_those_that_are_free() -> None:
    s = cluster(0)
    s.add_node("n0", gpus=2)
    s.add_node("n1", gpus=2)
    first, app = s.submit("b"), s.submit("a")
    s.ask(first, 1, gpus=1)
    s.visit("n0")
    whole = node("n0", gpus=2)
    s.handle(NodeResourceUpdate(whole.with_devices(whole.devices[1:])))
    s.ask_gang(app, 3, gpus=1)

    assert len(s.visit("n1")) == 3


def test_members_name_no_places() -> None:
    with pytest.raises(InvalidInput, match="name no place"):
        request(2, where="n1", gang=GangRequest())


# ---- why it waits


def test_the_explanation_says_how_many_fit_now() -> None:
    s = cluster(2)
    small, app = s.submit("b"), s.submit("a")
    s.ask(small, 1)
    s.settle()
    s.ask_gang(app, 4)
    s.settle()

    explanation = s.explain(app)

    assert explanation.reason == "insufficient_for_gang"
    assert "waits for 4 containers of 1 vcore, 1G at once: 3 fit now" in explanation.message
    (fact,) = (one for one in explanation.evidence if one["kind"] == "gang")
    assert (fact["size"], fact["fitting"], fact["fitting_when_empty"]) == (4, 3, 4)


def test_the_explanation_says_since_when_it_gathers_and_which_nodes() -> None:
    s, _, gang = full_of_small_ones(2)
    s.ask_gang(gang, 4)
    s.update_gangs()
    s.advance(90)

    assert "none fit now; it has been gathering nodes for 1m30s: n0, n1" in s.explain(gang).message


def test_the_explanation_says_who_gathers_before_it() -> None:
    s, _, first = full_of_small_ones(2)
    second = s.submit("b")
    s.ask_gang(first, 4)
    s.ask_gang(second, 4)
    s.update_gangs()

    assert f"application {first.application.seq} gathers nodes before it" in s.explain(second).message


def test_the_explanation_says_when_it_may_gather_again() -> None:
    s, _, gang = full_of_small_ones(2)
    s.ask_gang(gang, 4)
    s.update_gangs()
    s.update_gangs(after_s=GATHER_S)

    assert "let them go, and may do so again after 10m00s" in s.explain(gang).message


def test_what_all_nodes_together_never_hold_is_said_with_numbers() -> None:
    s = cluster(2)
    app = s.submit("a")
    s.ask_gang(app, 5)

    assert s.explain(app).message == (
        "asks for 5 containers of 1 vcore, 1G at once; all nodes together would hold 4 if nothing else ran there"
    )


def test_no_change_of_one_container_is_promised_to_start_it() -> None:
    s, _, gang = full_of_small_ones(2)
    s.ask_gang(gang, 4)

    assert not any(change.starts_now for change in s.explain(gang).changes)


def test_how_many_empty_nodes_would_hold_at_once_is_told_for_refusing() -> None:
    s, _, _ = full_of_small_ones(3)

    assert s.scheduler.most_at_once([request(100)]) == 6
    assert s.scheduler.most_at_once([request(100)], tasks_per_node=1) == 3
