"""Room that may be used although nothing ended on its node: hints for whoever decides when nodes are visited.

Where a container ends, its node is worth a visit, and that is known without the core. It does not say so where a limit
kept a request from a node that had room, and is not reached any more: then other nodes are worth a visit. Nor where
space that was kept for somebody is let go.

Each queue remembers the shapes that its limits turned down (`Queue.held`). When it uses less, they are looked for
elsewhere: one node, then two, four, until the request is placed or turned down again, or every node with room for
it was visited. So the end of a container in a queue at its limit leads to a visit or two, however large the cluster.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from hrm.core.applications import Shape
from hrm.core.nodes import Node, NodeIndex

if TYPE_CHECKING:
    from hrm.core.queues import Queue


class _Search:
    """Nodes with room for one shape, each once, as many as it takes."""

    __slots__ = ("_next", "_offered", "_want")

    def __init__(self) -> None:
        self._offered: set[Node] = set()
        self._next: list[Node] = []
        self._want = 1

    def next(self, shape: Shape, index: NodeIndex) -> Node | None:
        """None iff there is none left."""
        if not self._next:
            new = (node for node in index.with_room_for(shape) if node not in self._offered)
            self._next = list(islice(new, self._want))
            self._offered.update(self._next)
            self._want *= 2
            self._next.reverse()
        return self._next.pop() if self._next else None


class Openings:
    """Collects them as they come about, and hands each node out once for each reason."""

    def __init__(self, index: NodeIndex) -> None:
        self._index = index
        #: Where kept space was let go, in order.
        self._nodes: dict[Node, None] = {}
        #: What a limit may let in now, in order; None before the first look. Mostly the node where something ended
        #: takes it, and there is none.
        self._searches: dict[tuple[Queue, Shape], _Search | None] = {}

    def __bool__(self) -> bool:
        return bool(self._nodes or self._searches)

    # ---- told by the books

    def let_go(self, node: Node) -> None:
        """Space that was kept here for somebody is free."""
        self._nodes[node] = None

    def visited(self, node: Node) -> None:
        """A visit has just seen what is free here."""
        if self._nodes:
            self._nodes.pop(node, None)

    def ease(self, queue: Queue) -> None:
        """The queue uses less, or may use more: what its limits turned down may be let in."""
        for shape in list(queue.held):
            if _lets_in(queue, shape):
                self._searches[queue, shape] = None

    def forget(self, queue: Queue, shape: Shape) -> None:
        """Nobody below the queue waits for such any more."""
        queue.held.pop(shape, None)
        if self._searches:
            self._searches.pop((queue, shape), None)

    # ---- asked by who paces visits

    def next(self, *, one_is_enough: bool) -> str | None:
        """The next node that is worth a visit; None iff there is none.

        ``one_is_enough``: the visit of one node places on all the others as well.
        """
        if self._nodes:
            node = next(iter(self._nodes))
            del self._nodes[node]
            return node.node_id
        while self._searches:
            what, search = next(iter(self._searches.items()))
            queue, shape = what
            if shape not in queue.held and _lets_in(queue, shape):
                if search is None:
                    search = self._searches[what] = _Search()
                found = search.next(shape, self._index)
                if found is not None:
                    if one_is_enough:
                        del self._searches[what]
                    return found.node_id
            del self._searches[what]
        return None


def _lets_in(queue: Queue, shape: Shape) -> bool:
    """True iff no max share keeps such a request, which waits somewhere below the queue, out.

    Then the queue forgets that it turned such down; otherwise the queue whose limit keeps it out remembers.
    """
    full = queue.over_max_with(shape)
    queue.held.pop(shape, None)
    if full is None:
        return _has_way(queue, shape)
    full.held[shape] = None
    return False


def _has_way(queue: Queue, shape: Shape) -> bool:
    """The same for the queues below it."""
    if not queue.children:
        return True
    for child in queue.children.values():
        if shape in child.shapes:
            if child.max_share is not None and not child.usage.stays_within(shape, child.max_share):
                child.held[shape] = None
            elif _has_way(child, shape):
                return True
    return False
