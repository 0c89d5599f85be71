"""No grant brings a queue, or one above it, over its max share."""

from __future__ import annotations

from hrm.core.commands import Allocate, Command
from hrm.core.events import AppAdded, AppMoved, AppRemoved, Event, NodeAdded, NodeRemoved
from hrm.model.ids import ApplicationId
from hrm.model.queues import canonical_path
from hrm.model.resources import ZERO, Resources
from hrm.sim.checkers.base import Checker, Held, lineage


class QueueMaxShare(Checker):
    """Adds up what each queue's applications hold, along the path."""

    def begin(self) -> None:
        self._held = Held()
        self._specs = dict(self.workload.root.walk())
        self._used: dict[str, Resources] = {}
        self._queue_of: dict[ApplicationId, str] = {}
        self._nodes = {node.node_id: node.total for node in self.workload.nodes}
        self._cluster = ZERO

    def told(self, event: Event, commands: list[Command], now: float) -> None:
        match event:
            case AppAdded():
                self._queue_of[event.application_id] = canonical_path(event.queue)
            case AppMoved():
                self._move(event.application_id, canonical_path(event.queue))
            case NodeAdded():
                self._cluster += event.node.total
            case NodeRemoved():
                self._cluster -= self._nodes[event.node_id]
        granted = {command.container_id for command in commands if isinstance(command, Allocate)}
        begun, ended = self._held.told(event, commands)
        for sign, containers in ((-1, ended), (1, begun)):
            for container_id, _, resources, _ in containers:
                path = self._queue_of[container_id.attempt.application]
                for above in lineage(path):
                    self._used[above] = self._used.get(above, ZERO) + resources * sign
                    if container_id in granted:
                        self._check(above, now)
        if isinstance(event, AppRemoved):
            self._queue_of.pop(event.application_id, None)

    def _move(self, application_id: ApplicationId, path: str) -> None:
        before, self._queue_of[application_id] = self._queue_of[application_id], path
        for container_id, (_, resources, _) in self._held.containers.items():
            if container_id.attempt.application == application_id:
                for above in lineage(before):
                    self._used[above] -= resources
                for above in lineage(path):
                    self._used[above] = self._used.get(above, ZERO) + resources

    def _check(self, path: str, now: float) -> None:
        spec = self._specs[path]
        limit = spec.max_share
        if spec.max_share_of_cluster is not None:
            limit = spec.max_share_of_cluster.of(self._cluster)
        if limit is not None and not self._used[path].fits_in(limit):
            self.fail(f"{path} holds {self._used[path]}, its max share is {limit}", now)
