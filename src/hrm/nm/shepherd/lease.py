"""How long containers may run with nobody to say so.

Where two runs of the same work must never overlap, a machine that is cut off has to end its own before they are begun
elsewhere. The server's word reaches this far through the NodeManager, which may have died since: so it is kept here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from hrm.nm.shepherd.journal import log
from hrm.nm.shepherd.loop import Loop

#: The loop's timers stand still while the machine sleeps, and the lease does not.
_LOOK_S = 1.0
LAPSED = "the server was out of reach for so long that it had to end before it is run elsewhere"


def now() -> float:
    """Seconds since the machine was started, those that it slept included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """None until somebody sets it; ``on_lapse`` is called when it has run out, once for each time it was extended."""

    def __init__(self, loop: Loop, on_lapse: Callable[[], None]) -> None:
        self._loop = loop
        self._on_lapse = on_lapse
        self._until: float | None = None
        self._looking = False

    @property
    def lapsed(self) -> bool:
        return self._until is not None and now() >= self._until

    def extend(self, until: float) -> None:
        """It holds until then, in the terms of `now`; with infinity for ever. That never shortens it."""
        if until == math.inf:
            self._until = None
            return
        self._until = until if self._until is None else max(until, self._until)
        if not self._looking:
            self._looking = True
            self._look()

    def shorten(self, until: float) -> None:
        """If there is one, it holds no longer than until then."""
        if self._until is not None:
            self._until = min(until, self._until)

    def _look(self) -> None:
        if self._until is None:
            self._looking = False
            return
        left_s = self._until - now()
        if left_s > 0:
            self._loop.call_later(min(left_s, _LOOK_S), self._look)
            return
        self._looking = False
        log("the lease has run out")
        self._on_lapse()
