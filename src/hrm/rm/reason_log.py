"""For how long an application waited for what: each change of its dominant reason is an event.

Looked at in turn at each tick, a bounded number of applications each time, so that ten thousand that wait cost no more
than a hundred. What has changed and changed back between two looks is not seen; a reason that flickers is noted ever
more seldom, so that the events of one application are about a hundred for each tenfold of its age.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from hrm.core.reasons import Reason
from hrm.model.explanations import ReasonSpan
from hrm.model.ids import ApplicationId
from hrm.rm.applications import LiveApplication
from hrm.rm.manager import ResourceManager
from hrm.rm.records import EventRow
from hrm.rm.turn import Turn

KIND = "reason_changed"
#: In one tick: applications that are looked at, and changes that are noted.
LOOKS = 128
NOTES = 32
#: Between two events of one application, in seconds and as a part of how long it has waited.
PAUSE_S = 2.0
PAUSE_PART = 0.02
#: What is no reason to note: nothing waits, or nobody has looked yet.
_QUIET = frozenset({Reason.NOTHING_PENDING, Reason.NOT_YET_SCHEDULED})


@dataclass(slots=True)
class _Noted:
    reason: Reason
    at: float
    #: When the first reason was noted.
    since: float


class ReasonLog:
    """Works for the manager, in its turns."""

    def __init__(self, manager: ResourceManager) -> None:
        self._manager = manager
        self._noted: dict[ApplicationId, _Noted] = {}
        self._next: deque[ApplicationId] = deque()

    def look(self, turn: Turn) -> None:
        """Note what has changed of the next applications in line."""
        applications = self._manager.applications
        if not self._next:
            self._next.extend(applications)
            self._noted = {one: noted for one, noted in self._noted.items() if one in applications}
        notes = 0
        for _ in range(min(LOOKS, len(self._next))):
            app = applications.get(self._next.popleft())
            if app is not None:
                notes += self._look_at(turn, app)
                if notes >= NOTES:
                    break

    def _look_at(self, turn: Turn, app: LiveApplication) -> bool:
        view = self._manager.scheduler.application_view(app.id)
        if view is None or app.row.state.final:
            return False
        reason, noted = view.reason, self._noted.get(app.id)
        if reason is Reason.NOT_YET_SCHEDULED or (noted is None and reason in _QUIET):
            return False
        if noted is not None and (
            noted.reason is reason or turn.now - noted.at < max(PAUSE_S, PAUSE_PART * (turn.now - noted.since))
        ):
            return False
        since = turn.now if noted is None else noted.since
        self._noted[app.id] = _Noted(reason, turn.now, since)
        self._manager.record(turn, KIND, application_seq=app.row.seq, reason=str(reason))
        return True


def spans(rows: Iterable[EventRow], *, ended_at: float | None) -> list[ReasonSpan]:
    """What it waited for, one after the other; ``ended_at``: of one that is over."""
    found: list[ReasonSpan] = []
    reason, since = str(Reason.NOTHING_PENDING), 0.0

    def end(until: float | None) -> None:
        if reason != str(Reason.NOTHING_PENDING):
            found.append(ReasonSpan(reason=reason, text=_sentence(reason), since=since, until=until))

    for row in rows:
        told = str((row.detail or {}).get("reason", ""))
        # A new server notes anew what has not changed.
        if told != reason:
            end(row.at)
            reason, since = told, row.at
    end(ended_at)
    return found


def _sentence(reason: str) -> str:
    """What `hrm ps` says of it; nothing for a reason of another version."""
    return next((one.sentence for one in Reason if str(one) == reason), "")
