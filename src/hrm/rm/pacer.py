"""When which node is visited. The scheduler decides what happens at a visit; when is decided here.

A node is visited on its heartbeat, and at once when demand appears (every node with room) or room does (that node).
Where nobody waits for anything, a visit could place nothing: but for heartbeats, what is due then is let go.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import islice

#: Housekeeping: fair shares worked out anew, starts written, deadlines looked at.
TICK_S = 0.5
#: Nodes that are visited before it is looked whether somebody still waits.
_FIRST_CHUNK = 64


class Pacer:
    """Collects reasons for visits; hands each node out once.

    ``nodes_with_room`` names those worth a visit, ``has_demand`` says whether any is.
    """

    def __init__(self, nodes_with_room: Callable[[], Iterable[str]], has_demand: Callable[[], bool]) -> None:
        self._nodes_with_room = nodes_with_room
        self._has_demand = has_demand
        #: Nodes to visit, in the order in which the reason appeared; True iff by their heartbeat.
        self._due: OrderedDict[str, bool] = OrderedDict()
        self._demand = False
        #: Nodes with room that were handed out since demand appeared, and how many to look for next.
        self._offered: set[str] = set()
        self._chunk = _FIRST_CHUNK
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
        self._offered.clear()
        self._chunk = _FIRST_CHUNK

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
        if not self._has_demand():
            self._demand, self._unfinished = False, None
            while self._due:
                node_id, heartbeat = self._due.popitem(last=False)
                if heartbeat:
                    return node_id, True
            return None
        if self._unfinished is not None:
            node_id, self._unfinished = self._unfinished, None
            return node_id, False
        if self._demand and (not self._offered or not self._due):
            self._look_for_room()
        return self._due.popitem(last=False) if self._due else None

    def _look_for_room(self) -> None:
        """A few of the nodes with room, then more: mostly the first are enough, whatever the size of the cluster."""
        new = (node_id for node_id in self._nodes_with_room() if node_id not in self._offered)
        found = list(islice(new, self._chunk))
        for node_id in found:
            self._due.setdefault(node_id, False)
        self._offered.update(found)
        self._demand = len(found) == self._chunk
        self._chunk *= 2
