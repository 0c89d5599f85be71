"""Nodes come, go, shrink and are taken out of use."""

from __future__ import annotations

import pytest

from hrm.core.commands import ContainerEnded, EndCause
from hrm.core.events import NodeAdded, NodeResourceUpdate, NodeSchedulable, NodeUpdate
from hrm.model.errors import InvariantBroken
from hrm.testing.builders import Scenario, amounts, node, queue, queues, request


def one_queue() -> Scenario:
    return Scenario(queues(queue("all")))


def test_a_lost_node_ends_its_containers_and_frees_the_share() -> None:
    s = one_queue()
    s.add_node("n1", cpus=2, memory="2G")
    s.add_node("n2", cpus=2, memory="2G")
    app = s.submit("all")
    s.ask(app, 4)
    s.settle()

    commands = s.remove_node("n1")

    ended = [(one.node_id, one.cause) for one in commands if isinstance(one, ContainerEnded)]
    assert ended == [("n1", EndCause.NODE_LOST)] * 2
    assert s.used("all") == amounts(2, "2G")
    assert s.pending(app) == 0


def test_a_node_that_comes_back_is_empty() -> None:
    s = one_queue()
    s.add_node("n1", cpus=1, memory="1G")
    app = s.submit("all")
    s.ask(app, 1)
    s.settle()
    s.remove_node("n1")

    s.add_node("n1", cpus=1, memory="1G")
    s.ask(app, 1)

    assert len(s.settle()) == 1


def test_nothing_is_placed_on_a_draining_node_and_what_runs_there_goes_on() -> None:
    s = one_queue()
    s.add_node("n1")
    app = s.submit("all")
    s.ask(app, 2)
    s.visit("n1")
    s.ask(app, 2)

    s.handle(NodeSchedulable("n1", False))

    assert s.visit("n1") == []
    assert s.running(app) == 2
    assert s.reason(app) == "nodes_not_schedulable"
    s.handle(NodeSchedulable("n1", True))
    assert len(s.visit("n1")) == 2


def test_a_node_that_shrinks_keeps_what_runs_and_takes_nothing_until_there_is_room() -> None:
    s = one_queue()
    s.add_node("n1", cpus=4, memory="4G")
    app = s.submit("all")
    s.ask(app, 6)
    first, second, *_ = s.settle()

    s.handle(NodeResourceUpdate(node("n1", cpus=3, memory="3G")))

    assert s.running(app) == 4
    s.finish(first)
    assert s.settle() == []
    s.finish(second)
    assert len(s.settle()) == 1


def test_a_node_that_grows_takes_more() -> None:
    s = one_queue()
    s.add_node("n1", cpus=1, memory="1G")
    app = s.submit("all")
    s.ask(app, 2)
    s.settle()

    s.handle(NodeResourceUpdate(node("n1", cpus=2, memory="2G")))

    assert len(s.settle()) == 1


def test_a_visit_of_an_unknown_node_places_nothing() -> None:
    s = one_queue()
    app = s.submit("all")
    s.ask(app)

    assert s.handle(NodeUpdate("gone")) == []


def test_a_node_cannot_be_added_twice() -> None:
    s = one_queue()
    s.add_node("n1", cpus=4)

    with pytest.raises(InvariantBroken, match="n1"):
        s.handle(NodeAdded(node("n1", cpus=8)))

    assert s.scheduler.maximum_allocation().vcores_milli == 4000


def test_other_resources_are_counted_like_memory() -> None:
    s = one_queue()
    s.add_node("n1", others={"licences": 2})
    app = s.submit("all")
    s.ask(app, 3, others={"licences": 1})

    assert len(s.settle()) == 2
    assert s.reason(app) == "insufficient_other"


def test_a_node_that_is_short_of_another_resource_still_takes_work_without_any() -> None:
    s = Scenario(queues(queue("all")))
    s.add_node("n1", cpus=4, memory="4G", others={"licences": 1})
    s.add_node("n2", cpus=1, memory="1G", others={"licences": 1})
    app = s.submit("all")
    s.ask(app, 2, others={"licences": 1}, request_id=1)
    s.settle()
    s.ask(app, 1, others={"licences": 1}, request_id=1)
    s.ask(app, 9, request_id=2)

    s.handle(NodeResourceUpdate(node("n1", cpus=4, memory="4G")))

    assert len(s.visit("n1")) == 3


def test_the_largest_node_and_what_fits_on_any_are_known_for_refusals() -> None:
    s = one_queue()
    s.add_node("many-cpus", cpus=64, memory="32G")
    s.add_node("much-memory", cpus=8, memory="64G", gpus=2)

    assert s.scheduler.maximum_allocation() == amounts(8, "64G", gpus=2)
    assert s.scheduler.fits_some_node(request(cpus=60, memory="1G"))
    assert s.scheduler.fits_some_node(request(gpus=2, model="rtx*"))
    assert not s.scheduler.fits_some_node(request(cpus=60, memory="60G"))
    assert not s.scheduler.fits_some_node(request(gpus=3))
    assert not s.scheduler.fits_some_node(request(gpus=1, model="H100"))


# ---- what the pacer asks


def test_only_nodes_with_room_for_what_waits_are_worth_a_visit() -> None:
    s = one_queue()
    s.add_node("full", cpus=2, memory="2G")
    s.add_node("free", cpus=8, memory="8G")
    s.add_node("drained", cpus=8, memory="8G")
    s.handle(NodeSchedulable("drained", False))
    app = s.submit("all")
    s.ask(app, 2)
    s.visit("full")
    assert list(s.scheduler.nodes_with_room()) == []
    assert not s.scheduler.has_demand()

    s.ask(app, 1)

    assert s.scheduler.has_demand()
    assert list(s.scheduler.nodes_with_room()) == ["free"]


def test_a_node_is_worth_a_visit_again_once_something_ends_there() -> None:
    s = one_queue()
    s.add_node("n1", cpus=1, memory="1G")
    app = s.submit("all")
    s.ask(app, 2)
    (running,) = s.settle()
    assert list(s.scheduler.nodes_with_room()) == []

    s.finish(running)

    assert list(s.scheduler.nodes_with_room()) == ["n1"]
