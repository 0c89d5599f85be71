"""The same events at the same times lead to the same commands."""

from __future__ import annotations

from hrm.core.commands import Command
from hrm.core.events import Event
from hrm.core.scheduler import Scheduler
from hrm.sim.checkers.base import Checker

#: Events that are kept; of a longer life the beginning is played again.
_MOST = 200_000


class SameDecisions(Checker):
    """Writes the whole life down, and has another scheduler live it again at the end."""

    def begin(self) -> None:
        self._told: list[tuple[Event, float, list[Command]]] = []

    def told(self, event: Event, commands: list[Command], now: float) -> None:
        if len(self._told) < _MOST:
            self._told.append((event, now, list(commands)))

    def over(self) -> None:
        again = Scheduler(self.workload.root, epoch=1, options=self.workload.options)
        for number, (event, now, commands) in enumerate(self._told):
            decided = again.handle(event, now)
            if decided != commands:
                self.fail(f"event {number} ({event}) led to {commands}, and the second time to {decided}", now)
