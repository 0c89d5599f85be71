"""What reports are made from: typed snapshots of the scheduler's books."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hrm.core.amounts import Amounts
from hrm.core.applications import App, Container, Way
from hrm.core.leftovers import Remainder
from hrm.core.locality import Level
from hrm.core.nodes import Node
from hrm.core.queues import Queue
from hrm.core.reasons import Reason
from hrm.model.ids import ApplicationId, ContainerId
from hrm.model.node_needs import NodeNeeds
from hrm.model.queues import QueueSpec
from hrm.model.requests import ExecutionType
from hrm.model.resources import ZERO, Resources


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueView:
    """One queue. Counts include what is below it."""

    path: str
    #: None iff the root.
    parent: str | None
    #: As declared; of a draining queue as it was.
    spec: QueueSpec
    used: Resources
    #: Used plus what its applications still ask for, capped at max share and cluster.
    demand: Resources
    #: As of the last `UpdateShares`: among queues with running applications, and as if all had some.
    fair_share: Resources
    steady_fair_share: Resources
    #: As they stand now: amounts as declared, or that part of the cluster.
    min_share: Resources
    max_share: Resources | None
    applications_running: int
    #: Those that limits on running applications make wait.
    applications_pending: int
    containers_running: int
    containers_pending: int
    #: What those that are pending ask for, however much the cluster has.
    pending: Resources
    #: Of those: what is asked for where a node is reserved for it, and on how many nodes.
    reserved: Resources
    containers_reserved: int
    #: What opportunistic containers hold, which counts in nothing above, and how many of them run and are waited for.
    opportunistic_used: Resources
    opportunistic_running: int
    opportunistic_pending: int
    #: True iff it is no longer declared and goes with its last application.
    draining: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """A node's books, as they stand."""

    node_id: str
    rack: str
    schedulable: bool
    total: Resources
    used: Resources
    #: Negative where facts put more on the node than it has.
    free: Resources
    #: By device id, in index order.
    device_free_milli: dict[str, int]
    containers: int
    #: Of these: opportunistic ones, and what they use.
    opportunistic_containers: int
    opportunistic_used: Resources
    #: The application that it is reserved for.
    reserved_for: ApplicationId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AppView:
    """An application's books, as they stand."""

    application_id: ApplicationId
    queue: str
    #: False iff limits on running applications make it wait.
    runnable: bool
    used: Resources
    #: Used plus what it still asks for.
    demand: Resources
    #: As of the last `UpdateShares`: its part of its queue's.
    fair_share: Resources
    containers: int
    #: Containers waited for.
    pending: int
    #: Of those: what is asked for where a node is reserved for it, and on how many nodes.
    reserved: Resources
    containers_reserved: int
    #: What its opportunistic containers hold, which counts in nothing above, and how many run and are waited for.
    opportunistic_used: Resources
    opportunistic_containers: int
    opportunistic_pending: int
    #: Why they wait, by the codes that the last visits kept.
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class AskView:
    """Containers of one kind that an application waits for."""

    resources: Resources
    gpu_model: str | None
    priority: int
    allocation_request_id: int
    pending: int
    #: What a node must be besides large enough.
    needs: NodeNeeds
    execution_type: ExecutionType


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerView:
    """Why a container is where it is, and whether it is to end for somebody."""

    container_id: ContainerId
    node_id: str
    #: Epoch seconds: when it was granted, or since when it is known.
    started_at: float
    way: Way
    #: How near it is to the places asked for; None iff none were, or nobody knows.
    locality: Level | None
    for_master: bool
    #: The application that it is to end for, and when it is killed at the latest; None iff for none.
    ends_for: ApplicationId | None
    kill_at: float | None
    execution_type: ExecutionType


def view_container(container: Container) -> ContainerView:
    """A snapshot of one container."""
    hold = container.hold
    return ContainerView(
        container_id=container.container_id,
        node_id=container.node.node_id,
        started_at=container.started_at,
        way=container.way,
        locality=container.level,
        for_master=container.is_master,
        ends_for=None if hold is None else hold.ask.app.application_id,
        kill_at=None if hold is None else container.kill_at,
        execution_type=_type_of(container.app),
    )


def _type_of(app: App) -> ExecutionType:
    return ExecutionType.OPPORTUNISTIC if app.borrows else ExecutionType.GUARANTEED


