"""When which node is visited. The scheduler decides what happens at a visit; when is decided here.

A node is visited on its heartbeat, and at once when demand appears (every node with room) or room does (that node, and
where the scheduler knows of a node that somebody may use now: `hrm.core.openings`).
Where nobody waits for anything, a visit could place nothing: but for heartbeats, what is due then is let go.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice
from typing import Protocol

#: Housekeeping: fair shares worked out anew, starts written, deadlines looked at.
TICK_S = 0.5
#: Nodes that are visited before it is looked whether somebody still waits.
_FIRST_CHUNK = 64


class Outlook(Protocol):
    """What the scheduler says of visits that may be worth something. See `hrm.core.scheduler.Scheduler`."""

    def has_demand(self) -> bool:
        """True iff any is."""

    def nodes_with_room(self) -> Iterable[str]:
        """Those where something that waits may fit."""

    @property
    def has_openings(self) -> bool:
        """True iff the next may be there."""

    def next_opening(self) -> str | None:
        """One that somebody may use now because of what happened elsewhere."""


class Pacer:
    """Collects reasons for visits; hands each node out once."""

    def __init__(self, scheduler: Outlook) -> None:
        self._scheduler = scheduler
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
        return not (self._due or self._demand or self._unfinished or self._scheduler.has_openings)

    def take(self) -> tuple[str, bool] | None:
        """The next node to visit, and whether by its heartbeat; None iff there is none."""
        if not self._scheduler.has_demand():
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
        if self._due:
            return self._due.popitem(last=False)
        opening = self._scheduler.next_opening()
        return None if opening is None else (opening, False)

    def _look_for_room(self) -> None:
        """A few of the nodes with room, then more: mostly the first are enough, whatever the size of the cluster."""
        new = (node_id for node_id in self._scheduler.nodes_with_room() if node_id not in self._offered)
        found = list(islice(new, self._chunk))
        for node_id in found:
            self._due.setdefault(node_id, False)
        self._offered.update(found)
        self._demand = len(found) == self._chunk
        self._chunk *= 2
