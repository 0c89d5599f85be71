"""No queue lets more applications run than it may, of all and of one user."""

from __future__ import annotations

from collections import Counter

from hrm.core.commands import AppActivated, Command
from hrm.core.events import AppAdded, AppMoved, AppRemoved, Event
from hrm.model.ids import ApplicationId
from hrm.model.queues import canonical_path
from hrm.sim.checkers.base import Checker, lineage


class RunningApps(Checker):
    """Counts those that were activated and have not left."""

    def begin(self) -> None:
        self._specs = dict(self.workload.root.walk())
        self._apps: dict[ApplicationId, tuple[str, str]] = {}
        self._runs: set[ApplicationId] = set()
        self._running: Counter[str] = Counter()
        self._of_user: Counter[tuple[str, str]] = Counter()

    def told(self, event: Event, commands: list[Command], now: float) -> None:
        if isinstance(event, AppAdded):
            self._apps[event.application_id] = canonical_path(event.queue), event.user
        if isinstance(event, AppRemoved) and event.application_id in self._runs:
            self._count(event.application_id, -1)
            self._runs.discard(event.application_id)
        if isinstance(event, AppMoved):
            self._move(event.application_id, canonical_path(event.queue), now)
        for command in commands:
            if isinstance(command, AppActivated) and command.application_id not in self._runs:
                self._runs.add(command.application_id)
                self._count(command.application_id, 1)
                self._check(command.application_id, now)

    def _move(self, application_id: ApplicationId, path: str, now: float) -> None:
        _, user = self._apps[application_id]
        runs = application_id in self._runs
        if runs:
            self._count(application_id, -1)
        self._apps[application_id] = path, user
        if runs:
            self._count(application_id, 1)
            self._check(application_id, now)

    def _count(self, application_id: ApplicationId, step: int) -> None:
        path, user = self._apps[application_id]
        for above in lineage(path):
            self._running[above] += step
            self._of_user[above, user] += step

    def _check(self, application_id: ApplicationId, now: float) -> None:
        path, user = self._apps[application_id]
        for above in lineage(path):
            spec = self._specs[above]
            most = spec.max_running_apps
            if most is not None and self._running[above] > most:
                self.fail(f"{above} runs {self._running[above]} applications of at most {most}", now)
            of_user = dict(spec.max_running_apps_of_users).get(user, spec.max_running_apps_per_user)
            if of_user is not None and self._of_user[above, user] > of_user:
                self.fail(f"{above} runs {self._of_user[above, user]} applications of {user}, at most {of_user}", now)
