"""Strategies that choose the node for each request."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest

from hrm.core.amounts import Amounts
from hrm.core.applications import Shape
from hrm.core.candidates import MAX_RANKINGS
from hrm.core.commands import NodeReserved, StrategyFailed
from hrm.core.events import BlacklistChanged, NodeResourceUpdate, NodeSchedulable, NodeUpdate, OptionsChanged
from hrm.core.nodes import Node
from hrm.core.strategies import BUILT_IN, PlacementStrategy, Score
from hrm.model.errors import InvalidInput
from hrm.model.scheduling import SchedulerOptions, Strategy
from hrm.testing.builders import Scenario, amounts, node, queue, queues, request


def placing(strategy: str | None, **options: object) -> Scenario:
    chosen = SchedulerOptions(placement_strategy=strategy, **options)  # type: ignore[arg-type]
    return Scenario(queues(queue("all", policy="drf"), policy="drf"), options=chosen)


def nodes_of(s: Scenario, visited: str = "n1") -> list[str]:
    """Where one visit places what waits, in order."""
    return [one.node_id for one in s.visit(visited)]


# ---- the unit of a decision


def test_without_a_strategy_what_fits_on_the_visited_node_is_placed_there() -> None:
    s = placing(None)
    s.add_node("n1", cpus=4)
    s.add_node("n2", cpus=4)
    s.ask(s.submit("all"), 4)

    assert nodes_of(s, "n2") == ["n2"] * 4


def test_with_a_strategy_a_visit_of_any_node_places_on_the_best() -> None:
    s = placing("spread")
    for name in ("n1", "n2", "n3"):
        s.add_node(name, cpus=2)
    s.ask(s.submit("all"), 5)

    assert nodes_of(s, "n3") == ["n1", "n2", "n3", "n1", "n2"]


def test_queues_still_decide_whose_turn_it_is() -> None:
    s = Scenario(
        queues(queue("a", weight=3.0), queue("b", weight=1.0)), options=SchedulerOptions(placement_strategy="spread")
    )
    s.add_node("n1", cpus=4, memory="4G")
    s.add_node("n2", cpus=4, memory="4G")
    a, b = s.submit("a"), s.submit("b")
    s.ask(a, 8)
    s.ask(b, 8)

    s.settle()

    assert (s.running(a), s.running(b)) == (6, 2)


def test_for_the_pacer_one_node_is_worth_a_visit_where_one_visit_places_all() -> None:
    for strategy, more, worth in (
        (None, {}, ["n1", "n2"]),
        ("pack", {}, ["n1"]),
        ("pack", {"assign_multiple": False}, ["n1", "n2"]),
    ):
        s = placing(strategy, **more)
        s.add_node("n1")
        s.add_node("n2")
        s.ask(s.submit("all"), 1)

        assert list(s.scheduler.nodes_with_room()) == worth


def test_a_visit_places_as_many_as_it_may() -> None:
    s = placing("spread", max_assign=2)
    s.add_node("n1")
    s.add_node("n2")
    s.ask(s.submit("all"), 5)

    assert [len(s.visit("n1")) for _ in range(3)] == [2, 2, 1]
    s.ask(s.submit("all"), 3)
    assert len(s.handle(NodeUpdate("n1", most=1))) == 1


def test_the_strategy_changes_with_the_options() -> None:
    s = placing(None)
    s.add_node("n1")
    s.add_node("n2")
    app = s.submit("all")
    s.ask(app, 1)
    assert nodes_of(s) == ["n1"]

    s.handle(OptionsChanged(SchedulerOptions(placement_strategy="spread")))
    s.ask(app, 1)
    assert nodes_of(s) == ["n2"]

    s.handle(OptionsChanged(SchedulerOptions()))
    s.ask(app, 1)
    assert nodes_of(s) == ["n1"]


def test_a_strategy_that_is_not_there_is_refused_and_nothing_changes() -> None:
    with pytest.raises(InvalidInput, match="'spead'"):
        placing("spead")
    s = placing("spread")
    s.add_node("n1")
    s.add_node("n2")
    s.ask(s.submit("all"), 2)

    with pytest.raises(InvalidInput, match="no such placement strategy"):
        s.handle(OptionsChanged(SchedulerOptions(placement_strategy="spead")))

    assert nodes_of(s) == ["n1", "n2"]


# ---- each strategy


def test_pack_takes_the_fullest_node_that_has_room() -> None:
    s = placing("pack")
    s.add_node("n1", cpus=4, memory="4G")
    s.add_node("n2", cpus=4, memory="4G")
    app = s.submit("all")
    s.ask(app, 1, where="n2", relax=False)
    s.visit("n1")

    s.ask(app, 5)

    assert nodes_of(s) == ["n2", "n2", "n2", "n1", "n1"]


def test_spread_counts_tasks_not_amounts() -> None:
    s = placing("spread")
    s.add_node("n1", cpus=8)
    s.add_node("n2", cpus=8)
    app = s.submit("all")
    s.ask(app, 1, cpus=6, request_id=1)
    s.ask(app, 2, cpus=1, request_id=2)

    # The second goes to the empty node, the third, one each, to the one that joined first.
    assert nodes_of(s) == ["n1", "n2", "n1"]


def test_best_fit_leaves_least() -> None:
    s = placing("best_fit")
    s.add_node("n1", cpus=10, gpus=4)
    s.add_node("n2", cpus=8, gpus=2)
    s.ask(s.submit("all"), 1, cpus=2, gpus=1)

    # Left of the largest node's 10 and 4: (8/10 + 3/4) / 2 = 0.775 on n1, (6/10 + 1/4) / 2 = 0.425 on n2.
    assert nodes_of(s) == ["n2"]


def test_best_fit_goes_by_memory_where_there_are_no_gpus() -> None:
    s = placing("best_fit")
    s.add_node("n1", cpus=8, memory="16G")
    s.add_node("n2", cpus=8, memory="8G")
    s.ask(s.submit("all"), 1)

    assert nodes_of(s) == ["n2"]


def test_dot_product_takes_what_is_least_like_the_request() -> None:
    s = placing("dot_product")
    s.add_node("n1", cpus=2, gpus=8)
    s.add_node("n2", cpus=10, gpus=2)
    app = s.submit("all")
    s.ask(app, 1, cpus=1, gpus=2, request_id=1)
    s.ask(app, 1, cpus=1, gpus=0, request_id=2)

    # With 1 vcore of 10 and 2 GPUs of 8: (0.2·0.1 + 1·0.25) / 2 = 0.135 on n1, (1·0.1 + 0.25·0.25) / 2 = 0.081 on n2.
    # Without GPUs: 0.1·0.1 / 2 = 0.005 on n1 (one vcore is left of 2), 0.9·0.1 / 2 = 0.045 on n2.
    assert nodes_of(s) == ["n2", "n1"]


def test_sizes_are_parts_of_the_largest_node_there_is_now() -> None:
    s = placing("best_fit")
    s.add_node("n1", cpus=4, memory="8G")
    s.add_node("n2", cpus=8, memory="4G")
    app = s.submit("all")
    s.ask(app, 1)
    # Left: (3/8 + 7/8) / 2 = 0.625 on n1, (7/8 + 3/8) / 2 on n2: equal, so the one that joined first.
    assert nodes_of(s) == ["n1"]

    s.add_node("n3", cpus=8, memory="64G")
    s.ask(app, 1)

    # Memory is a smaller part of the largest now: (2/8 + 6/64) / 2 on n1, (7/8 + 3/64) / 2 on n2.
    assert nodes_of(s) == ["n1"]
    s.handle(NodeResourceUpdate(node("n3", cpus=64, memory="8G")))
    s.ask(app, 1)
    # (1/64 + 5/8) / 2 on n1, (7/64 + 3/8) / 2 on n2.
    assert nodes_of(s) == ["n2"]


def test_fgd_puts_a_task_without_gpus_where_no_gpu_loses_its_vcores() -> None:
    s = placing("fgd")
    s.add_node("n1", cpus=8, gpus=2)
    s.add_node("n2", cpus=8)
    app = s.submit("all")
    s.ask(app, 1, cpus=4, gpus=1, request_id=1, priority=1)
    s.ask(app, 1, cpus=6, request_id=2)

    # On n1 its 6 vcores would leave 2, too few for the task with a GPU, and 2 GPUs would be fragments for that half
    # of the mix; on n2 nothing is lost.
    assert nodes_of(s) == ["n2", "n1"]


def test_fgd_fills_the_device_whose_rest_is_of_least_use() -> None:
    s = placing("fgd")
    s.add_node("n1", cpus=16, gpus=3)
    app = s.submit("all")
    s.ask(app, 2, cpus=1, gpus=0.8, request_id=1)
    assert [one.device_ids for one in s.visit("n1")] == [("n1/0",), ("n1/1",)]

    s.ask(app, 1, cpus=1, gpus=0.2, request_id=2)

    # The 0.2 that is left of n1/0 is of no use to those of 0.8: what goes there takes nothing from them.
    assert [one.device_ids for one in s.visit("n1")] == [("n1/0",)]


def test_fgd_takes_the_node_with_least_idle_gpu_of_equal_ones() -> None:
    s = placing("fgd")
    s.add_node("n1", cpus=32, gpus=4)
    s.add_node("n2", cpus=32, gpus=2)
    s.ask(s.submit("all"), 3, cpus=1, gpus=1)

    assert nodes_of(s) == ["n2", "n2", "n1"]


def test_lookahead_keeps_vcores_for_the_gpus_that_are_idle() -> None:
    s = placing("lookahead")
    s.add_node("n1", cpus=8, gpus=2)
    s.add_node("n2", cpus=16, gpus=2)
    app = s.submit("all")
    s.ask(app, 1, cpus=4, gpus=1, request_id=1, priority=1)
    s.ask(app, 1, cpus=4, request_id=2)

    # Either would still take the task with a GPU, so to fragmentation both are equal. But n1 has vcores for just two
    # of them, and would have them for one.
    assert nodes_of(s)[0] == "n2"


def test_random_takes_each_node_about_equally_often() -> None:
    s = placing("random")
    for i in range(4):
        s.add_node(f"n{i}", cpus=1000, memory="1000G")
    s.ask(s.submit("all"), 400)

    where = nodes_of(s, "n0")

    # 100 each on the average; by chance less than 70 or more than 130 once in two thousand.
    assert all(70 <= where.count(f"n{i}") <= 130 for i in range(4))
    assert sum(a == b for a, b in pairwise(where)) in range(60, 140)


# ---- places, blacklists, nodes that are not open


def test_of_the_places_named_the_best_is_taken_and_any_other_only_without_room_there() -> None:
    s = placing("spread")
    for name, rack in (("n1", "/r1"), ("n2", "/r1"), ("n3", "/r2")):
        s.add_node(name, cpus=1, rack=rack)
    app = s.submit("all")
    s.request(app, request(4), request(1, where="n2"), request(1, where="/r1"))

    assert nodes_of(s) == ["n2", "n1", "n3"]


def test_a_place_that_is_a_must_is_waited_for() -> None:
    s = placing("pack")
    s.add_node("n1", cpus=1)
    s.add_node("n2", cpus=1)
    app = s.submit("all")
    s.ask(app, 2, where="n2", relax=False)

    assert nodes_of(s) == ["n2"]
    assert s.reason(app) == "insufficient_vcores"


def test_opportunities_are_counted_by_heartbeats_of_any_node() -> None:
    s = placing("spread", node_locality_threshold=0.5, rack_locality_threshold=0.5)
    for name, rack in (("n1", "/r1"), ("n2", "/r2"), ("n3", "/r3"), ("n4", "/r3")):
        s.add_node(name, cpus=1, rack=rack)
    busy = s.submit("all")
    s.ask(busy, 1, where="n1", relax=False)
    s.visit("n1")
    app = s.submit("all")
    s.request(app, request(1), request(1, where="n1"), request(1, where="/r1"))

    # 4 nodes × 0.5 = 2: the third opportunity lets it go to the rack, where there is no room; the third after that
    # anywhere.
    assert [nodes_of(s, "n3") for _ in range(6)] == [[], [], [], [], [], ["n2"]]


def test_blacklisted_nodes_are_passed_over() -> None:
    s = placing("spread")
    s.add_node("n1")
    s.add_node("n2")
    app = s.submit("all")
    s.handle(BlacklistChanged(app.application, frozenset({"n1"})))
    s.ask(app, 2)
    assert nodes_of(s) == ["n2", "n2"]

    s.handle(BlacklistChanged(app.application, frozenset({"n1", "n2"})))
    s.ask(app, 1)
    other = s.submit("all")
    s.ask(other, 1)

    assert nodes_of(s) == ["n1"]
    assert (s.running(app), s.running(other)) == (2, 1)


def test_nodes_that_drain_or_leave_take_nothing() -> None:
    s = placing("spread")
    for name in ("n1", "n2", "n3"):
        s.add_node(name)
    app = s.submit("all")
    s.ask(app, 1, cpus=2)
    s.visit("n3")
    s.handle(NodeSchedulable("n2", False))
    s.remove_node("n1")

    s.ask(app, 2, cpus=2)

    assert nodes_of(s, "n3") == ["n3", "n3"]


def test_a_node_that_moved_to_another_rack_is_found_there() -> None:
    s = placing("spread")
    s.add_node("n1", cpus=4, rack="/r1")
    s.add_node("n2", cpus=4, rack="/r2")
    s.handle(NodeResourceUpdate(node("n2", cpus=4, rack="/r1")))
    app = s.submit("all")
    s.ask(app, 2, where="/r1", relax=False)
    assert nodes_of(s) == ["n1", "n2"]

    s.remove_node("n2")
    s.ask(app, 1, where="/r1", relax=False)

    assert nodes_of(s) == ["n1"]


@pytest.mark.parametrize("name", BUILT_IN)
def test_no_strategy_goes_into_a_rack_where_relaxation_is_off(name: str) -> None:
    s = placing(name)
    s.add_node("n1", cpus=4, rack="/r1")
    s.add_node("n2", cpus=1, rack="/r2")
    app = s.submit("all")
    s.request(app, request(2, where="/r1", relax=False), request(2))

    assert nodes_of(s) == ["n2"]
    assert nodes_of(s) == []


def test_shapes_beyond_those_that_are_kept_are_scored_anew() -> None:
    s = placing("pack")
    s.add_node("n1", cpus=1000, memory="1000G")
    s.add_node("n2", cpus=1000, memory="1000G")
    app = s.submit("all")
    for number in range(MAX_RANKINGS + 3):
        s.ask(app, 1, cpus=(1000 + number) / 1000, request_id=number)

    assert set(nodes_of(s)) == {"n1"}
    s.ask(app, 2, cpus=1, request_id=9999)
    assert nodes_of(s) == ["n1", "n1"]


def test_room_that_is_given_back_is_found_again() -> None:
    s = placing("pack")
    s.add_node("n1", cpus=1)
    s.add_node("n2", cpus=1)
    app = s.submit("all")
    s.ask(app, 3)
    first, _ = s.visit("n1")

    s.finish(first)

    assert nodes_of(s, "n2") == ["n1"]


# ---- limits, reservations


def test_max_shares_hold_everywhere() -> None:
    s = Scenario(
        queues(queue("small", max_share=amounts(cpus=2, memory="8G")), queue("large")),
        options=SchedulerOptions(placement_strategy="spread"),
    )
    s.add_node("n1")
    s.add_node("n2")
    app = s.submit("small")
    s.ask(app, 4)

    assert len(s.settle()) == 2
    assert s.reason(app) == "queue_max_share"


def test_what_fits_nowhere_reserves_the_node_that_is_visited_and_gets_it_first() -> None:
    s = placing("spread", reservable_nodes=1.0, reservation_threshold=amounts(cpus=2, memory="2G"))
    s.add_node("n1", cpus=4, memory="4G")
    s.add_node("n2", cpus=4, memory="4G")
    small = s.submit("all")
    s.ask(small, 8)
    running = s.settle()
    big = s.submit("all")
    s.ask(big, 1, cpus=3, memory="3G")
    s.update_shares()

    assert NodeReserved("n2", big.application, amounts(cpus=3, memory="3G")) in s.handle(NodeUpdate("n2"))
    on_n2 = [one for one in running if one.node_id == "n2"]
    s.finish(*on_n2[:3])
    s.ask(small, 8)

    # n2 is not open to others, though three of its vcores are free.
    assert nodes_of(s, "n1") == []
    assert nodes_of(s, "n2") == ["n2"]
    assert s.running(big) == 1


@pytest.mark.parametrize("strategy", [None, *Strategy])
def test_same_events_same_commands(strategy: str | None) -> None:
    def life() -> list[object]:
        s = placing(strategy)
        for i in range(5):
            s.add_node(f"n{i}", cpus=8 + i, gpus=i)
        commands: list[object] = []
        for gpus in (0, 0.5, 1, 0.3, 2, 0):
            app = s.submit("all")
            s.ask(app, 3, gpus=gpus)
            commands += s.visit("n1")
            s.finish(*list(s.granted)[:1])
        return commands

    assert life() == life()


def test_each_strategy_that_can_be_configured_is_there() -> None:
    assert list(BUILT_IN) == list(Strategy)


# ---- those of others


class Wrong(PlacementStrategy):
    """Does one thing wrong, from the second node that it scores on."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.scored = 0

    def score(self, node: Node, shape: Shape) -> Score:
        self.scored += 1
        if self.scored > 1 and self.what == "raises":
            raise RuntimeError("no sensor")
        if self.scored > 1 and self.what == "mixes":
            return (1.0, 2.0)
        return float("nan") if self.what == "nan" else 1.0

    def pick(self, node: Node, shape: Shape, score: Score) -> Sequence[int]:
        return (7,) if self.what == "device" else super().pick(node, shape, score)

    def changed(self, node: Node) -> None:
        if self.what == "changed" and self.scored:
            raise KeyError(node.node_id)

    def asked(self, amounts: Amounts, gpu_model: str | None, count: int) -> None:
        if self.what == "asked":
            raise ZeroDivisionError("division by zero")


