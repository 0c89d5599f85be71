"""Containers that grow and shrink: more is granted like a container where they run, less is given back at once."""

from __future__ import annotations

import pytest

from hrm.core.commands import Allocate, Command, ContainerResized
from hrm.core.events import BlacklistChanged, ContainerResize, NodeSchedulable, NodeUpdate
from hrm.core.invariants import check_invariants
from hrm.model.errors import InvalidInput
from hrm.model.ids import AttemptId, ContainerId
from hrm.testing.builders import Scenario, amounts, queue, queues


def running(*, cpus: float = 4, memory: str = "8G", max_share: object = None) -> tuple[Scenario, AttemptId, Allocate]:
    """One container of 1 CPU and 2 GiB on n1."""
    s = Scenario(queues(queue("all", max_share=max_share), queue("others")))  # type: ignore[arg-type]
    s.add_node("n1", cpus=cpus, memory=memory)
    app = s.submit("all")
    s.ask(app, 1, cpus=1, memory="2G")
    (granted,) = s.visit("n1")
    return s, app, granted


def resize(s: Scenario, container: ContainerId, cpus: float, memory: str) -> list[Command]:
    """What comes of the wish at once, and of the visit after it."""
    return [*s.handle(ContainerResize(container, amounts(cpus, memory))), *s.handle(NodeUpdate("n1"))]


def test_one_grows_where_it_runs_at_the_next_visit() -> None:
    s, _, granted = running()

    assert s.handle(ContainerResize(granted.container_id, amounts(2, "4G"))) == []
    assert s.handle(NodeUpdate("n1")) == [ContainerResized(granted.container_id, "n1", amounts(2, "4G"))]
    assert s.used("all") == amounts(2, "4G")


def test_it_grows_on_no_other_node_and_is_no_second_container() -> None:
    s, app, granted = running(cpus=1, memory="2G")
    s.add_node("n2")
    s.handle(ContainerResize(granted.container_id, amounts(1, "2G")))

    assert s.visit("n1", "n2") == []
    assert s.running(app) == 1
    with pytest.raises(InvalidInput, match="n1 has"):
        s.handle(ContainerResize(granted.container_id, amounts(2, "4G")))


def test_it_waits_until_there_is_room() -> None:
    s, _, granted = running(cpus=2, memory="4G")
    other = s.submit("others")
    s.ask(other, 1, cpus=1, memory="2G")
    (theirs,) = s.visit("n1")

    assert resize(s, granted.container_id, 2, "4G") == []
    assert s.pending(granted.container_id.attempt) == 1
    s.finish(theirs)
    assert s.handle(NodeUpdate("n1")) == [ContainerResized(granted.container_id, "n1", amounts(2, "4G"))]


def test_it_does_not_pass_the_max_share_of_its_queue() -> None:
    s, app, granted = running(max_share=amounts(1, "3G"))

    assert resize(s, granted.container_id, 1, "4G") == []
    assert s.reason(app) == "queue_max_share"
    assert resize(s, granted.container_id, 1, "3G") == [ContainerResized(granted.container_id, "n1", amounts(1, "3G"))]


def test_its_turn_comes_by_the_order_of_the_queues() -> None:
    s, _, granted = running(cpus=2, memory="4G")
    poor = s.submit("others")
    s.ask(poor, 1, cpus=1, memory="2G")
    s.handle(ContainerResize(granted.container_id, amounts(2, "4G")))

    (first,) = s.handle(NodeUpdate("n1"))

    assert isinstance(first, Allocate)
    assert first.container_id.attempt == poor


def test_a_node_that_takes_nothing_new_lets_nothing_grow() -> None:
    s, app, granted = running()
    s.handle(NodeSchedulable("n1", False))

    assert resize(s, granted.container_id, 2, "4G") == []

    s.handle(NodeSchedulable("n1", True))
    s.handle(BlacklistChanged(app.application, frozenset({"n1"})))
    assert s.handle(NodeUpdate("n1")) == []


def test_what_shrinks_gives_back_at_once() -> None:
    s, _, granted = running(cpus=1, memory="2G")
    other = s.submit("others")
    s.ask(other, 1, cpus=0.5, memory="1G")

    assert s.handle(ContainerResize(granted.container_id, amounts(0.5, "1G"))) == [
        ContainerResized(granted.container_id, "n1", amounts(0.5, "1G"))
    ]
    assert len(s.visit("n1")) == 1