def view_queues(root: Queue, borrowing: Queue | None) -> list[QueueView]:
    """Parents before children, children as declared, draining ones last. ``borrowing``: the root of who borrows."""
    counts = _counts(root)
    borrowers = {} if borrowing is None else {queue.path: queue for queue in borrowing.walk()}
    borrowed = {} if borrowing is None else _counts(borrowing)
    pending: dict[Queue, Amounts] = {}
    reserved: dict[Queue, tuple[Amounts, int]] = {}
    for queue in reversed(list(root.walk())):
        waits, kept, nodes = Amounts(), Amounts(), 0
        for child in queue.children.values():
            waits.add(pending[child])
            kept.add(reserved[child][0])
            nodes += reserved[child][1]
        for app in queue.apps:
            waits.add(app.demand)
            waits.subtract(app.usage)
            if app.reserved:
                kept.add(_reserved(app))
                nodes += len(app.reserved)
        pending[queue], reserved[queue] = waits, (kept, nodes)
    cluster = root.cluster.total
    return [
        QueueView(
            path=queue.path,
            parent=queue.parent.path if queue.parent else None,
            spec=queue.spec,
            used=queue.usage.frozen(),
            demand=queue.demand.smallest(cluster).frozen(),
            fair_share=queue.fair_share,
            steady_fair_share=queue.steady_share,
            min_share=queue.min_share.frozen(),
            max_share=None if queue.max_share is None else queue.max_share.frozen(),
            applications_running=queue.running_apps,
            applications_pending=queue.waiting,
            containers_running=counts[queue][0],
            containers_pending=counts[queue][1],
            pending=pending[queue].frozen(),
            reserved=reserved[queue][0].frozen(),
            containers_reserved=reserved[queue][1],
            opportunistic_used=_used(borrowers.get(queue.path)),
            opportunistic_running=borrowed.get(borrowers.get(queue.path), (0, 0))[0],
            opportunistic_pending=borrowed.get(borrowers.get(queue.path), (0, 0))[1],
            draining=queue.draining,
        )
        for queue in root.walk()
    ]


def _used(one: Queue | App | None) -> Resources:
    return ZERO if one is None else one.usage.frozen()


def _reserved(app: App) -> Amounts:
    kept = Amounts()
    for node in app.reserved:
        if node.reservation is not None:
            kept.add(node.reservation.shape)
    return kept


def _counts(root: Queue) -> dict[Queue | None, tuple[int, int]]:
    """Containers that run, and that are waited for, in each queue and below."""
    counts: dict[Queue | None, tuple[int, int]] = {}
    for queue in reversed(list(root.walk())):
        below = [counts[child] for child in queue.children.values()]
        own = [(len(app.containers), app.pending()) for app in queue.apps]
        counts[queue] = _sums(below + own)
    return counts


def _sums(pairs: Iterable[tuple[int, int]]) -> tuple[int, int]:
    running = pending = 0
    for more_running, more_pending in pairs:
        running += more_running
        pending += more_pending
    return running, pending


def view_node(node: Node, remainder: Remainder | None) -> NodeView:
    """A snapshot of one node. ``remainder``: what is left of it for opportunistic containers."""
    left = node if remainder is None else remainder
    total, free = node.spec.total, left.free.frozen()
    lent = Amounts()
    for container in () if remainder is None else remainder.containers:
        lent.add(container.shape)
    return NodeView(
        node_id=node.node_id,
        rack=node.rack,
        schedulable=node.schedulable,
        total=total,
        used=total - free,
        free=free,
        device_free_milli={
            device.device_id: milli for device, milli in zip(node.devices, left.device_free, strict=True)
        },
        containers=len(node.containers) + (0 if remainder is None else len(remainder.containers)),
        opportunistic_containers=0 if remainder is None else len(remainder.containers),
        opportunistic_used=lent.frozen(),
        reserved_for=None if node.reservation is None else node.reservation.app.application_id,
    )


def view_app(app: App, borrower: App | None, reason: Reason) -> AppView:
    """A snapshot of one application. ``borrower``: what stands for it among those who borrow."""
    return AppView(
        application_id=app.application_id,
        queue=app.queue.path,
        runnable=app.runnable,
        used=app.usage.frozen(),
        demand=app.demand.frozen(),
        fair_share=app.fair_share,
        containers=len(app.containers),
        pending=app.pending(),
        reserved=_reserved(app).frozen(),
        containers_reserved=len(app.reserved),
        opportunistic_used=_used(borrower),
        opportunistic_containers=0 if borrower is None else len(borrower.containers),
        opportunistic_pending=0 if borrower is None else borrower.pending(),
        reason=reason,
    )


def view_asks(app: App) -> list[AskView]:
    """Snapshots of what it waits for, the most urgent first."""
    return [
        AskView(
            resources=ask.shape.resources,
            gpu_model=ask.shape.gpu_model,
            priority=ask.priority,
            allocation_request_id=ask.allocation_request_id,
            pending=ask.pending,
            needs=ask.shape.needs,
            execution_type=_type_of(app),
        )
        for ask in app.asks
    ]
