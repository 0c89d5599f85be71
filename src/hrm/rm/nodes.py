"""Nodes as the ResourceManager knows them: what they are, what they last said."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from hrm.model.containers import NodeUsage
from hrm.model.nodes import NodeSpec
from hrm.model.states import NodeState
from hrm.rm.records import NodeRow


@dataclass(slots=True)
class LiveNode:
    """A node that registered, lost ones too until they are forgotten."""

    spec: NodeSpec
    state: NodeState
    isolation: str
    last_heartbeat_at: float
    usage: NodeUsage | None = None
    message: str = ""

    @property
    def row(self) -> NodeRow:
        return NodeRow(
            node_id=self.spec.node_id,
            state=self.state,
            rack=self.spec.rack,
            total=self.spec.total,
            last_seen_at=self.last_heartbeat_at,
        )


class Nodes:
    """All nodes by id, in the order in which they first registered."""

    def __init__(self) -> None:
        self._by_id: dict[str, LiveNode] = {}
        #: Set once the first has registered.
        self.arrived = asyncio.Event()

    def get(self, node_id: str) -> LiveNode | None:
        return self._by_id.get(node_id)

    def is_up(self, node_id: str) -> bool:
        """True iff it registered and was not lost since."""
        node = self._by_id.get(node_id)
        return node is not None and node.state is not NodeState.LOST

    def put(self, node: LiveNode) -> None:
        self._by_id[node.spec.node_id] = node
        self.arrived.set()

    def __iter__(self) -> Iterator[LiveNode]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)
