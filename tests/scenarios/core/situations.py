"""Situations that several modules begin with."""

from __future__ import annotations

from typing import Any

from hrm.core.commands import KillContainer, PreemptContainer
from hrm.model.ids import AttemptId
from hrm.model.queues import QueueSpec
from hrm.model.scheduling import SchedulerOptions
from hrm.testing.builders import Scenario, queue, queues, request

# ---- a full node, and somebody who wants a large part of it

RESERVING = SchedulerOptions(reservable_nodes=0.05)


def large_behind_small(options: SchedulerOptions = RESERVING, nodes: int = 1) -> tuple[Scenario, AttemptId, AttemptId]:
    """Nodes of 4 GiB full of containers of 1 GiB; then an application with its full share to come asks for 3 GiB."""
    s = Scenario(queues(queue("a"), queue("b")), options=options)
    for number in range(1, nodes + 1):
        s.add_node(f"n{number}", cpus=4, memory="4G")
    small, large = s.submit("a"), s.submit("b")
    s.ask(small, 4 * nodes)
    s.settle()
    s.ask(small, 100)
    s.ask(large, nodes, memory="3G")
    s.update_shares()
    return s, small, large


def reserved(s: Scenario) -> list[str]:
    """Nodes that are reserved."""
    return [view.node_id for view in s.scheduler.node_views() if view.reserved_for is not None]


def free_one(s: Scenario, app: AttemptId, node_id: str = "n1") -> None:
    s.finish(next(one for one in s.containers(app) if one.node_id == node_id))


# ---- somebody who would like one node

#: Strictly above 4 nodes × 0.5: two opportunities may pass, the third relaxes.
PATIENT = SchedulerOptions(node_locality_threshold=0.5, rack_locality_threshold=0.5)


def wishes_for_n1(options: SchedulerOptions, count: int = 1) -> tuple[Scenario, AttemptId]:
    """Four nodes in two racks, and an application that would like n1, then its rack, then anything."""
    s = Scenario(queues(queue("all")), options=options)
    for node_id, rack in (("n1", "/r1"), ("n2", "/r1"), ("n3", "/r2"), ("n4", "/r2")):
        s.add_node(node_id, rack=rack)
    app = s.submit("all")
    s.request(app, *(request(count, where=where) for where in ("n1", "/r1", "*")))
    return s, app


def visits_until_placed(s: Scenario, node_id: str) -> int:
    return next(number for number in range(1, 100) if s.visit(node_id))


# ---- somebody who has too little for too long

TIMEOUT_S = 30.0
WAIT_S = 15.0


def hungry(name: str, **more: Any) -> QueueSpec:
    """A queue that bears less than its whole fair share for half a minute."""
    return queue(name, **{"fair_share_preemption_timeout_s": TIMEOUT_S, "fair_share_preemption_threshold": 1.0, **more})


def full_of_greedy(
    *others: QueueSpec, greedy: QueueSpec | None = None, options: SchedulerOptions | None = None, nodes: int = 1
) -> tuple[Scenario, AttemptId]:
    """Nodes of 8 vcores and 8 GiB, all taken by an application of queue "greedy" that wants more."""
    s = Scenario(queues(greedy or queue("greedy"), *others), options=options)
    for number in range(1, nodes + 1):
        s.add_node(f"n{number}", cpus=8, memory="8G")
    app = s.submit("greedy")
    s.ask(app, 100)
    s.settle()
    return s, app


def starve(s: Scenario, app: AttemptId, count: int = 100, **what: Any) -> list[PreemptContainer | KillContainer]:
    """It asks, and waits for its timeout; returns what then happens."""
    s.ask(app, count, **what)
    s.preempt()
    return s.preempt(after_s=TIMEOUT_S)


def kill_and_place(s: Scenario) -> None:
    for command in s.preempt(after_s=WAIT_S):
        if isinstance(command, KillContainer):
            s.finish(command.container_id)
    s.settle()
