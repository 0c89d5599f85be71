"""No node is over its capacity, and no device."""

from __future__ import annotations

from collections import Counter

from hrm.core.commands import Command
from hrm.core.events import Event
from hrm.model.resources import ZERO, Resources
from hrm.sim.checkers.base import Checker, Held


class NodeCapacity(Checker):
    """Adds up what was granted on each node and device."""

    def begin(self) -> None:
        self._held = Held()
        self._totals = {node.node_id: node.total for node in self.workload.nodes}
        self._used: dict[str, Resources] = {}
        self._of_device: Counter[str] = Counter()

    def told(self, event: Event, commands: list[Command], now: float) -> None:
        begun, ended = self._held.told(event, commands)
        for sign, containers in ((-1, ended), (1, begun)):
            for container_id, node_id, resources, device_ids in containers:
                self._used[node_id] = self._used.get(node_id, ZERO) + resources * sign
                for device_id in device_ids:
                    self._of_device[device_id] += sign * min(resources.gpus_milli, 1000)
                    if self._of_device[device_id] > 1000:
                        self.fail(
                            f"{container_id} got {device_id}, of which {self._of_device[device_id]} milli are held", now
                        )
                if sum(min(resources.gpus_milli, 1000) for _ in device_ids) != resources.gpus_milli:
                    self.fail(f"{container_id} got {len(device_ids)} devices for {resources.gpus_milli} milli", now)
                if not self._used[node_id].fits_in(self._totals[node_id]):
                    self.fail(
                        f"{container_id} brings {node_id} to {self._used[node_id]} of {self._totals[node_id]}", now
                    )
