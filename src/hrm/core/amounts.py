"""Vectors of resources that change in place: the books of the scheduler.

`hrm.model.resources.Resources` is what the outside speaks. Inside, an allocation touches the books of a node, an
application and every queue above it, and a new object for each would cost more than the decision itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from hrm.model.resources import Resources


class Amounts:
    """How much of each resource, as plain integers that are added to and taken from in place."""

    __slots__ = ("gpus", "memory", "others", "vcores")

    def __init__(self, memory: int = 0, vcores: int = 0, gpus: int = 0, others: dict[str, int] | None = None) -> None:
        #: MiB.
        self.memory = memory
        #: Thousandths.
        self.vcores = vcores
        #: Thousandths.
        self.gpus = gpus
        #: Other resources by name; None as long as there never was one.
        self.others = others

    @classmethod
    def of(cls, resources: Resources) -> Self:
        others = dict(resources.others) if resources.others else None
        return cls(resources.memory_mib, resources.vcores_milli, resources.gpus_milli, others)

    def copy(self) -> Amounts:
        return Amounts(self.memory, self.vcores, self.gpus, dict(self.others) if self.others else None)

    def frozen(self) -> Resources:
        """As a value for the outside."""
        others = tuple(sorted((n, amount) for n, amount in self.others.items() if amount)) if self.others else ()
        return Resources(self.memory, self.vcores, self.gpus, others)

    def add(self, other: Amounts) -> None:
        self.memory += other.memory
        self.vcores += other.vcores
        self.gpus += other.gpus
        if other.others:
            self.add_others(other.others, 1)

    def subtract(self, other: Amounts) -> None:
        self.memory -= other.memory
        self.vcores -= other.vcores
        self.gpus -= other.gpus
        if other.others:
            self.add_others(other.others, -1)

    def add_times(self, other: Amounts, times: int) -> None:
        self.memory += other.memory * times
        self.vcores += other.vcores * times
        self.gpus += other.gpus * times
        if other.others:
            self.add_others(other.others, times)

    def add_others(self, others: dict[str, int], times: int) -> None:
        if self.others is None:
            self.others = {}
        for name, amount in others.items():
            self.others[name] = self.others.get(name, 0) + amount * times

    def fits_in(self, room: Amounts) -> bool:
        """True iff ``room`` has enough of all that is asked for here.

        What is not asked for does not count: a node short of GPUs (one broke) still takes work without any.
        """
        return (
            (self.memory <= room.memory or not self.memory)
            and (self.vcores <= room.vcores or not self.vcores)
            and (self.gpus <= room.gpus or not self.gpus)
            and (
                not self.others or all(amount <= room.other(name) or not amount for name, amount in self.others.items())
            )
        )

    def stays_within(self, ask: Amounts, limit: Amounts) -> bool:
        """True iff this and ``ask`` together are at most ``limit`` in every resource."""
        if (
            self.memory + ask.memory > limit.memory
            or self.vcores + ask.vcores > limit.vcores
            or self.gpus + ask.gpus > limit.gpus
        ):
            return False
        if self.others is None and ask.others is None:
            return True
        names = (self.others or {}).keys() | (ask.others or {}).keys()
        return all(self.other(name) + ask.other(name) <= limit.other(name) for name in names)

    def smallest(self, other: Amounts) -> Amounts:
        """Component-wise minimum, as a new vector."""
        others = None
        if self.others or other.others:
            names = (self.others or {}).keys() | (other.others or {}).keys()
            others = {name: min(self.other(name), other.other(name)) for name in sorted(names)}
        return Amounts(
            min(self.memory, other.memory), min(self.vcores, other.vcores), min(self.gpus, other.gpus), others
        )

    def less(self, other: Amounts) -> Amounts:
        """The difference, where it is more than nothing, as a new vector."""
        others = None
        if self.others:
            others = {name: max(amount - other.other(name), 0) for name, amount in self.others.items()}
        return Amounts(
            max(self.memory - other.memory, 0),
            max(self.vcores - other.vcores, 0),
            max(self.gpus - other.gpus, 0),
            others,
        )

    @property
    def empty(self) -> bool:
        """True iff there is nothing of anything."""
        return not (self.memory or self.vcores or self.gpus or (self.others and any(self.others.values())))

    def dominant_share(self, total: Amounts) -> float:
        """As `hrm.model.resources.Resources.dominant_share`."""
        parts = [(self.memory, total.memory), (self.vcores, total.vcores), (self.gpus, total.gpus)]
        if self.others:
            parts += [(amount, total.other(name)) for name, amount in self.others.items()]
        share = 0.0
        for amount, whole in parts:
            if amount > 0:
                share = max(share, amount / whole if whole > 0 else float("inf"))
        return share

    def other(self, name: str) -> int:
        return self.others.get(name, 0) if self.others else 0

    def items(self) -> Iterator[tuple[str, int]]:
        """Each resource by the name that `Resources.get` knows."""
        return self.frozen().items()

    def __repr__(self) -> str:
        return f"<{self.frozen()}>"


#: Shared by all that have none; never changed.
NOTHING = Amounts()
