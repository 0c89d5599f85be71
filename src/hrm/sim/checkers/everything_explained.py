"""Whoever waits can be told why, in words, and not with "nobody has looked yet"."""

from __future__ import annotations

from hrm.core.commands import Command
from hrm.core.events import AppAdded, AppRemoved, Event
from hrm.core.reasons import Reason
from hrm.model.ids import ApplicationId
from hrm.sim.checkers.base import Checker

#: Applications asked for at one moment: an explanation looks at all nodes.
_AT_ONCE = 2


class EverythingExplained(Checker):
    """Asks for an explanation of some of those that wait, the next ones each time."""

    def begin(self) -> None:
        #: In the order in which they are asked for next.
        self._apps: dict[ApplicationId, None] = {}
        options = self.workload.options
        #: True iff a visit may leave something for the next heartbeat.
        self._later = options.delays or options.reservable_nodes > 0 or not options.assigns_all

    def told(self, event: Event, commands: list[Command], now: float) -> None:
        super().told(event, commands, now)
        if isinstance(event, AppAdded):
            self._apps[event.application_id] = None
        elif isinstance(event, AppRemoved):
            self._apps.pop(event.application_id, None)

    def look(self, now: float) -> None:
        asked = 0
        for application_id in list(self._apps):
            view = self.scheduler.application_view(application_id)
            if view is None or not view.pending:
                continue
            said = self.scheduler.explain(application_id)
            unseen = said.reason == str(Reason.NOT_YET_SCHEDULED) and not self._later
            if not said.message or not said.reason or unseen:
                self.fail(
                    f"{application_id} waits for {view.pending} containers: {said.reason!r} {said.message!r}", now
                )
            del self._apps[application_id]
            self._apps[application_id] = None
            asked += 1
            if asked == _AT_ONCE:
                return