def test_what_gets_more_of_one_and_less_of_another_gives_back_first() -> None:
    s, _, granted = running(cpus=1, memory="4G")

    assert resize(s, granted.container_id, 0.5, "4G") == [
        ContainerResized(granted.container_id, "n1", amounts(0.5, "2G")),
        ContainerResized(granted.container_id, "n1", amounts(0.5, "4G")),
    ]


def test_a_later_wish_takes_the_place_of_one_that_waits() -> None:
    s, app, granted = running()
    s.handle(ContainerResize(granted.container_id, amounts(4, "8G")))
    s.handle(ContainerResize(granted.container_id, amounts(1, "3G")))

    assert s.handle(NodeUpdate("n1")) == [ContainerResized(granted.container_id, "n1", amounts(1, "3G"))]
    assert s.pending(app) == 0


def test_a_wish_for_what_it_has_takes_back_one_that_waits() -> None:
    s, app, granted = running()
    s.handle(ContainerResize(granted.container_id, amounts(4, "8G")))

    assert resize(s, granted.container_id, 1, "2G") == []
    assert s.pending(app) == 0


def test_a_wish_goes_with_its_container_and_with_its_attempt() -> None:
    s, app, granted = running()
    s.handle(ContainerResize(granted.container_id, amounts(2, "4G")))
    s.finish(granted)
    assert s.pending(app) == 0

    s, app, granted = running()
    s.handle(ContainerResize(granted.container_id, amounts(2, "4G")))
    s.end(app)
    assert s.handle(NodeUpdate("n1")) == []


def test_two_of_one_size_may_grow_by_the_same() -> None:
    s, app, granted = running()
    s.ask(app, 1, cpus=1, memory="2G")
    (second,) = s.visit("n1")
    for one in (granted, second):
        s.handle(ContainerResize(one.container_id, amounts(2, "4G")))

    assert {one.container_id for one in s.handle(NodeUpdate("n1")) if isinstance(one, ContainerResized)} == {
        granted.container_id, second.container_id,
    }  # fmt: skip
    assert s.used("all") == amounts(4, "8G")


def test_gpus_stay_as_they_were_granted() -> None:
    s = Scenario(queues(queue("all")))
    s.add_node("n1", cpus=4, memory="8G", gpus=2)
    app = s.submit("all")
    s.ask(app, 1, cpus=1, memory="2G", gpus=1)
    (granted,) = s.visit("n1")

    with pytest.raises(InvalidInput, match="GPUs"):
        s.handle(ContainerResize(granted.container_id, amounts(1, "2G", gpus=2)))
    assert resize_with_gpu(s, granted) == [ContainerResized(granted.container_id, "n1", amounts(2, "4G", gpus=1))]


def resize_with_gpu(s: Scenario, granted: Allocate) -> list[Command]:
    return [
        *s.handle(ContainerResize(granted.container_id, amounts(2, "4G", gpus=1))),
        *s.handle(NodeUpdate("n1")),
    ]


def test_a_masters_own_container_keeps_its_size() -> None:
    s = Scenario(queues(queue("all")))
    s.add_node("n1")
    app = s.submit("all")
    s.ask(app, 1, for_master=True)
    (granted,) = s.visit("n1")

    with pytest.raises(InvalidInput, match="master"):
        s.handle(ContainerResize(granted.container_id, amounts(2, "2G")))


def test_one_that_has_ended_is_no_error() -> None:
    s, _, granted = running()
    s.finish(granted)

    assert s.handle(ContainerResize(granted.container_id, amounts(2, "4G"))) == []


def test_one_that_is_to_end_for_others_may_give_back_what_they_need() -> None:
    s, rich, first = running(cpus=4, memory="8G", max_share=None)
    s.ask(rich, 3, cpus=1, memory="2G")
    s.visit("n1")
    poor = s.submit("others")
    s.ask(poor, 1, cpus=1, memory="2G")
    victims = {one.container_id for one in [*s.preempt(), *s.preempt(after_s=600)] if hasattr(one, "kill_at")}

    for container_id in victims or {first.container_id}:
        s.handle(ContainerResize(container_id, amounts(0.5, "1G")))
        check_invariants(s.scheduler)
