"""Gangs: containers that are granted together or not at all.

A gang holds nothing while it waits. Whose turn it is the queues decide as for any request; then a layout is tried over
all nodes at once: member after member is taken from what is free, and all of it is put back. Only a complete layout is
granted. So two gangs can never hold each other's rest.

Within one gang the largest shapes are laid out first. For members of one shape that finds a layout wherever there is
one; for several it may miss one, as any first fit may.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from hrm.core.amounts import Amounts
from hrm.core.applications import App, Ask, Container, Shape
from hrm.core.nodes import Node, NodeIndex, pick_devices
from hrm.core.reasons import Reason
from hrm.model.requests import GangRequest


class Gang:
    """Asks of one application that are answered together. Compared by identity; gone with its last ask."""

    __slots__ = (
        "app",
        "asks",
        "gang_id",
        "gathers_since",
        "layout",
        "missed_visit",
        "reason",
        "rests_until",
        "tasks_per_node",
        "tried_at",
    )

    def __init__(self, app: App, request: GangRequest) -> None:
        self.app = app
        self.gang_id = request.gang_id
        self.tasks_per_node = request.tasks_per_node
        self.asks: list[Ask] = []
        #: Where its members go, once a visit has found that; used up by the grant.
        self.layout: Sequence[Member] = ()
        #: Number of the last visit that turned it down, and why that did.
        self.missed_visit = 0
        self.reason = Reason.NOT_YET_SCHEDULED
        #: What `Books.room_grew` was when it was tried in vain: until that changes it fits no better.
        self.tried_at = -1
        #: Since when nodes are kept for it (epoch seconds); None iff none are.
        self.gathers_since: float | None = None
        #: Until when it keeps none, because it has done so for too long.
        self.rests_until = 0.0

    @property
    def size(self) -> int:
        """Its containers."""
        return sum(ask.pending for ask in self.asks)

    @property
    def wanted(self) -> list[Wanted]:
        """Its members by shape, in the order of ``asks``."""
        return [Wanted(ask.shape, ask.pending) for ask in self.asks]

    def amounts(self) -> Amounts:
        """All of it together."""
        total = Amounts()
        for ask in self.asks:
            total.add_times(ask.shape, ask.pending)
        return total

    @property
    def gathered(self) -> list[Node]:
        """Nodes that are kept for it."""
        return [node for node in self.app.reserved if node.reservation is not None and node.reservation.gang is self]

    def may_use(self, node: Node) -> bool:
        """True iff nothing but room keeps it from this node."""
        mine = node.reservation is None or node.reservation.gang is self
        return node.schedulable and mine and node.node_id not in self.app.blacklist

    def nodes_with_room(self, index: NodeIndex, shape: Shape, first: Node | None = None) -> Iterator[Node]:
        """Where one more may fit: on node ``first``, on those that are kept for it, then on the emptiest."""
        before = dict.fromkeys(self.gathered if first is None else [first, *self.gathered])
        for node in before:
            if self.may_use(node):
                yield node
        for node in index.with_room_for(shape):
            if node not in before and self.may_use(node):
                yield node


class Wanted(NamedTuple):
    """So many members of one shape."""

    shape: Shape
    members: int


class Member(NamedTuple):
    """One container of a gang, with the node that it goes to and its devices there."""

    #: Position of its shape in what is wanted.
    wanted: int
    shape: Shape
    node: Node
    positions: Sequence[int]


class Layout:
    """Members of one gang that are tried on nodes, and taken from what is free there until `undo`."""

    def __init__(self, tasks_per_node: int | None) -> None:
        self.members: list[Member] = []
        self._tasks_per_node = tasks_per_node
        self._on_node: dict[Node, int] = {}
        self._shown: list[Container] = []

    def has_place_on(self, node: Node) -> bool:
        """True iff the gang may have one more there."""
        return self._tasks_per_node is None or self._on_node.get(node, 0) < self._tasks_per_node

    def take(self, wanted: int, shape: Shape, node: Node, positions: Sequence[int]) -> None:
        """One more there, which fits."""
        node.take(shape, positions)
        self._on_node[node] = self._on_node.get(node, 0) + 1
        self.members.append(Member(wanted, shape, node, positions))

    def show(self, container: Container) -> None:
        """Have the last one stand among the containers of its node, for who goes by these."""
        container.node.containers[container] = None
        self._shown.append(container)

    @property
    def nodes(self) -> Iterable[Node]:
        """Those that have members."""
        return self._on_node

    def undo(self) -> None:
        """Put all back; ``members`` stay as they are."""
        for _, shape, node, positions in self.members:
            node.put_back(shape, positions)
        for container in self._shown:
            del container.node.containers[container]


def fill(layout: Layout, wanted: Sequence[Wanted], nodes_for: Callable[[Shape], Iterable[Node]]) -> None:
    """Lay out as many as fit, each on the first of the nodes with room, in the order given."""
    for position in largest_first(wanted):
        shape, left = wanted[position]
        for node in nodes_for(shape):
            while left and layout.has_place_on(node) and node.fits(shape):
                devices = pick_devices(shape.gpus, node.device_free, node.allowed_positions(shape))
                layout.take(position, shape, node, devices if shape.gpus else ())
                left -= 1
            if not left:
                break


def largest_first(wanted: Sequence[Wanted]) -> list[int]:
    """Positions by GPUs, then memory, then vcores; equal ones in their order."""

    def smallness(position: int) -> tuple[int, int, int]:
        shape = wanted[position].shape
        return -shape.gpus, -shape.memory, -shape.vcores

    return sorted(range(len(wanted)), key=smallness)


def fill_emptied(layout: Layout, wanted: Sequence[Wanted], nodes: Callable[[], Iterable[Node]]) -> list[Node]:
    """Lay out on the nodes as if nothing ran there; those that got members. There is nothing to undo."""
    emptied: dict[Node, Node] = {}

    def emptied_for(shape: Shape) -> Iterator[Node]:
        for node in nodes():
            if node.could_hold(shape):
                if node not in emptied:
                    emptied[node] = Node(node.spec)
                yield emptied[node]

    fill(layout, wanted, emptied_for)
    used = set(layout.nodes)
    return [node for node, empty in emptied.items() if empty in used]
