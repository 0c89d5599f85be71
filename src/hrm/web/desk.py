"""What all pages draw from: the facade, what the server has seen of the last hour, and what may be changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hrm.api.accounts import Accounts
from hrm.model.reports import ContainerReport, NodeReport, QueueReport
from hrm.model.states import ApplicationState
from hrm.rm.facade import Facade
from hrm.web.samples import UsageLog
from hrm.web.weights import Weights

ACTIVE = (ApplicationState.SUBMITTED, ApplicationState.ACCEPTED, ApplicationState.RUNNING)
#: How long what many pages look at is kept: with 500 nodes each look costs some ten milliseconds of the loop.
KEPT_S = 1.0
_MOST_APPLICATIONS = 10_000
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """One for the server. ``clock`` gives epoch seconds."""

    facade: Facade
    accounts: Accounts = field(default_factory=Accounts)
    weights: Weights
    usage: UsageLog = field(default_factory=UsageLog)
    clock: Callable[[], float] = time.time
    _kept: dict[str, tuple[float, Any]] = field(default_factory=dict)

    def nodes(self) -> list[NodeReport]:
        """At most ``KEPT_S`` old, as the rest is."""
        return self._recent("nodes", self.facade.nodes)

    def queues(self) -> list[QueueReport]:
        return self._recent("queues", self.facade.queues)

    def containers(self) -> list[ContainerReport]:
        return self._recent("containers", self.facade.containers)

    async def users(self) -> dict[str, str]:
        """Whose each application is that is not over, by its id."""
        kept = self._kept.get("users")
        if kept is None or time.monotonic() >= kept[0]:
            active = await self.facade.applications(states=ACTIVE, limit=_MOST_APPLICATIONS)
            kept = (time.monotonic() + KEPT_S, {app.application_id: app.user for app in active})
            self._kept["users"] = kept
        users: dict[str, str] = kept[1]
        return users

    def look_anew(self) -> None:
        """Something was changed from here: whoever changed it sees that at once."""
        self._kept.clear()

    def _recent(self, name: str, look: Callable[[], T]) -> T:
        kept = self._kept.get(name)
        if kept is None or time.monotonic() >= kept[0]:
            kept = (time.monotonic() + KEPT_S, look())
            self._kept[name] = kept
        found: T = kept[1]
        return found
