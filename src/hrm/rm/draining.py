"""Drain: nodes, or the server as a whole, that take nothing new while what runs there comes to its own end.

A node's drain outlives the server; that of the server is over when the server ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hrm.core.events import NodeSchedulable
from hrm.model.errors import NotFound
from hrm.rm.manager import ResourceManager
from hrm.rm.nodes import Drain, LiveNode
from hrm.rm.turn import Turn


@dataclass(frozen=True, slots=True)
class _Wish:
    """What was asked for, and by whom."""

    by: str
    reason: str = ""


class Drains:
    """Begins and ends drains. ``on_empty`` is called when the server drains and its last container has ended."""

    def __init__(self, manager: ResourceManager, *, on_empty: Callable[[], None]) -> None:
        self._manager = manager
        self._on_empty = on_empty
        #: Told of each node that somebody uses again.
        self.on_undrained: Callable[[str], None] = lambda node_id: None
        manager.on_idle = self._look

    async def drain_node(self, node_id: str, *, by: str, reason: str) -> None:
        """Place nothing there from now on. Said again, it has a new reason. Raises NotFound."""
        await self._manager.turns.ask(self._drain_node, node_id, _Wish(by, reason))

    async def undrain_node(self, node_id: str, *, by: str) -> None:
        """Use the node again. No error if it is not drained. Raises NotFound."""
        await self._manager.turns.ask(self._undrain_node, node_id, _Wish(by))

    async def drain_server(self, *, by: str) -> None:
        """Start nothing new anywhere, and call ``on_empty`` when nothing runs any more."""
        await self._manager.turns.ask(self._drain_server, _Wish(by))

    async def undrain_server(self, *, by: str) -> None:
        """Go on as before. No error if the server does not drain."""
        await self._manager.turns.ask(self._undrain_server, _Wish(by))

    def _drain_node(self, turn: Turn, node_id: str, wish: _Wish) -> None:
        self.begin(turn, self._node(node_id), Drain(at=turn.now, by=wish.by, reason=wish.reason))

    def _undrain_node(self, turn: Turn, node_id: str, wish: _Wish) -> None:
        node = self._node(node_id)
        self.on_undrained(node_id)
        if node.drain is not None:
            self.end(turn, node, by=wish.by)

    def begin(self, turn: Turn, node: LiveNode, drain: Drain) -> None:
        """As `drain_node`, in a turn."""
        node_id = node.spec.node_id
        self._manager.nodes.drain(node_id, drain)
        turn.touch(node)
        self._manager.record(turn, "node_drained", node_id=node_id, by=drain.by, reason=drain.reason)
        self._tell(turn, node)

    def end(self, turn: Turn, node: LiveNode, *, by: str) -> None:
        """As `undrain_node`, in a turn, of a node that is drained."""
        node_id = node.spec.node_id
        self._manager.nodes.drain(node_id, None)
        turn.touch(node)
        self._manager.record(turn, "node_undrained", node_id=node_id, by=by)
        self._tell(turn, node)

    def _drain_server(self, turn: Turn, wish: _Wish) -> None:
        nodes = self._manager.nodes
        if nodes.closed_by is None:
            nodes.closed_by = wish.by
            self._manager.record(turn, "server_drained", by=wish.by)
            for node in nodes:
                self._tell(turn, node)
        turn.after_commit(self._look)

    def _undrain_server(self, turn: Turn, wish: _Wish) -> None:
        nodes = self._manager.nodes
        if nodes.closed_by is not None:
            nodes.closed_by = None
            self._manager.record(turn, "server_undrained", by=wish.by)
            for node in nodes:
                self._tell(turn, node)

    def _tell(self, turn: Turn, node: LiveNode) -> None:
        node_id = node.spec.node_id
        schedulable = self._manager.nodes.is_schedulable(node_id)
        self._manager.tell(turn, NodeSchedulable(node_id, schedulable))
        if schedulable:
            self._manager.pacer.room(node_id)

    def _look(self) -> None:
        if self._manager.nodes.closed_by is not None and not self._manager.containers:
            self._on_empty()

    def _node(self, node_id: str) -> LiveNode:
        node = self._manager.nodes.get(node_id)
        if node is None:
            raise NotFound(f"no node {node_id!r}", next_step="`hrm nodes` lists them")
        return node
