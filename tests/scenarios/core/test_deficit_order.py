"""The option that puts first who lacks most of its fair share, rather than who uses least for its weight."""

from __future__ import annotations

import pytest

from hrm.core.events import NodeResourceUpdate
from hrm.model.errors import InvalidInput
from hrm.model.queues import Order
from hrm.testing.builders import Scenario, amounts, node, queue, queues


def heavy_and_light(order: Order, policy: str) -> tuple[int, int]:
    """8 fair of 10 for "heavy", 2 for "light"; heavy uses 4, light 0, and 2 are free."""
    s = Scenario(queues(queue("heavy", weight=4), queue("light"), policy=policy, order=order))
    s.add_node("n1", cpus=4, memory="4G")
    heavy, light = s.submit("heavy"), s.submit("light")
    s.ask(heavy, 4)
    s.settle()
    s.ask(heavy, 100)
    s.ask(light, 100)
    s.add_node("n2", cpus=2, memory="2G")
    s.add_node("full", cpus=4, memory="4G")
    s.update_shares()
    s.visit("n2")
    return s.running(heavy) - 4, s.running(light)


@pytest.mark.parametrize("policy", ["fair", "drf"])
def test_by_ratio_the_light_queue_that_uses_nothing_comes_first(policy: str) -> None:
    assert heavy_and_light(Order.RATIO, policy) == (1, 1)


@pytest.mark.parametrize("policy", ["fair", "drf"])
def test_by_deficit_the_heavy_queue_that_lacks_four_comes_before_the_light_one_that_lacks_two(policy: str) -> None:
    assert heavy_and_light(Order.DEFICIT, policy) == (2, 0)


def test_by_deficit_a_queue_below_its_minimum_share_still_comes_first() -> None:
    s = Scenario(queues(queue("heavy", weight=9), queue("promised", min_share=amounts(0, "1G")), order=Order.DEFICIT))
    s.add_node("n1", cpus=10, memory="10G")
    heavy, promised = s.submit("heavy"), s.submit("promised")
    s.ask(heavy, 100)
    s.ask(promised, 100)
    s.update_shares()

    first = s.visit("n1")[0]

    assert first.container_id.attempt == promised


def test_a_fifo_queue_has_an_order_of_its_own() -> None:
    with pytest.raises(InvalidInput):
        queue("line", policy="fifo", order=Order.DEFICIT)


def test_applications_of_a_leaf_have_equal_fair_shares() -> None:
    s = Scenario(queues(queue("all")))
    s.add_node("n1", cpus=9, memory="10240M")
    apps = [s.submit("all") for _ in range(3)]

    s.update_shares()

    # The search for the level of the water keeps the upper bound, then truncates.
    assert [s.fair_share(app).memory_mib for app in apps] == [3414, 3414, 3414]


def test_in_a_fifo_leaf_the_first_application_has_the_whole_share() -> None:
    s = Scenario(queues(queue("line", policy="fifo")))
    s.add_node("n1", cpus=8, memory="8G")
    first, second = s.submit("line"), s.submit("line")

    s.update_shares()

    assert (s.fair_share(first), s.fair_share(second)) == (amounts(8, "8G"), amounts())


def test_a_share_of_what_left_the_cluster_counts_for_nothing() -> None:
    # Both use one of the two licences they were due. Without them they are level, and take turns.
    s = Scenario(queues(queue("a", policy="drf"), queue("b", policy="drf"), policy="drf", order=Order.DEFICIT))
    s.add_node("n1", cpus=4, memory="4G", others={"licences": 2})
    a, b = s.submit("a"), s.submit("b")
    s.ask(a, 1, others={"licences": 1})
    s.ask(b, 1, others={"licences": 1})
    s.settle()
    s.update_shares()
    s.ask(a, 5)
    s.ask(b, 5)

    s.handle(NodeResourceUpdate(node("n1", cpus=4, memory="4G")))
    s.settle()

    assert (s.running(a), s.running(b)) == (2, 2)
