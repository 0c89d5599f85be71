"""Clusters in which gangs wait."""

from __future__ import annotations

from hrm.model.ids import AttemptId
from hrm.model.scheduling import SchedulerOptions
from hrm.testing.builders import Scenario, queue, queues

GATHER_S = 600.0


def cluster(nodes: int, *, options: SchedulerOptions | None = None, cpus: float = 2, **limits: object) -> Scenario:
    """So many nodes, and two queues."""
    s = Scenario(queues(queue("a", **limits), queue("b")), options=options)  # type: ignore[arg-type]
    for number in range(nodes):
        s.add_node(f"n{number}", cpus=cpus, memory=f"{int(cpus)}G")
    return s


def full_of_small_ones(nodes: int, *, options: SchedulerOptions | None = None) -> tuple[Scenario, AttemptId, AttemptId]:
    """Small containers of one application fill all nodes, and more of them wait; the other has had nothing yet."""
    s = cluster(nodes, options=options)
    small, other = s.submit("a"), s.submit("b")
    s.ask(small, 100)
    s.settle()
    s.update_shares()
    return s, small, other


def end_one_on(s: Scenario, app: AttemptId, node_id: str) -> None:
    """And visit its node, as its end does."""
    s.finish(next(one for one in s.containers(app) if one.node_id == node_id))
    s.visit(node_id)


def kept(s: Scenario) -> list[str]:
    return [view.node_id for view in s.nodes() if view.reserved_for is not None]
