"""A clock that tests move by hand."""

from __future__ import annotations

import asyncio
import heapq


class ManualClock:
    """Time stands still until `advance` is called. ``now`` may be handed to whatever takes a clock."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self._now = now
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._seq = 0

    def now(self) -> float:
        """Seconds."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Until so much has passed on this clock."""
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._seq += 1
        heapq.heappush(self._sleepers, (self._now + seconds, self._seq, sleeper))
        await sleeper

    def advance(self, seconds: float) -> None:
        """Let time pass; who slept until then goes on with the loop's next turn."""
        if seconds < 0:
            raise ValueError(f"time does not go back: {seconds}")
        self._now += seconds
        while self._sleepers and self._sleepers[0][0] <= self._now:
            _, _, sleeper = heapq.heappop(self._sleepers)
            if not sleeper.done():
                sleeper.set_result(None)
