"""What every heartbeat and every report tells of the cluster, worked out once in a while for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from hrm.config.yarn_values import YarnConfig
from hrm.model.queues import canonical_path
from hrm.model.reports import NodeReport, QueueReport
from hrm.model.resources import Resources
from hrm.model.states import NodeState
from hrm.rm.facade import Facade
from hrm.yarn.amounts import maximum_capability, resource_message
from hrm.yarn.cluster_messages import cluster_total, node_report
from hrm.yarn.nodes import NodeAddresses
from hrm.yarn.proto.records_pb2 import NodeReportProto, ResourceProto

#: How old it may be: masters beat each second or less often.
FRESH_S = 0.5
#: On a large cluster a look takes long, and is taken so much more seldom: it may hold the loop for 2 % of the time.
LOOKS_SHARE = 50


class ClusterView:
    """As it was half a second ago, or a little longer where there are thousands of nodes."""

    def __init__(
        self,
        facade: Facade,
        config: YarnConfig,
        nodes: NodeAddresses,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._facade = facade
        self._config = config
        self._nodes = nodes
        self._clock = clock
        self._look_at = 0.0
        #: How each node was at the last look (None before the first), and when it last changed, counted in changes.
        self._states: dict[str, NodeState] | None = None
        self._changed: dict[str, tuple[int, NodeReport]] = {}
        #: Changes of nodes so far.
        self.changes = 0
        self.maximum = Resources()
        #: Nodes that take containers.
        self.node_count = 0
        self._on_host: dict[str, list[str]] = {}
        #: Of the nodes that are there.
        self.total: dict[str, int] = {}
        self._free = Resources()
        self._queues: Mapping[str, QueueReport] = {}
        #: By queue, as masters are told.
        self._limits: dict[str, ResourceProto] = {}

    def fresh(self) -> ClusterView:
        """The same, looked at anew if that is due."""
        now = self._clock()
        if now >= self._look_at:
            self._look()
            self._look_at = now + max(FRESH_S, LOOKS_SHARE * (self._clock() - now))
        return self

    def changed_since(self, changes: int) -> list[NodeReportProto]:
        """Nodes that came, left, or take containers or none, other than when there had been so many ``changes``."""
        if changes >= self.changes:
            return []
        found = sorted(((at, report) for at, report in self._changed.values() if at > changes), key=lambda one: one[0])
        return [node_report(report, self._nodes) for _, report in found]

    def _look_for_changes(self, reports: Sequence[NodeReport]) -> None:
        before = self._states
        self._states = {report.node_id: report.state for report in reports}
        if before is None:
            return
        for report in reports:
            if before.get(report.node_id) is not report.state:
                self.changes += 1
                self._changed[report.node_id] = (self.changes, report)

    def _look(self) -> None:
        everything = self._facade.nodes()
        self._look_for_changes(everything)
        reports = [report for report in everything if report.state is not NodeState.LOST and report.total]
        self.maximum = maximum_capability((report.total for report in reports), self._config)
        self.node_count = len(reports)
        self.total = cluster_total(reports)
        self._on_host = {}
        free: dict[str, int] = {}
        for report in reports:
            self._on_host.setdefault(self._nodes.of(report.node_id).host, []).append(report.node_id)
            for name, total in report.total.items():
                free[name] = free.get(name, 0) + max(0, total - report.used.get(name, 0))
        self._free = Resources.of(free)
        self._queues = {report.name: report for report in self._facade.queues()}
        self._limits.clear()

    def nodes_of(self, host: str) -> Sequence[str]:
        """Ids of the nodes there."""
        return self._on_host.get(host, ())

    def limit(self, queue: str) -> ResourceProto:
        """The headroom there as a message."""
        found = self._limits.get(queue)
        if found is None:
            found = self._limits[queue] = resource_message(self.headroom(queue))
        return found

    def headroom(self, queue: str) -> Resources:
        """What an application there could still get: what is free, within the limits of its queue and those above.

        YARN's availableResources: room for a master's plans, no promise.
        """
        room = self._free
        name: str | None = canonical_path(queue)
        while name is not None and (report := self._queues.get(name)) is not None:
            if report.max_share is not None:
                left = {key: max(0, most - report.used.get(key, 0)) for key, most in report.max_share.items()}
                room = Resources.of({key: min(amount, left.get(key, amount)) for key, amount in room.items()})
            name = report.parent
        return room
