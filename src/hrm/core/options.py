"""What is the same all through one visit of a node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from hrm.model.scheduling import SchedulerOptions

if TYPE_CHECKING:
    from hrm.core.gangs import Gang
    from hrm.core.nodes import Node
    from hrm.core.reasons import Reason


class GangTrials(Protocol):
    """Who tries whether a whole gang fits (`hrm.core.gatherings`)."""

    def turned_down(self, gang: Gang, node: Node, visit: Visit) -> Reason | None: ...


class Visit:
    """One object serves all visits: `begin` starts the next."""

    __slots__ = (
        "assigns_all",
        "delays",
        "gangs",
        "heartbeat",
        "nodes",
        "nodes_of_rack",
        "now",
        "number",
        "options",
        "reserving",
    )

    def __init__(self, options: SchedulerOptions, nodes_of_rack: Mapping[str, int], gangs: GangTrials) -> None:
        self.go_by(options)
        self.gangs = gangs
        #: How many nodes each rack has.
        self.nodes_of_rack = nodes_of_rack
        self.number = 0
        #: Nodes of the cluster.
        self.nodes = 0
        self.now = 0.0
        #: True iff missed opportunities count.
        self.heartbeat = True

    def go_by(self, options: SchedulerOptions) -> None:
        """Take other options. The number goes on: what was noted in earlier visits is told by it."""
        self.options = options
        self.assigns_all = options.assigns_all
        self.delays = options.delays
        self.reserving = options.reservable_nodes > 0

    def begin(self, nodes: int, now: float, *, heartbeat: bool) -> None:
        self.number += 1
        self.nodes, self.now, self.heartbeat = nodes, now, heartbeat
