"""Who gets how much: weights, shares, policies."""

from __future__ import annotations

import pytest

from hrm.testing.builders import Scenario, amounts, queue, queues


def test_the_drf_papers_example_gives_three_and_two_tasks() -> None:
    # Ghodsi et al., NSDI'11, section 4.1: 9 CPUs and 18 GB; A asks for <1 CPU, 4 GB>, B for <3 CPU, 1 GB>.
    s = Scenario(queues(queue("a", policy="drf"), queue("b", policy="drf"), policy="drf"))
    s.add_node("n1", cpus=9, memory="18G")
    a, b = s.submit("a"), s.submit("b")
    s.ask(a, 10, cpus=1, memory="4G")
    s.ask(b, 10, cpus=3, memory="1G")

    s.settle()

    assert (s.running(a), s.running(b)) == (3, 2)


def test_drf_shares_between_applications_of_one_leaf_too() -> None:
    s = Scenario(queues(queue("all", policy="drf"), policy="drf"))
    s.add_node("n1", cpus=9, memory="18G")
    a, b = s.submit("all"), s.submit("all")
    s.ask(a, 10, cpus=1, memory="4G")
    s.ask(b, 10, cpus=3, memory="1G")

    s.settle()

    assert (s.running(a), s.running(b)) == (3, 2)


@pytest.mark.parametrize("policy", ["fair", "drf"])
def test_weights_of_three_and_one_share_four_to_twelve(policy: str) -> None:
    s = Scenario(queues(queue("research", weight=3), queue("batch", weight=1), policy=policy))
    s.add_node("n1", cpus=16, memory="16G")
    research, batch = s.submit("research"), s.submit("batch")
    s.ask(research, 100)
    s.ask(batch, 100)

    s.settle()

    assert (s.running(research), s.running(batch)) == (12, 4)


def test_a_queue_alone_uses_everything() -> None:
    s = Scenario(queues(queue("research", weight=3), queue("batch", weight=1)))
    s.add_node("n1", cpus=16, memory="16G")
    batch = s.submit("batch")
    s.ask(batch, 100)

    s.settle()

    assert s.running(batch) == 16


def test_freed_room_goes_to_who_is_farthest_below_its_share() -> None:
    s = Scenario(queues(queue("research", weight=3), queue("batch", weight=1)))
    s.add_node("n1", cpus=4, memory="4G")
    batch = s.submit("batch")
    s.ask(batch, 100)
    s.settle()
    research = s.submit("research")
    s.ask(research, 100)

    for _ in range(20):
        s.finish(s.containers(batch)[0])
        s.settle()
        if s.running(batch) == 1:
            break

    assert (s.running(research), s.running(batch)) == (3, 1)


def test_nested_queues_share_within_their_parent_only() -> None:
    s = Scenario(
        queues(
            queue("science", queue("vision", weight=2), queue("speech", weight=1), weight=3),
            queue("batch", weight=1),
        )
    )
    s.add_node("n1", cpus=16, memory="16G")
    vision, speech, batch = s.submit("science.vision"), s.submit("science.speech"), s.submit("batch")
    for app in (vision, speech, batch):
        s.ask(app, 100)

    s.settle()

    assert (s.running(vision), s.running(speech), s.running(batch)) == (8, 4, 4)
    assert s.used("science") == amounts(12, "12G")


def test_applications_of_a_fair_leaf_get_equal_parts() -> None:
    s = Scenario(queues(queue("all")))
    s.add_node("n1", cpus=12, memory="12G")
    apps = [s.submit("all") for _ in range(3)]
    for app in apps:
        s.ask(app, 100)

    s.settle()

    assert [s.running(app) for app in apps] == [4, 4, 4]


def test_fifo_runs_the_oldest_first_and_fills_up_with_the_next() -> None:
    s = Scenario(queues(queue("line", policy="fifo")))
    s.add_node("n1", cpus=4, memory="4G")
    first, second, third = (s.submit("line") for _ in range(3))
    for app in (third, second, first):
        s.ask(app, 3)

    s.settle()

    assert [s.running(app) for app in (first, second, third)] == [3, 1, 0]


def test_fifo_puts_higher_priority_before_age() -> None:
    s = Scenario(queues(queue("line", policy="fifo")))
    s.add_node("n1", cpus=2, memory="2G")
    old, urgent = s.submit("line"), s.submit("line", priority=5)
    s.ask(old, 2)
    s.ask(urgent, 2)

    s.settle()

    assert (s.running(old), s.running(urgent)) == (0, 2)


def test_an_application_serves_its_more_urgent_requests_first() -> None:
    s = Scenario(queues(queue("all")))
    s.add_node("n1", cpus=2, memory="8G")
    app = s.submit("all")
    s.ask(app, 2, memory="2G", priority=10)
    s.ask(app, 1, memory="1G", priority=1)

    granted = s.visit("n1")

    assert [one.priority for one in granted] == [1, 10]


def test_weight_zero_gets_only_what_others_leave() -> None:
    s = Scenario(queues(queue("normal"), queue("scraps", weight=0)))
    s.add_node("n1", cpus=4, memory="4G")
    scraps, normal = s.submit("scraps"), s.submit("normal")
    s.ask(scraps, 10)
    s.ask(normal, 3)

    s.settle()

    assert (s.running(normal), s.running(scraps)) == (3, 1)


def test_a_larger_cluster_changes_who_is_dominant_where() -> None:
    # With 4 vcores B's vcores weigh more; once there are 400 its memory does, and A is behind.
    s = Scenario(queues(queue("a"), queue("b"), policy="drf"))
    s.add_node("n1", cpus=4, memory="8G")
    a, b = s.submit("a"), s.submit("b")
    s.ask(a, 1, cpus=1, memory="3G")
    s.ask(b, 1, cpus=2, memory="1G")
    s.settle()
    s.ask(a, 1, cpus=1, memory="1G")
    s.ask(b, 1, cpus=1, memory="1G")
    s.add_node("big", cpus=400, memory="1G")

    granted = s.visit("big")

    assert [one.container_id.attempt for one in granted] == [b]
