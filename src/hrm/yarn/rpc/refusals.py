"""Who was turned away, in the log: enough to see what happens, and never as much as somebody can cause."""

from __future__ import annotations

from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)

_LINES = 10
_PER_S = 10.0


class Refusals:
    """So many lines in a while; of those above the number is told with the first line of the next while."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since = clock()
        self._lines = 0
        self._untold = 0

    def note(self, event: str, **facts: object) -> None:
        now = self._clock()
        if now - self._since >= _PER_S:
            if self._untold:
                log.warning("yarn_more_refused", count=self._untold, seconds=round(now - self._since))
            self._since, self._lines, self._untold = now, 0, 0
        if self._lines >= _LINES:
            self._untold += 1
            return
        self._lines += 1
        log.warning(event, **facts)
