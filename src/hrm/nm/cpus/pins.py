"""Which container has which CPUs for itself: the rule alone, without the kernel."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple


class Cpu(NamedTuple):
    """One CPU as the kernel counts them: a hardware thread."""

    number: int
    #: What it is near to, the widest first: its NUMA node, its core.
    places: tuple[int, ...] = ()


class Pins:
    """The CPUs of one node, each of them one container's alone or shared by all containers that have none.

    Among those that have CPUs of their own, none is given twice. Neighbours are given together: of one NUMA node, then
    of one core, and where several would do, those that break up the least of what is whole.
    """

    def __init__(self, cpus: Iterable[Cpu]) -> None:
        self._cpus = {cpu.number: cpu for cpu in cpus}
        self._own: dict[str, tuple[int, ...]] = {}
        self._sharing: set[str] = set()

    @property
    def free(self) -> tuple[int, ...]:
        """Those that are nobody's alone."""
        own = {number for numbers in self._own.values() for number in numbers}
        return tuple(number for number in sorted(self._cpus) if number not in own)

    @property
    def shared(self) -> tuple[int, ...]:
        """Where containers run that have none of their own: on what is free; on all, should nothing be."""
        return self.free or tuple(sorted(self._cpus))

    def take(self, owner: str, count: int) -> tuple[int, ...]:
        """``count`` CPUs for ``owner`` alone. () where it shares: it wants none, or there is no room.

        There is room if so many are free and, while others share, one is left to them. A node that lends no more CPUs
        than it has, has room for each container that the scheduler places there.
        """
        free = self.free
        if 0 < count <= len(free) - bool(self._sharing):
            return self._keep(owner, _choose([self._cpus[number] for number in free], count))
        self._sharing.add(owner)
        return ()

    def restore(self, owner: str, numbers: Collection[int]) -> None:
        """It has these already, since before this life."""
        self._keep(owner, numbers)

    def _keep(self, owner: str, numbers: Collection[int]) -> tuple[int, ...]:
        own = self._own[owner] = tuple(sorted(numbers))
        return own

    def give_back(self, owner: str) -> None:
        """It is over. No error if it never was."""
        self._own.pop(owner, None)
        self._sharing.discard(owner)


def _choose(cpus: Sequence[Cpu], count: int, depth: int = 0) -> list[int]:
    """At each level the smallest group that has room for all; where none has, the largest, and on with what is left."""
    if depth >= max((len(cpu.places) for cpu in cpus), default=0):
        return [cpu.number for cpu in cpus[:count]]
    by_place: dict[int, list[Cpu]] = {}
    for cpu in cpus:
        by_place.setdefault(cpu.places[depth], []).append(cpu)
    groups, chosen = list(by_place.values()), list[int]()
    while (wanted := count - len(chosen)) > 0:
        roomy = [group for group in groups if len(group) >= wanted]
        group = min(roomy, key=len) if roomy else max(groups, key=len)
        groups.remove(group)
        chosen += _choose(group, min(wanted, len(group)), depth + 1)
    return chosen


def format_cpus(numbers: Iterable[int]) -> str:
    """As the kernel writes them: ``0-2,5``."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def parse_cpus(text: str) -> tuple[int, ...]:
    """The reverse. Raises ValueError."""
    numbers: list[int] = []
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return tuple(numbers)
