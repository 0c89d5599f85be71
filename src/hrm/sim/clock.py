"""Virtual time: what is to happen, in the order in which it does."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

#: Called with what was put beside it, and the time.
Handler = Callable[[Any, float], None]


class EventQueue:
    """Future events by time; of two at one time that which was put first comes first."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Handler, Any]] = []
        self._number = 0

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, at: float, handler: Handler, what: Any = None) -> None:
        """Have ``handler(what, at)`` called at ``at``, in seconds of virtual time."""
        self._number += 1
        heapq.heappush(self._heap, (at, self._number, handler, what))

    def put_all(self, events: list[tuple[float, Handler, Any]]) -> None:
        """Many at once: cheaper than one by one."""
        for at, handler, what in events:
            self._number += 1
            self._heap.append((at, self._number, handler, what))
        heapq.heapify(self._heap)

    @property
    def next_at(self) -> float:
        """When the next one is; infinite iff there is none."""
        return self._heap[0][0] if self._heap else float("inf")

    def pop(self) -> tuple[Handler, Any]:
        """The next one. Raises IndexError iff there is none."""
        _, _, handler, what = heapq.heappop(self._heap)
        return handler, what
