"""The stand-in for a master that runs somewhere else (YARN's unmanaged ApplicationMaster).

It has no container: nothing is asked for it, nothing is started, and nobody but itself ends it. It has one attempt,
which fails when it is not heard of for too long.
"""

from __future__ import annotations

from hrm.am.master import Actions
from hrm.am.own_master import OwnMaster
from hrm.model.masters import FinalStatus
from hrm.model.states import TaskState
from hrm.model.units import format_duration


class UnmanagedMaster(OwnMaster):
    """Its task 0 stands for it, and waits until it has finished."""

    def _want_master(self) -> None:
        """It comes by itself."""

    def resume(self, now: float) -> Actions:
        actions = super().resume(now)
        if self._verdict is None:
            self._deadline = now + self._expiry_s
        return actions

    def expire(self, now: float) -> Actions:
        if self._verdict is None and self._deadline is not None and self._deadline <= now:
            self._deadline = None
            return self._wind_up(
                FinalStatus.FAILED, f"its master was not heard of for {format_duration(self._expiry_s)}"
            )
        return super().expire(now)

    def finish(self, status: FinalStatus, message: str, now: float) -> Actions:
        actions = super().finish(status, message, now)
        self._deadline = None
        if self._master.state is TaskState.PENDING and self._verdict is not None:
            self._master.message = self._verdict[1]
            self._settle(self._master, TaskState(self._verdict[0].value))
            actions.changed.append(self._master)
        return actions
