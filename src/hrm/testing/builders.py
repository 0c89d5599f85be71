"""Builders of nodes, queues and requests in few words, and `Scenario`, which drives the scheduler by hand.

s = Scenario(queues(queue("research", weight=3), queue("batch")))
s.add_node("n1", cpus=8, memory="16G")
job = s.submit("research")
s.ask(job, 3, cpus=1, memory="2G")
s.visit("n1")
assert s.running(job) == 3
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hrm.core.commands import (
    Allocate,
    AppActivated,
    Command,
    KillContainer,
    NodeReserved,
    NodeUnreserved,
    PreemptContainer,
)
from hrm.core.driver import Driver
from hrm.core.events import Event
from hrm.core.invariants import check_invariants
from hrm.core.strategies import BUILT_IN, Strategies
from hrm.model.ids import ApplicationId, AttemptId
from hrm.model.node_needs import needs_of
from hrm.model.nodes import DEFAULT_RACK, DeviceSpec, NodeSpec
from hrm.model.queues import ROOT, Policy, QueueSpec
from hrm.model.requests import ANY, ExecutionType, GangRequest, ResourceRequest
from hrm.model.resources import Resources
from hrm.model.scheduling import SchedulerOptions

CLUSTER_TIMESTAMP = 1_700_000_000_000


def node(
    node_id: str,
    *,
    cpus: float = 8,
    memory: str = "16G",
    gpus: int = 0,
    model: str = "RTX 2080 Ti",
    rack: str = DEFAULT_RACK,
    others: dict[str, int] | None = None,
    label: str = "",
    exclusive: bool = True,
    **attributes: str,
) -> NodeSpec:
    """A node whose devices are called ``<node>/0``, ``<node>/1``, …, virtual and all of one model."""
    return NodeSpec(
        node_id=node_id,
        total=Resources.parse(cpus=cpus, memory=memory, gpus=gpus, others=others),
        devices=tuple(
            DeviceSpec(device_id=f"{node_id}/{index}", index=index, model=model, virtual=True) for index in range(gpus)
        ),
        rack=rack,
        attributes=tuple(sorted(attributes.items())),
        label=label,
        exclusive=exclusive,
    )


def queue(
    name: str,
    *children: QueueSpec,
    weight: float = 1.0,
    policy: str = "fair",
    min_share: Resources | None = None,
    max_share: Resources | None = None,
    max_running_apps: int | None = None,
    **more: Any,
) -> QueueSpec:
    """``more``: further fields of QueueSpec."""
    return QueueSpec(
        name=name,
        weight=weight,
        policy=Policy(policy),
        min_share=min_share or Resources(),
        max_share=max_share,
        max_running_apps=max_running_apps,
        children=children,
        **more,
    )


def queues(*children: QueueSpec, policy: str = "fair", max_running_apps: int | None = None, **more: Any) -> QueueSpec:
    """A root with these below it."""
    return queue(ROOT, *children, policy=policy, max_running_apps=max_running_apps, **more)


def amounts(cpus: float = 0, memory: str | int = 0, gpus: float = 0, **others: int) -> Resources:
    return Resources.parse(cpus=cpus, memory=memory, gpus=gpus, others=others)


def request(
    count: int = 1,
    *,
    cpus: float = 1,
    memory: str = "1G",
    gpus: float = 0,
    model: str | None = None,
    priority: int = 0,
    where: str = ANY,
    relax: bool = True,
    request_id: int = 0,
    others: dict[str, int] | None = None,
    for_master: bool = False,
    gang: GangRequest | None = None,
    needs: Iterable[str] = (),
    constraint: str | None = None,
    execution_type: ExecutionType = ExecutionType.GUARANTEED,
    label: str | None = None,
) -> ResourceRequest:
    return ResourceRequest(
        resources=Resources.parse(cpus=cpus, memory=memory, gpus=gpus, others=others),
        count=count,
        priority=priority,
        resource_name=where,
        relax_locality=relax,
        allocation_request_id=request_id,
        gpu_model=model,
        for_master=for_master,
        gang=gang,
        needs=needs_of(frozenset(needs), constraint, label),
        execution_type=execution_type,
    )


class Scenario(Driver):
    """A driver whose clock moves one second with each event; the books are checked after every one."""

    def __init__(
        self, root: QueueSpec, *, options: SchedulerOptions | None = None, strategies: Strategies = BUILT_IN
    ) -> None:
        super().__init__(root, options=options, strategies=strategies)
        self._cluster_timestamp = CLUSTER_TIMESTAMP
        self.root = root
        #: Every event handled so far, so that a failure can be played again.
        self.events: list[Event] = []
        self.activated: list[ApplicationId] = []

    def handle(self, event: Event) -> list[Command]:
        self.advance(1.0)
        self.events.append(event)
        commands = super().handle(event)
        check_invariants(self.scheduler)
        self.activated += self.activated_after(commands)
        return commands

    # ---- given

    def add_node(self, node_id: str = "n1", **size: object) -> None:
        self.join(node(node_id, **size))  # type: ignore[arg-type]

    def submit(
        self, queue: str, *, user: str = "ada", priority: int = 0, submitted_at: float | None = None
    ) -> AttemptId:
        return super().submit(queue, user=user, priority=priority, submitted_at=submitted_at)

    def ask_gang(self, app: AttemptId, count: int, *, tasks_per_node: int | None = None, **what: object) -> None:
        """For so many containers at once."""
        self.ask(app, count, gang=GangRequest(tasks_per_node=tasks_per_node), **what)

    def ask(self, app: AttemptId, count: int = 1, **what: object) -> None:
        self.request(app, request(count, **what))  # type: ignore[arg-type]

    # ---- when

    def visit(self, *node_ids: str) -> list[Allocate]:
        """One visit of each node, in this order."""
        return [granted for node_id in node_ids for granted in self.update_node(node_id)]

    def settle(self) -> list[Allocate]:
        """Visit all nodes, in the order they joined, until nothing more is placed."""
        return self.update_nodes()

    def remove_node(self, node_id: str) -> list[Command]:
        return self.leave(node_id)

    def reload(self, root: QueueSpec) -> list[Command]:
        commands = super().reload(root)
        self.root = root
        return commands

    def update_gangs(self, after_s: float = 0.0) -> list[NodeReserved | NodeUnreserved]:
        """After so much more time: shares are worked out, and it is looked which gang may gather."""
        self.advance(after_s)
        return super().update_gangs()

    def preempt(self, after_s: float = 0.0) -> list[PreemptContainer | KillContainer]:
        """After so much more time: shares are worked out, and it is looked who is starved."""
        self.advance(after_s)
        return super().preempt()

    # ---- then

    def node_ids(self) -> list[str]:
        return [view.node_id for view in self.nodes()]

    def running(self, app: AttemptId) -> int:
        return len(self.containers(app))

    def pending(self, app: AttemptId) -> int:
        view = self.scheduler.application_view(app.application)
        return 0 if view is None else view.pending

    def used(self, queue_path: str) -> Resources:
        return self.queue(queue_path).used

    def fair_share(self, app: AttemptId) -> Resources:
        view = self.scheduler.application_view(app.application)
        return Resources() if view is None else view.fair_share

    def reason(self, app: AttemptId) -> str:
        return self.explain(app).reason

    def activated_after(self, commands: Iterable[Command]) -> list[ApplicationId]:
        return [command.application_id for command in commands if isinstance(command, AppActivated)]
