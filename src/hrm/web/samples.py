"""What was in use over the last hour and the last day: rings of samples in memory, for the pictures on the pages.

Accounts are the history's business (`hrm history`). After a restart the rings are filled from it, unless the day had
more attempts of tasks than are read then. It does not say how large the cluster was: that is taken as it is now.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from hrm.model.reports import Amounts, NodeReport, QueueReport, TaskAttemptReport
from hrm.model.states import NodeState

PERIOD_S = 10.0
ROOT_QUEUE = "root"
#: Attempts that are read at a time, and in all.
_PAGE, MOST_ATTEMPTS = 1000, 20_000

#: ``history(since=…, limit=…, offset=…)``: attempts that had not ended by then, the oldest first.
History = Callable[..., Awaitable[list[TaskAttemptReport]]]


class Span(StrEnum):
    """How far back a picture goes."""

    HOUR = "hour"
    DAY = "day"

    @property
    def seconds(self) -> float:
        return 3600.0 if self is Span.HOUR else 86_400.0

    @property
    def period_s(self) -> float:
        """Between two samples of its ring."""
        return PERIOD_S if self is Span.HOUR else 300.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What was in use of what there was, at one moment."""

    at: float
    used: Amounts
    total: Amounts
    #: What each leaf queue used.
    queues: dict[str, Amounts]


class UsageLog:
    """A ring for each span, the oldest sample first. Those of the day are means of what was seen meanwhile."""

    def __init__(self) -> None:
        self._rings = {span: deque[Sample](maxlen=round(span.seconds / span.period_s)) for span in Span}
        #: Of the ring of the day: seen since its last sample.
        self._seen: list[Sample] = []

    def over(self, span: Span) -> Sequence[Sample]:
        """What there is of it, up to the latest."""
        ring = self._rings[span]
        return [*ring, self._seen[-1]] if span is Span.DAY and self._seen else [*ring]

    def note(self, at: float, nodes: list[NodeReport], queues: list[QueueReport]) -> None:
        """What is in use now."""
        alive = [node for node in nodes if node.state is not NodeState.LOST]
        self.add(
            Sample(
                at=at,
                used=summed(node.used for node in alive),
                total=summed(node.total for node in alive),
                queues={queue.name: queue.used for queue in queues if queue.type == "leaf"},
            )
        )

    def add(self, sample: Sample) -> None:
        """The latest."""
        self._rings[Span.HOUR].append(sample)
        self._seen.append(sample)
        if sample.at - self._seen[0].at >= Span.DAY.period_s - 1.5 * PERIOD_S:
            self._rings[Span.DAY].append(mean(self._seen))
            self._seen = []

    async def recall(self, history: History, total: Amounts, now: float) -> None:
        """Fill the rings with what attempts of tasks held before ``now``."""
        attempts: list[TaskAttemptReport] = []
        while True:
            page = await history(since=now - Span.DAY.seconds, limit=_PAGE, offset=len(attempts))
            attempts += page
            if len(page) < _PAGE:
                break
            if len(attempts) >= MOST_ATTEMPTS:
                return
        for span in Span:
            samples = await asyncio.to_thread(held, attempts, total, span, now)
            self._rings[span].extendleft(reversed(samples))

    async def keep(
        self,
        nodes: Callable[[], list[NodeReport]],
        queues: Callable[[], list[QueueReport]],
        history: History,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Recall what was, then take a sample every ``PERIOD_S`` seconds, without end."""
        await self.recall(history, summed(node.total for node in nodes()), clock())
        while True:
            self.note(clock(), nodes(), queues())
            await asyncio.sleep(PERIOD_S)


def held(attempts: Iterable[TaskAttemptReport], total: Amounts, span: Span, now: float) -> list[Sample]:
    """Samples from the first attempt on until ``now``. A container counts from its grant to its end."""
    count, period_s = round(span.seconds / span.period_s), span.period_s
    begin = now - count * period_s
    found: list[dict[str, Amounts]] = [{} for _ in range(count)]
    first = count
    for attempt in attempts:
        ended_at = now if attempt.ended_at is None else attempt.ended_at
        at = max(0, int((attempt.allocated_at - begin) // period_s) + 1)
        while at < count and begin + at * period_s < ended_at:
            first = min(first, at)
            amounts = found[at].setdefault(attempt.queue, {})
            for name, amount in attempt.resources.items():
                amounts[name] = amounts.get(name, 0) + amount
            at += 1
    return [
        Sample(at=begin + at * period_s, used=summed(found[at].values()), total=total, queues=found[at])
        for at in range(first, count)
    ]


def mean(samples: Sequence[Sample]) -> Sample:
    """Of one moment, the latest of them. A queue that was there only for a part counts as unused for the rest."""
    names = dict.fromkeys(name for sample in samples for name in sample.queues)

    def of(amounts: Iterable[Amounts]) -> Amounts:
        return {name: round(value / len(samples)) for name, value in summed(amounts).items()}

    return Sample(
        at=samples[-1].at,
        used=of(sample.used for sample in samples),
        total=of(sample.total for sample in samples),
        queues={name: of(sample.queues.get(name, {}) for sample in samples) for name in names},
    )


def summed(amounts: Iterable[Amounts]) -> Amounts:
    """The sum of amounts, resource by resource."""
    total: Amounts = {}
    for each in amounts:
        for name, value in each.items():
            total[name] = total.get(name, 0) + value
    return total
