"""When which node is visited. The scheduler decides what happens at a visit; when is decided here.

A node is visited on its heartbeat, and at once when demand appears (every node with room) or room does (that node).
"""

from __future__ import annotations

from collections.abc import Iterable


class Pacer:
    """Collects reasons for visits; hands each node out once."""

    def __init__(self) -> None:
        #: Nodes to visit, in the order in which the reason appeared; True iff by their heartbeat.
        self._due: dict[str, bool] = {}
        self._demand = False

    def heartbeat(self, node_id: str) -> None:
        self._due[node_id] = True

    def room(self, node_id: str) -> None:
        """Something ended there, or the node may be used again."""
        self._due.setdefault(node_id, False)

    def demand(self) -> None:
        """Somebody asks for more: every node that has room is worth a visit."""
        self._demand = True

    def forget(self, node_id: str) -> None:
        self._due.pop(node_id, None)

    @property
    def idle(self) -> bool:
        return not self._due and not self._demand

    def take(self, nodes_with_room: Iterable[str], *, most: int) -> list[tuple[str, bool]]:
        """At most ``most`` visits as (node, by its heartbeat); the rest stays for the next call."""
        if self._demand:
            self._demand = False
            for node_id in nodes_with_room:
                self._due.setdefault(node_id, False)
        due = [(node_id, self._due[node_id]) for node_id, _ in zip(self._due, range(most), strict=False)]
        for node_id, _ in due:
            del self._due[node_id]
        return due
