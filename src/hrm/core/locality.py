"""Delay scheduling: how long an ask waits for a node or rack it would like before it takes another place.

Zaharia et al., "Delay Scheduling", EuroSys'10, with the rules of YARN's FSAppAttempt. An ask may at first only lie on
its nodes; when it has missed enough opportunities, or waited long enough, also in its racks, then anywhere. A node
without room for it is no opportunity, here unlike in YARN: full nodes need not be looked at request by request.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hrm.core.options import Visit


class Level(IntEnum):
    """How near a node is to the places asked for; also how far an ask may go."""

    NODE = 0
    RACK = 1
    ANYWHERE = 2


class Delay:
    """How far one ask may go now."""

    __slots__ = ("_counted_in", "_looked", "level", "missed", "since")

    def __init__(self, now: float) -> None:
        self.level = Level.NODE
        self._looked = False
        #: Opportunities since the level was last relaxed.
        self.missed = 0
        #: When that was, or it was first looked at; epoch seconds.
        self.since = now
        self._counted_in = 0

    def look(self, visit: Visit) -> Level:
        """The level allowed in this visit: at the first look its nodes. The counter rises before it is compared."""
        if visit.heartbeat and self._counted_in != visit.number:
            self._counted_in = visit.number
            self.missed += 1
        if not self._looked:
            self._looked = True
            return self.level
        options, first = visit.options, self.level is Level.NODE
        if options.continuous_scheduling:
            delay_s = options.node_locality_delay_s if first else options.rack_locality_delay_s
            over = visit.now - self.since > delay_s
        else:
            threshold = options.node_locality_threshold if first else options.rack_locality_threshold
            over = self.missed > visit.nodes * min(threshold, 1.0)
        if over and self.level is not Level.ANYWHERE:
            self.level = Level(self.level + 1)
            self.missed = 0
            self.since = visit.now
        return self.level

    def placed(self, level: Level) -> None:
        """One was placed: nearer than it had to be, so the next waits for that again."""
        self.level = min(self.level, level)
