"""Vectors of resources: exact integers, never floats.

``memory_mib`` in MiB, ``vcores_milli`` and ``gpus_milli`` in thousandths, and any other countable resource by name
(YARN's "resource types"). A third of a core stays exactly 333 thousandths however often it is added and taken away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from hrm.model.errors import InvalidInput
from hrm.model.units import LARGEST, format_memory, format_milli, parse_memory_mib, parse_milli

MEMORY = "memory_mib"
VCORES = "vcores_milli"
GPUS = "gpus_milli"
BUILT_IN = (MEMORY, VCORES, GPUS)


@dataclass(frozen=True, slots=True)
class Resources:
    """How much of each resource. Immutable; sums may be negative only as intermediate differences."""

    memory_mib: int = 0
    vcores_milli: int = 0
    gpus_milli: int = 0
    #: Other resources, sorted by name, none of them zero: one vector has one form.
    others: tuple[tuple[str, int], ...] = ()

    def __add__(self, other: Resources) -> Resources:
        return Resources(
            self.memory_mib + other.memory_mib,
            self.vcores_milli + other.vcores_milli,
            self.gpus_milli + other.gpus_milli,
            _merged(self.others, other.others, 1) if self.others or other.others else (),
        )

    def __sub__(self, other: Resources) -> Resources:
        return Resources(
            self.memory_mib - other.memory_mib,
            self.vcores_milli - other.vcores_milli,
            self.gpus_milli - other.gpus_milli,
            _merged(self.others, other.others, -1) if self.others or other.others else (),
        )

    def __mul__(self, times: int) -> Resources:
        return Resources(
            self.memory_mib * times,
            self.vcores_milli * times,
            self.gpus_milli * times,
            tuple((name, amount * times) for name, amount in self.others if times),
        )

    def __bool__(self) -> bool:
        return bool(self.memory_mib or self.vcores_milli or self.gpus_milli or self.others)

    def get(self, name: str) -> int:
        """The amount of the resource ``name`` (``memory_mib``, ``vcores_milli``, ``gpus_milli`` or another)."""
        if name in BUILT_IN:
            return int(getattr(self, name))
        return next((amount for other, amount in self.others if other == name), 0)

    def names(self) -> tuple[str, ...]:
        """The three built-in names and those of the other resources that are not zero."""
        return BUILT_IN + tuple(name for name, _ in self.others)

    def items(self) -> Iterator[tuple[str, int]]:
        yield MEMORY, self.memory_mib
        yield VCORES, self.vcores_milli
        yield GPUS, self.gpus_milli
        yield from self.others

    def fits_in(self, room: Resources) -> bool:
        """True iff no component is larger than that of ``room``."""
        return (
            self.memory_mib <= room.memory_mib
            and self.vcores_milli <= room.vcores_milli
            and self.gpus_milli <= room.gpus_milli
            and (self.others == room.others or not self.exceeding(room))
        )

    def exceeding(self, room: Resources) -> tuple[str, ...]:
        """Names of the resources of which this is more than ``room`` has, in the usual order."""
        names = self.names()
        # What only the room has still counts where the room is overdrawn (negative).
        names += tuple(name for name, _ in room.others if name not in names)
        return tuple(name for name in names if self.get(name) > room.get(name))

    def smallest(self, other: Resources) -> Resources:
        """Component-wise minimum."""
        return _per_component(self, other, min)

    def largest(self, other: Resources) -> Resources:
        """Component-wise maximum."""
        return _per_component(self, other, max)

    def dominant_share(self, total: Resources) -> float:
        """The largest of the shares of ``total`` (Ghodsi et al., "Dominant Resource Fairness", NSDI'11).

        A resource that ``total`` lacks counts as a share of 0 where none is used, else as infinite.
        """
        share = 0.0
        for name, amount in self.items():
            if amount > 0:
                whole = total.get(name)
                share = max(share, amount / whole if whole > 0 else float("inf"))
        return share

    def as_dict(self) -> dict[str, int]:
        return dict(self.items())

    def __str__(self) -> str:
        parts = [f"{format_milli(self.vcores_milli)} vcores", format_memory(self.memory_mib)]
        if self.gpus_milli:
            parts.append(f"{format_milli(self.gpus_milli)} GPUs")
        parts += [f"{amount} {name}" for name, amount in self.others]
        return ", ".join(parts)

    @classmethod
    def of(cls, amounts: Mapping[str, int]) -> Resources:
        """From exact integers by name, as `as_dict` gives them. Raises InvalidInput where an amount is no integer."""
        for name, amount in amounts.items():
            if isinstance(amount, bool) or not isinstance(amount, int) or abs(amount) > LARGEST:
                raise InvalidInput(f"not a whole number in range: {amount!r}", field=name)
        return cls(
            amounts.get(MEMORY, 0),
            amounts.get(VCORES, 0),
            amounts.get(GPUS, 0),
            tuple(sorted((name, amount) for name, amount in amounts.items() if name not in BUILT_IN and amount)),
        )

    @classmethod
    def parse(
        cls,
        *,
        cpus: str | int | float = 0,
        memory: str | int = 0,
        gpus: str | int | float = 0,
        others: Mapping[str, int] | None = None,
    ) -> Resources:
        """From human forms (``cpus=0.5``, ``memory="4G"``). Raises InvalidInput naming the field that is wrong."""
        gpus_milli = parse_milli(gpus, field="gpus")
        if gpus_milli > 1000 and gpus_milli % 1000:
            raise InvalidInput(
                f"a fraction of a GPU lies on one device: {gpus}",
                field="gpus",
                next_step="ask for at most 1, or for a whole number",
            )
        built_in = cls(parse_memory_mib(memory, field="memory"), parse_milli(cpus, field="cpus"), gpus_milli)
        return built_in + cls.of(others) if others else built_in


ZERO = Resources()


def _merged(
    left: tuple[tuple[str, int], ...], right: tuple[tuple[str, int], ...], sign: int
) -> tuple[tuple[str, int], ...]:
    amounts = dict(left)
    for name, amount in right:
        amounts[name] = amounts.get(name, 0) + sign * amount
    return tuple(sorted((name, amount) for name, amount in amounts.items() if amount))


def _per_component(left: Resources, right: Resources, pick: Callable[[int, int], int]) -> Resources:
    others: tuple[tuple[str, int], ...] = ()
    if left.others or right.others:
        names = sorted({name for name, _ in left.others} | {name for name, _ in right.others})
        others = tuple((name, amount) for name in names if (amount := pick(left.get(name), right.get(name))))
    return Resources(
        pick(left.memory_mib, right.memory_mib),
        pick(left.vcores_milli, right.vcores_milli),
        pick(left.gpus_milli, right.gpus_milli),
        others,
    )
