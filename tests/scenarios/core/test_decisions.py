"""What was decided can be asked for afterwards: why here, why it ends."""

from __future__ import annotations

from hrm.core.applications import Way
from hrm.core.commands import KillContainer
from hrm.core.events import ContainerRecovered
from hrm.core.locality import Level
from hrm.model.ids import ContainerId
from hrm.model.scheduling import SchedulerOptions
from hrm.testing.builders import Scenario, amounts, queue, queues, request


def test_a_container_says_how_near_it_is_to_the_place_asked_for() -> None:
    s = Scenario(queues(queue("all")))
    s.add_node("n1", rack="/r1")
    s.add_node("n2", rack="/r1")
    app = s.submit("all")
    s.request(app, *(request(2, where=where) for where in ("/r1", "*")), request(1, where="n1"))

    near, *_ = s.visit("n1")
    view = s.scheduler.container_view(near.container_id)

    assert view is not None
    assert (view.way, view.locality, view.node_id) == (Way.ORDER, Level.NODE, "n1")


def test_a_container_in_a_reserved_place_says_so() -> None:
    s = Scenario(queues(queue("a"), queue("b")), options=SchedulerOptions(reservable_nodes=1))
    s.add_node("n1", cpus=4, memory="4G")
    small, large = s.submit("a"), s.submit("b")
    s.ask(small, 4)
    s.settle()
    s.ask(large, 1, cpus=2, memory="2G")
    s.update_shares()
    s.visit("n1")
    s.finish(*s.containers(small)[:2])

    (granted,) = s.visit("n1")
    view = s.scheduler.container_view(granted.container_id)

    assert view is not None
    assert view.way is Way.RESERVATION


def test_a_container_says_for_whom_it_is_to_end_and_its_successor_that_others_ended_for_it() -> None:
    timeout = {"fair_share_preemption_timeout_s": 10.0, "fair_share_preemption_threshold": 1.0}
    s = Scenario(queues(queue("greedy"), queue("starved", **timeout)), options=SchedulerOptions(wait_before_kill_s=0))
    s.add_node("n1", cpus=2, memory="2G")
    greedy, starved, third = s.submit("greedy"), s.submit("starved"), s.submit("greedy")
    s.ask(greedy, 2)
    s.settle()
    s.ask(starved)
    s.preempt()

    warned, killed = s.preempt(after_s=10)
    victim = s.scheduler.container_view(warned.container_id)
    assert isinstance(killed, KillContainer)
    assert victim is not None
    assert victim.ends_for == starved.application

    s.finish(warned.container_id)
    s.ask(third)
    assert s.reason(third) == "kept_for_others"
    (granted,) = s.visit("n1")
    view = s.scheduler.container_view(granted.container_id)
    assert view is not None
    assert (view.way, granted.container_id.attempt) == (Way.PREEMPTION, starved)


def test_a_recovered_container_counts_from_when_it_began() -> None:
    s = Scenario(queues(queue("all")))
    s.add_node("n1")
    app = s.submit("all")
    container_id = ContainerId(app, 1, 1)
    s.handle(ContainerRecovered(container_id, "n1", amounts(1, "1G"), started_at=-500.0))

    view = s.scheduler.container_view(container_id)

    assert view is not None
    assert (view.way, view.started_at) == (Way.RECOVERY, -500.0)
