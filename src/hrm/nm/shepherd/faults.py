"""Named points at which a test has a process die, or its disk refuse. Without a plan a point does nothing.

``HRM_FAULT=POINT:NTH:ACTION:MARK`` plans one: when ``POINT`` is reached for the ``NTH`` time the process kills itself
(``kill``), or the point fails with a system error (``ENOSPC``, ``EIO`` …). It strikes once, whoever comes after it:
only who can create the file ``MARK`` strikes, and so that file says that it was done. Of the standard library alone,
because the shepherd has points too.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Mapping

VARIABLE = "HRM_FAULT"
#: What is reached on the way of one container, in order. At those of `DISK_POINTS` something is about to be written.
STORE_POINTS = ("store.connect", "store.write", "store.commit", "store.committed")
NODE_POINTS = ("node.launch", "node.sent", "node.started", "node.ended", "node.acknowledge")
SHEPHERD_POINTS = (
    "shepherd.claim",
    "shepherd.prepare",
    "shepherd.spawned",
    "shepherd.recorded",
    "shepherd.exited",
    "shepherd.exit_written",
    "shepherd.exit_recorded",
    "shepherd.acknowledge",
    "shepherd.acknowledged",
)
#: Between two launches of a container.
RELAUNCH_POINTS = ("shepherd.relaunch", "shepherd.relaunched")
DISK_POINTS = (
    "shepherd.claim",
    "shepherd.prepare",
    "shepherd.spawned",
    "shepherd.exited",
    "shepherd.exit_written",
    "shepherd.acknowledge",
)


class Fault:
    """A plan: what happens at the ``nth`` call with the name of its point."""

    def __init__(self, plan: str) -> None:
        """Raises ValueError if ``plan`` is none."""
        self._point, nth, self._action, self._mark = plan.split(":", 3)
        if self._action != "kill" and self._action not in errno.errorcode.values():
            raise ValueError(f"{VARIABLE}: {self._action!r} is neither kill nor an error of the system")
        self._left = int(nth)

    def __call__(self, point: str) -> None:
        if point == self._point:
            self._left -= 1
            if self._left == 0:
                self._strike()

    def _strike(self) -> None:
        try:
            os.close(os.open(self._mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            return
        if self._action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        number: int = getattr(errno, self._action)
        raise OSError(number, os.strerror(number))


def _nothing(_point: str) -> None:
    return None


def plan(environ: Mapping[str, str]) -> Callable[[str], None]:
    """The function to call at each point."""
    return Fault(environ[VARIABLE]) if VARIABLE in environ else _nothing


point = plan(os.environ)


def within(room: str) -> Callable[[str], None] | None:
    """`point` for callers whose points are named without their room; None without a plan."""
    return None if point is _nothing else lambda name: point(f"{room}.{name}")
