"""Of a gang all is granted in one decision, or nothing."""

from __future__ import annotations

from collections import Counter

from hrm.core.commands import Allocate, Command
from hrm.core.events import AppRemoved, AttemptRemoved, Event, RequestsUpdated
from hrm.model.ids import AttemptId
from hrm.model.resources import Resources
from hrm.sim.checkers.base import Checker

#: A gang of an attempt; a request of one, by its id and what it asks for.
Gang = tuple[AttemptId, int]
Request = tuple[int, Resources]


class GangsWhole(Checker):
    """Keeps what gangs ask for, and counts what each decision grants of it."""

    def begin(self) -> None:
        self._asked: dict[Gang, dict[Request, int]] = {}

    def told(self, event: Event, commands: list[Command], now: float) -> None:
        if isinstance(event, RequestsUpdated):
            for request in event.requests:
                if request.gang is not None:
                    gang = self._asked.setdefault((event.attempt_id, request.gang.gang_id), {})
                    gang[request.allocation_request_id, request.resources] = request.count
        elif isinstance(event, AppRemoved | AttemptRemoved):
            gone = event.application_id if isinstance(event, AppRemoved) else event.attempt_id.application
            self._asked = {gang: asked for gang, asked in self._asked.items() if gang[0].application != gone}
        granted = Counter(
            (one.container_id.attempt, (one.allocation_request_id, one.resources))
            for one in commands
            if isinstance(one, Allocate)
        )
        if granted:
            for (attempt_id, gang_id), asked in self._asked.items():
                got = [granted[attempt_id, request] for request in asked]
                if any(got):
                    if got != [*asked.values()]:
                        self.fail(f"of gang {gang_id} of {attempt_id} {got} of {[*asked.values()]} were granted", now)
                    asked.clear()
