"""How much of the cluster each queue used over a time: layers of one picture, and the same as figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from hrm.model.dominance import dominant_share
from hrm.web.charts import Layer
from hrm.web.samples import Sample, Span, mean

#: Points of the picture, columns of the table, and queues with a colour of their own.
POINTS, COLUMNS, COLOURS = 120, 6, 7


@dataclass(frozen=True, slots=True)
class QueueUse:
    """One layer: dominant shares of one queue, or of all others together (``name`` is "" then)."""

    name: str
    hue: int
    #: One for each point; None where nothing is known.
    shares: list[float | None]

    def columns(self) -> list[float | None]:
        """Means of the parts of the time, the oldest first."""
        size = POINTS // COLUMNS
        return [_mean(self.shares[at : at + size]) for at in range(0, POINTS, size)]

    @property
    def now(self) -> float | None:
        """The latest that is known."""
        return next((share for share in reversed(self.shares) if share is not None), None)

    def layer(self, title: str) -> Layer:
        return Layer([share or 0.0 for share in self.shares], f"hue-{self.hue}", title)


def queue_use(samples: Sequence[Sample], queues: Sequence[str], span: Span, now: float) -> list[QueueUse]:
    """Leaf queues in the order of ``queues``; where there are too many the least used ones are added up."""
    buckets: list[list[Sample]] = [[] for _ in range(POINTS)]
    step_s = span.seconds / POINTS
    for sample in samples:
        # By the clock, not by their age: while nothing new is seen the picture stays the same.
        at = POINTS - 1 - int(now // step_s - sample.at // step_s)
        if 0 <= at < POINTS:
            buckets[at].append(sample)
    found = [mean(bucket) if bucket else None for bucket in buckets]
    gone = sorted({name for sample in samples for name in sample.queues} - set(queues))
    shares: dict[str, list[float | None]] = {
        name: [None if one is None else dominant_share(one.queues.get(name, {}), one.total) for one in found]
        for name in (*queues, *gone)
    }
    ranked = sorted(shares, key=lambda name: -(_mean(shares[name]) or 0.0))
    own = set(ranked if len(ranked) <= COLOURS + 1 else ranked[:COLOURS])
    uses = [QueueUse(name, hue, shares[name]) for hue, name in enumerate(name for name in shares if name in own)]
    if rest := [name for name in shares if name not in own]:
        added = [None if one is None else sum(shares[name][at] or 0.0 for name in rest) for at, one in enumerate(found)]
        uses.append(QueueUse("", COLOURS, added))
    return uses


def _mean(shares: Sequence[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return fmean(known) if known else None
