"""What is the same all through one visit of a node."""

from __future__ import annotations

from collections.abc import Mapping

from hrm.model.scheduling import SchedulerOptions


class Visit:
    """One object serves all visits: `begin` starts the next."""

    __slots__ = (
        "assigns_all",
        "delays",
        "heartbeat",
        "nodes",
        "nodes_of_rack",
        "now",
        "number",
        "options",
        "reserving",
    )

    def __init__(self, options: SchedulerOptions, nodes_of_rack: Mapping[str, int]) -> None:
        self.go_by(options)
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
