"""The event log: what happened, for people, accounting and audit. Recovery does not read it.

The newest events are kept in memory for whoever follows; older ones are read from the store.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from itertools import islice
from typing import Any, Protocol

from hrm.model.ids import ApplicationId
from hrm.model.reports import EventReport
from hrm.rm.records import EventRow

#: Events kept in memory for followers; one that falls behind further reads from the store again.
RECENT = 4096
PAGE = 1000


class ReadEvents(Protocol):
    """Rows of the log in order."""

    async def __call__(self, *, after_seq: int, application_seq: int | None, limit: int) -> list[EventRow]: ...


class EventLog:
    """Numbers events, keeps the newest, wakes followers."""

    def __init__(self, *, cluster_timestamp: int, next_seq: int, read: ReadEvents) -> None:
        self._cluster_timestamp = cluster_timestamp
        self._next_seq = next_seq
        self._newest = next_seq - 1
        self._read = read
        self._recent: deque[EventRow] = deque(maxlen=RECENT)
        #: Of those that came since the start, by kind.
        self.counts: Counter[str] = Counter()
        self._more = asyncio.Event()

    def record(
        self,
        kind: str,
        at: float,
        *,
        application_seq: int | None = None,
        container_id: str | None = None,
        node_id: str | None = None,
        **detail: Any,
    ) -> EventRow:
        """The next event; the caller commits it, then calls `publish`."""
        row = EventRow(
            seq=self._next_seq,
            at=at,
            kind=kind,
            application_seq=application_seq,
            container_id=container_id,
            node_id=node_id,
            detail=detail or None,
        )
        self._next_seq += 1
        return row

    def publish(self, row: EventRow) -> None:
        """It is on disk: followers may see it."""
        self._recent.append(row)
        self._newest = row.seq
        self.counts[row.kind] += 1
        self._more.set()
        self._more = asyncio.Event()

    async def follow(self, after_seq: int, application_seq: int | None) -> AsyncIterator[EventReport]:
        """Everything after ``after_seq`` in order, then each event as it is published. Never ends."""
        while True:
            more, newest = self._more, self._newest
            if self._recent and self._recent[0].seq <= after_seq + 1:
                # Numbers follow each other, and a follower that keeps up lacks few.
                page = list(islice(reversed(self._recent), max(0, self._newest - after_seq)))[::-1]
            else:
                page = await self._read(after_seq=after_seq, application_seq=application_seq, limit=PAGE)
            for row in page:
                if application_seq is None or row.application_seq == application_seq:
                    yield self.report(row)
            if page:
                after_seq = max(after_seq, page[-1].seq)
            if len(page) < PAGE:
                # A short page holds all there was up to `newest`, other applications' events left out.
                after_seq = max(after_seq, newest)
                if self._newest == newest:
                    await more.wait()

    def report(self, row: EventRow) -> EventReport:
        """As it is told."""
        return EventReport(
            seq=row.seq,
            at=row.at,
            kind=row.kind,
            application_id=(
                str(ApplicationId(self._cluster_timestamp, row.application_seq)) if row.application_seq else None
            ),
            container_id=row.container_id,
            node_id=row.node_id,
            detail=row.detail or {},
        )
