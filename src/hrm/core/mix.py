"""Which tasks are usual: what a strategy may know of those to come.

Weng et al., "Beware of Fragmentation" (ATC'23): the most popular kinds of tasks, up to 95 % of all of them, stand for
what will be asked for next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hrm.core.amounts import Amounts

#: How much of all tasks the typical ones make up.
POPULAR = 0.95
#: Tasks counted before the counts are halved: what was asked for long ago counts less and less.
WINDOW = 65_536
#: Kinds that are counted at once; a new one beyond is not.
MAX_KINDS = 4_096


@dataclass(frozen=True, slots=True, order=True)
class Kind:
    """What of a task matters for fragmentation. Memory does not, as in the paper."""

    vcores_milli: int
    gpus_milli: int
    #: Glob over models; "" iff any will do.
    gpu_model: str = ""

    @classmethod
    def of(cls, amounts: Amounts, gpu_model: str | None) -> Kind:
        return cls(amounts.vcores, amounts.gpus, gpu_model or "")


@dataclass(frozen=True, slots=True)
class Typical:
    """A kind of task and how often it comes: frequencies of all typical ones add up to 1."""

    kind: Kind
    frequency: float


def typical_of(counts: Mapping[Kind, int]) -> tuple[Typical, ...]:
    """The most popular kinds until they make up `POPULAR` of all; of equally popular ones the first in ``counts``."""
    total = sum(counts.values())
    chosen: list[Kind] = []
    together = 0
    for kind in sorted(counts, key=lambda one: -counts[one]):
        if together >= POPULAR * total:
            break
        chosen.append(kind)
        together += counts[kind]
    return tuple(Typical(kind, counts[kind] / together) for kind in chosen)


class TaskMix:
    """Counts the tasks that were asked for. ``epoch`` grows when the typical ones are to be worked out anew."""

    def __init__(self) -> None:
        self.epoch = 0
        self._counts: dict[Kind, int] = {}
        self._total = 0
        #: How many had been counted when the typical tasks were last worked out.
        self._settled = 0

    @classmethod
    def of(cls, tasks: Iterable[Kind]) -> TaskMix:
        """A mix that is known from the start."""
        mix = cls()
        for kind in tasks:
            mix._counts[kind] = mix._counts.get(kind, 0) + 1
            mix._total += 1
        mix._settle()
        return mix

    def see(self, kind: Kind, count: int) -> None:
        """So many tasks of this kind were asked for."""
        if kind not in self._counts and len(self._counts) >= MAX_KINDS:
            return
        count = min(count, WINDOW)
        self._counts[kind] = self._counts.get(kind, 0) + count
        self._total += count
        if self._total > WINDOW:
            self._counts = {one: half for one, number in self._counts.items() if (half := number // 2)}
            self._total = sum(self._counts.values())
            self._settle()
        elif self._total > self._settled * 5 // 4:
            # Each time costs scores for all nodes: a quarter more tells enough.
            self._settle()

    def _settle(self) -> None:
        self._settled = self._total
        self.epoch += 1

    def typical(self) -> tuple[Typical, ...]:
        """See `typical_of`. () before anything was seen."""
        return typical_of(self._counts)
