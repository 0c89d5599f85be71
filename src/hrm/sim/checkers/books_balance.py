"""The scheduler's own books balance after every moment."""

from __future__ import annotations

from hrm.core.invariants import check_invariants
from hrm.sim.checkers.base import Checker


class BooksBalance(Checker):
    """Asks `hrm.core.invariants`."""

    def look(self, now: float) -> None:
        check_invariants(self.scheduler)