@pytest.mark.parametrize(
    ("what", "trouble"),
    [
        ("raises", "RuntimeError: no sensor"),
        ("mixes", "some scores are numbers and some are tuples: (1.0, 2.0)"),
        ("nan", "a score is not a number: nan"),
        ("device", "devices at (7,) of n1 have no room for 0.5 GPUs"),
        ("changed", "KeyError: 'n1'"),
        ("asked", "ZeroDivisionError: division by zero"),
    ],
)
def test_one_that_goes_wrong_is_gone_without_and_everything_is_placed_all_the_same(what: str, trouble: str) -> None:
    s = Scenario(
        queues(queue("all")),
        options=SchedulerOptions(placement_strategy="own"),
        strategies={"own": lambda: Wrong(what)},
    )
    for name in ("n1", "n2", "n3"):
        s.add_node(name, cpus=1, gpus=1)
    app = s.submit("all")
    s.ask(app, 3, gpus=0.5)

    commands = s.handle(NodeUpdate("n1"))
    assert trouble in next(one.trouble for one in commands if isinstance(one, StrategyFailed))
    assert s.scheduler.options.placement_strategy is None

    s.settle()
    assert sorted(one.node_id for one in s.granted.values()) == ["n1", "n2", "n3"]


def test_when_options_are_told_again_it_is_tried_again() -> None:
    made = []

    def make() -> PlacementStrategy:
        made.append("raises" if not made else "nothing")
        return Wrong(made[-1])

    own = SchedulerOptions(placement_strategy="own")
    s = Scenario(queues(queue("all")), options=own, strategies={"own": make})
    for name in ("n1", "n2"):
        s.add_node(name, cpus=1)
    s.ask(s.submit("all"), 1)
    s.settle()
    assert s.scheduler.options.placement_strategy is None

    s.handle(OptionsChanged(own))
    s.ask(s.submit("all"), 1)
    s.settle()
    assert s.scheduler.options.placement_strategy == "own"
    assert made == ["raises", "nothing"]


def test_one_that_cannot_be_made_again_is_gone_without() -> None:
    def make() -> PlacementStrategy:
        raise OSError("no such device")

    own = SchedulerOptions(placement_strategy="own")
    s = Scenario(queues(queue("all")), options=own, strategies={"own": make})
    s.add_node("n1", cpus=1)
    s.ask(s.submit("all"), 1)
    assert s.handle(NodeUpdate("n1"))[-1] == StrategyFailed("own", "OSError: no such device")
