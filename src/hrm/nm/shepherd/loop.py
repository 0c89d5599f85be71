"""The event loop: file descriptors, timers, ended children. It sleeps unless there is something to do."""

from __future__ import annotations

import heapq
import os
import select
import signal
import time
from collections.abc import Callable

READABLE = select.EPOLLIN
EDGE = select.EPOLLET
#: The kernel takes no more than 24 days.
_LONGEST_SLEEP_S = 86_400.0


class Loop:
    """One epoll, one heap of timers, one wake-up pipe for signals."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_seq = 0
        #: Work that is waiting: the next turn does not sleep.
        self.busy = False

    def watch(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        """Call ``handler(events)`` whenever one of ``events`` holds (with EDGE: begins to hold)."""
        self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def change(self, fd: int, events: int) -> None:
        self._epoll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """To be called just before ``fd`` is closed, which takes it out of the epoll too (no other fd shares it).

        No error if it was never watched.
        """
        self._handlers.pop(fd, None)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        self._timer_seq += 1
        heapq.heappush(self._timers, (time.monotonic() + delay_s, self._timer_seq, callback))

    def on_signals(self, handlers: dict[int, Callable[[], None]]) -> None:
        """Call each handler on the loop, soon after its signal came (once for many of the same)."""
        arrived, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for signum in handlers:
            signal.signal(signum, lambda _signum, _frame: None)
        # Written to by the C handler, which is quicker than Python's and cannot come between two lines of ours.
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

        def run(_events: int) -> None:
            for signum in set(os.read(arrived, 4096)):
                if signum in handlers:
                    handlers[signum]()

        self.watch(arrived, READABLE, run)

    def turn(self) -> None:
        """Wait for something to happen, and handle it."""
        timeout_s = -1.0
        if self.busy:
            timeout_s = 0.0
        elif self._timers:
            timeout_s = min(_LONGEST_SLEEP_S, max(0.0, self._timers[0][0] - time.monotonic()))
        for fd, events in self._epoll.poll(timeout_s, 64):
            # One handler of this turn may have closed another's.
            if handler := self._handlers.get(fd):
                handler(events)
        if self._timers:
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                _, _, callback = heapq.heappop(self._timers)
                callback()
