"""What was decided can be asked for afterwards: why here, why it ends."""

from __future__ import annotations

from hrm.core.applications import Way
from hrm.core.commands import KillContainer
from hrm.core.contest import KEPT
from hrm.core.events import ContainerRecovered
from hrm.core.locality import Level
from hrm.model.ids import AttemptId, ContainerId
from hrm.model.queues import Order
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


def told(s: Scenario, app: AttemptId) -> str:
    """Why the newest of its containers runs, and why there."""
    return s.explain(app).running[0].text


def test_a_container_says_whom_its_queue_came_before_and_by_which_numbers() -> None:
    s = Scenario(queues(queue("a", policy="drf"), queue("b", weight=0.5, policy="drf"), policy="drf"))
    s.add_node("n1", cpus=4, memory="64G")
    a, b = s.submit("a"), s.submit("b")
    s.ask(a, 1)
    s.ask(b, 1)
    s.settle()
    s.ask(a, 1)
    s.ask(b, 1)
    s.settle()

    assert told(s, a) == (
        "queue a came before queue b in root (drf): dominant share over weight 0.25 against 0.5; n1 had room when it"
        " was looked at"
    )
    assert told(s, b) == "nobody else waited for the like; n1 had room when it was looked at"


def test_whom_it_came_before_is_forgotten_once_so_much_was_granted_since() -> None:
    s = Scenario(queues(queue("a"), queue("b")))
    s.add_node("n1", cpus=3 * KEPT, memory=f"{3 * KEPT}G")
    early, a, b = s.submit("a"), s.submit("a"), s.submit("b")
    s.ask(early)
    s.ask(b, KEPT)
    s.visit("n1", "n1")
    assert told(s, early).startswith("queue a came before queue b in root ")

    s.ask(a, 2 * KEPT)
    s.ask(b, KEPT)
    s.settle()

    assert told(s, early).startswith("whom it came before is forgotten, as so much was granted since; ")


def test_a_container_says_which_application_of_its_queue_was_next() -> None:
    s = Scenario(queues(queue("line", policy="fifo")))
    s.add_node("n1", cpus=2, memory="2G")
    s.now = 100.0
    low, high, late = s.submit("line"), s.submit("line", priority=5), s.submit("line", priority=5)
    for app in (low, high, late):
        s.ask(app)
    s.settle()

    assert told(s, high).startswith("application 2 came before application 3 in line (fifo): equal, and older by ")
    assert told(s, late).startswith("application 3 came before application 1 in line (fifo): priority 5 against 0")


def test_who_is_below_the_min_share_came_first_for_that() -> None:
    s = Scenario(queues(queue("a"), queue("z", min_share=amounts(0, "2G"))))
    s.add_node("n1", cpus=2, memory="2G")
    a, z = s.submit("a"), s.submit("z")
    s.ask(a)
    s.ask(z)
    s.visit("n1")

    assert "queue z came before queue a in root (fair): below its min share, the other has its min share" in told(s, z)


def test_the_deficit_decides_where_the_order_says_so() -> None:
    s = Scenario(queues(queue("heavy", weight=4), queue("light"), order=Order.DEFICIT))
    s.add_node("n1", cpus=10, memory="10G")
    heavy, light = s.submit("heavy"), s.submit("light")
    s.update_shares()
    s.ask(heavy, 1)
    s.ask(light, 1)
    s.visit("n1")

    assert "lacks 8 GiB of memory of its fair share, the other 2" in told(s, heavy)


def test_what_is_to_end_says_for_whom() -> None:
    timeout = {"fair_share_preemption_timeout_s": 10.0, "fair_share_preemption_threshold": 1.0}
    s = Scenario(queues(queue("greedy"), queue("starved", **timeout)))
    s.add_node("n1", cpus=2, memory="2G")
    greedy, starved = s.submit("greedy"), s.submit("starved")
    s.ask(greedy, 2)
    s.settle()
    s.ask(starved)
    s.preempt()
    s.preempt(after_s=10)

    (to_end,) = [one for one in s.explain(greedy).running if one.ends_for is not None]

    assert to_end.ends_for == str(starved.application)
    assert to_end.text.endswith("it is to end for application 2, which is below its share")


def test_what_keeps_a_place_it_asked_for_says_so() -> None:
    s = Scenario(queues(queue("all")))
    s.add_node("n1", rack="/r1")
    s.add_node("n2", rack="/r1")
    app = s.submit("all")
    s.request(app, *(request(1, where=where) for where in ("n1", "/r1", "*")))
    s.visit("n1")

    assert told(s, app) == "nobody else waited for the like; n1 is a node that it asked for"
