"""What all checkers have in common."""

from __future__ import annotations

from hrm.core.commands import Allocate, Command, ContainerEnded
from hrm.core.events import ContainerFinished, ContainerRecovered, Event, NodeUpdate, Preempt, UpdateShares
from hrm.core.scheduler import Scheduler
from hrm.model.errors import InvariantBroken
from hrm.model.ids import ContainerId
from hrm.model.queues import ROOT
from hrm.model.resources import Resources
from hrm.sim.workload import Workload


class Checker:
    """Looks on at one simulation; `fail` ends it."""

    def __init__(self, workload: Workload, scheduler: Scheduler) -> None:
        self.workload = workload
        self.scheduler = scheduler
        #: True iff something has happened since all was settled last.
        self.news = True
        self.begin()

    def begin(self) -> None:
        """Make books of one's own."""

    def told(self, event: Event, commands: list[Command], now: float) -> None:
        """See `hrm.sim.simulation.Watcher`."""
        self.news = self.news or bool(commands) or not isinstance(event, NodeUpdate | UpdateShares | Preempt)

    def settled(self, now: float) -> None:
        """See `hrm.sim.simulation.Watcher`. Those that look at everything look where there is news."""
        if self.news:
            self.news = False
            self.look(now)

    def look(self, now: float) -> None:
        """All that is due has happened, and something did since the last look."""

    def over(self) -> None:
        """The simulation has ended by itself."""

    def fail(self, message: str, now: float) -> None:
        """Raises InvariantBroken."""
        raise InvariantBroken(f"{type(self).__name__}, at {now:g} s: {message}")


#: A container with its node, what it holds, and the devices.
Holding = tuple[ContainerId, str, Resources, tuple[str, ...]]


class Held:
    """Containers that are held, as events and commands tell: node, resources and devices of each."""

    def __init__(self) -> None:
        self.containers: dict[ContainerId, tuple[str, Resources, tuple[str, ...]]] = {}

    def told(self, event: Event, commands: list[Command]) -> tuple[list[Holding], list[Holding]]:
        """Those that were granted or found, and those that ended."""
        begun: list[Holding] = []
        ended: list[Holding] = []
        if isinstance(event, ContainerRecovered):
            begun.append((event.container_id, event.node_id, event.resources, event.device_ids))
        elif isinstance(event, ContainerFinished) and event.container_id in self.containers:
            ended.append((event.container_id, *self.containers.pop(event.container_id)))
        for command in commands:
            if isinstance(command, Allocate):
                begun.append((command.container_id, command.node_id, command.resources, command.device_ids))
            elif isinstance(command, ContainerEnded) and command.container_id in self.containers:
                ended.append((command.container_id, *self.containers.pop(command.container_id)))
        for container_id, node_id, resources, device_ids in begun:
            self.containers[container_id] = (node_id, resources, device_ids)
        return begun, ended


def lineage(path: str) -> list[str]:
    """Paths of the queues from the root down to this one."""
    parts = path.split(".")
    return [ROOT, *(".".join(parts[: depth + 1]) for depth in range(len(parts)))]
