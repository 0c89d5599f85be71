"""What the parts of the ResourceManager may use of it and of each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from hrm.core.events import Event
from hrm.core.scheduler import Scheduler
from hrm.model.ids import ApplicationId
from hrm.rm.applications import LiveApplication
from hrm.rm.nodes import Nodes
from hrm.rm.pacer import Pacer
from hrm.rm.turn import Turn


class Kernel(Protocol):
    """The manager, as its parts see it (`hrm.rm.manager.ResourceManager`). Everything happens within a turn."""

    scheduler: Scheduler
    nodes: Nodes
    pacer: Pacer
    applications: dict[ApplicationId, LiveApplication]
    #: Called when the last container has ended, and that is on disk.
    on_idle: Callable[[], None]

    def tell(self, turn: Turn, event: Event) -> None:
        """Have the scheduler take an event, and do what it says."""

    def record(self, turn: Turn, kind: str, **facts: Any) -> None:
        """Write to the event log, and show it once it is on disk."""

    def stir(self, app: LiveApplication) -> None:
        """Have its master hear and say what is new, still in this turn."""

    def kill(self, turn: Turn, application_id: ApplicationId, message: str) -> None:
        """End it. Once is enough: what follows says nothing new."""
