"""Gangs that gather nodes do not block each other, nor others for ever."""

from __future__ import annotations

from hrm.core.commands import Command, NodeReserved
from hrm.core.events import Event
from hrm.model.ids import ApplicationId
from hrm.rm.pacer import TICK_S
from hrm.sim.checkers.base import Checker


class GangsDoNotBlock(Checker):
    """Nodes are kept for one gang at a time, no longer than it may gather, and for none that holds something."""

    def begin(self) -> None:
        self._gathers: ApplicationId | None = None
        self._since = 0.0

    def told(self, event: Event, commands: list[Command], now: float) -> None:
        super().told(event, commands, now)
        for command in commands:
            if isinstance(command, NodeReserved) and self._begins(command.application_id):
                self._gathers, self._since = command.application_id, now

    def _begins(self, application_id: ApplicationId) -> bool:
        return application_id != self._gathers and self._is_gang(application_id)

    def _is_gang(self, application_id: ApplicationId) -> bool:
        app = self.scheduler.books.apps.get(application_id)
        return app is not None and bool(app.gangs)

    def settled(self, now: float) -> None:
        super().settled(now)
        most_s = self.workload.options.gang_gather_timeout_s + 2 * TICK_S
        kept = {view.reserved_for for view in self.scheduler.node_views()} - {None}
        gathering = {one for one in kept if one is not None and self._is_gang(one)}
        if not gathering:
            self._gathers = None
        elif gathering != {self._gathers}:
            self.fail(f"nodes are kept for gangs of {sorted(map(str, gathering))}, and {self._gathers} gathers", now)
        elif now - self._since > most_s:
            self.fail(f"nodes are kept for {self._gathers} for {now - self._since:g} s, at most {most_s:g} s", now)
        for application_id in gathering:
            view = self.scheduler.application_view(application_id)
            if view is not None and view.containers:
                self.fail(f"{application_id} holds a part of its gang, and waits for the rest", now)
