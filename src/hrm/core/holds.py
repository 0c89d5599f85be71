"""Space on a node that is kept for the ask it is being freed for.

What a hold has got is off the node's free amounts and devices, so that nobody else can take it; as victims end, it
takes what they leave, up to what its ask needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hrm.core.amounts import Amounts

if TYPE_CHECKING:
    from hrm.core.applications import Ask, Container
    from hrm.core.nodes import Node


class Hold:
    """Space for one container of ``ask`` on ``node``. Compared by identity."""

    __slots__ = ("ask", "device_milli", "got", "node", "victims")

    def __init__(self, ask: Ask, node: Node, positions: tuple[int, ...], victims: list[Container]) -> None:
        self.ask = ask
        self.node = node
        #: Kept so far.
        self.got = Amounts()
        #: The same of each device it is to get, by position.
        self.device_milli = dict.fromkeys(positions, 0)
        #: Containers that are to end for it and have not yet.
        self.victims = dict.fromkeys(victims)

    @property
    def complete(self) -> bool:
        return self.ask.shape.fits_in(self.got)

    def top_up(self) -> None:
        """Take from what is free on the node what is still lacking."""
        node, shape, got, free = self.node, self.ask.shape, self.got, self.node.free
        part = min(shape.gpus, 1000)
        gpus = 0
        for position, milli in self.device_milli.items():
            more = max(min(node.device_free[position], part - milli), 0)
            self.device_milli[position] += more
            node.device_free[position] -= more
            gpus += more
        more_of = Amounts(
            max(min(free.memory, shape.memory - got.memory), 0),
            max(min(free.vcores, shape.vcores - got.vcores), 0),
            gpus,
            {name: max(min(free.other(name), whole - got.other(name)), 0) for name, whole in shape.others.items()}
            if shape.others
            else None,
        )
        got.add(more_of)
        free.subtract(more_of)
        node.sum_devices()

    def let_go(self) -> None:
        """Give all of it back to the node."""
        for position, milli in self.device_milli.items():
            self.node.device_free[position] += milli
            self.device_milli[position] = 0
        self.node.free.add(self.got)
        self.got = Amounts()
        self.node.sum_devices()
