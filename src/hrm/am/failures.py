"""How often an application's master may fail before the application has."""

from __future__ import annotations

from hrm.am.master import MAX_LOSSES, Task
from hrm.model.jobs import MasterSpec
from hrm.model.states import TaskState


class Failures:
    """Counts attempts of one master that failed by its own fault, and those that were lost.

    With a validity interval only those count that failed within it (YARN's attemptFailuresValidityInterval).
    """

    def __init__(self, spec: MasterSpec, master: Task) -> None:
        self._spec = spec
        self._master = master
        self._failed_at: list[float] = []

    def resume(self, now: float) -> None:
        """After a restart it is not known when the earlier ones were: they count as of now."""
        self._failed_at = [now] * self._master.failures

    def add(self, state: TaskState, at: float) -> None:
        # One that ended for another application costs no attempt (YARN does not count it either).
        self._master.losses += state is TaskState.LOST
        if state is TaskState.FAILED:
            self._master.failures += 1
            self._failed_at.append(at)

    def used_up(self, now: float) -> bool:
        """True iff there is no further attempt."""
        interval_s = self._spec.validity_interval_s
        counted = self._failed_at if interval_s is None else [at for at in self._failed_at if at > now - interval_s]
        return len(counted) >= self._spec.max_attempts or self._master.losses > MAX_LOSSES
