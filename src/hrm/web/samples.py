"""What was in use over the last hour: a ring of samples in memory, for the picture on the first page.

Accounts are the history's business (`hrm history`); what a restart loses here, a picture can do without.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hrm.model.reports import Amounts, NodeReport, QueueReport
from hrm.model.states import NodeState

PERIOD_S = 10.0
SPAN_S = 3600.0
ROOT_QUEUE = "root"


@dataclass(frozen=True, slots=True)
class Sample:
    """What was in use of what there was, at one moment."""

    at: float
    used: Amounts
    total: Amounts
    #: What each leaf queue used.
    queues: dict[str, Amounts]


class UsageLog:
    """The samples of the last ``SPAN_S`` seconds, oldest first."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=int(SPAN_S / PERIOD_S))

    def __iter__(self) -> Iterator[Sample]:
        return iter(self._samples)

    def __len__(self) -> int:
        return len(self._samples)

    def note(self, at: float, nodes: list[NodeReport], queues: list[QueueReport]) -> None:
        alive = [node for node in nodes if node.state is not NodeState.LOST]
        self._samples.append(
            Sample(
                at=at,
                used=summed(node.used for node in alive),
                total=summed(node.total for node in alive),
                queues={queue.name: queue.used for queue in queues if queue.type == "leaf"},
            )
        )

    async def keep(
        self,
        nodes: Callable[[], list[NodeReport]],
        queues: Callable[[], list[QueueReport]],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take a sample every ``PERIOD_S`` seconds, without end."""
        while True:
            self.note(clock(), nodes(), queues())
            await asyncio.sleep(PERIOD_S)


def summed(amounts: Iterator[Amounts] | list[Amounts]) -> Amounts:
    """The sum of amounts, resource by resource."""
    total: Amounts = {}
    for each in amounts:
        for name, value in each.items():
            total[name] = total.get(name, 0) + value
    return total
