"""When which node is visited. The scheduler decides what happens at a visit; when is decided here.

A node is visited on its heartbeat, and at once when demand appears (every node with room) or room does (that node).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

#: Housekeeping: fair shares worked out anew, starts written, deadlines looked at.
TICK_S = 0.5


class Pacer:
    """Collects reasons for visits; hands each node out once. ``nodes_with_room`` names those worth a visit."""

    def __init__(self, nodes_with_room: Callable[[], Iterable[str]]) -> None:
        self._nodes_with_room = nodes_with_room
        #: Nodes to visit, in the order in which the reason appeared; True iff by their heartbeat.
        self._due: OrderedDict[str, bool] = OrderedDict()
        self._demand = False
        #: Where the last visit did not come to its end.
        self._unfinished: str | None = None

    def heartbeat(self, node_id: str) -> None:
        self._due[node_id] = True

    def room(self, node_id: str) -> None:
        """Something ended there, or the node may be used again."""
        self._due.setdefault(node_id, False)

    def demand(self) -> None:
        """Somebody asks for more: every node that has room is worth a visit."""
        self._demand = True

    def unfinished(self, node_id: str) -> None:
        """The visit was cut short: it goes on before any other."""
        self._unfinished = node_id

    def forget(self, node_id: str) -> None:
        self._due.pop(node_id, None)
        if self._unfinished == node_id:
            self._unfinished = None

    @property
    def idle(self) -> bool:
        return not (self._due or self._demand or self._unfinished)

    def take(self) -> tuple[str, bool] | None:
        """The next node to visit, and whether by its heartbeat; None iff there is none."""
        if (node_id := self._unfinished) is not None:
            self._unfinished = None
            return node_id, False
        if self._demand:
            self._demand = False
            for node_id in self._nodes_with_room():
                self._due.setdefault(node_id, False)
        return self._due.popitem(last=False) if self._due else None
