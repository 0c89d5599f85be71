"""What a `FakeFacade` stands on: one node, one queue, and an operator's calls noted down."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from hrm.model.cleaning import Cleanable
from hrm.model.errors import NotFound
from hrm.model.findings import CheckRun, DoctorReport, Finding
from hrm.model.inventory import Inventory, NodeLabel, NodeNotes
from hrm.model.placement import PlacementPolicy
from hrm.model.queues import QueueSpec
from hrm.model.reports import (
    ApplicationOrder,
    CleanReport,
    ContainerReport,
    DurationReport,
    MeasuresReport,
    NodeLabelReport,
    NodeReport,
    QueueAccessReport,
    QueueReport,
    ReloadReport,
)
from hrm.model.resources import ZERO
from hrm.model.scheduling import SchedulerOptions
from hrm.model.states import NodeState

_FIELDS = {
    ApplicationOrder.NAME: "name",
    ApplicationOrder.USER: "user",
    ApplicationOrder.QUEUE: "queue",
    ApplicationOrder.STATE: "state",
    ApplicationOrder.ENDED: "ended_at",
}

NODE_ID = "node-1"


class FakeNodeWords:
    """What was said of the one node, and the labels there are."""

    def __init__(self) -> None:
        self.attributes: dict[str, str] = {}
        self.label: str | None = None
        self.known: dict[str, NodeLabel] = {}

    def labels(self) -> list[NodeLabelReport]:
        return [
            NodeLabelReport(
                name=name,
                exclusive=label.exclusive,
                declared=False,
                nodes=[NODE_ID] if self.label == name else [],
            )
            for name, label in self.known.items()
        ]

    async def set_attributes(self, node_id: str, change: Mapping[str, str | None], *, by: str) -> None:
        check_node(node_id)
        self.attributes = dict(NodeNotes(attributes=self.attributes).with_attributes(change).attributes)

    async def set_labels(self, labels: Mapping[str, str | None], *, by: str) -> None:
        for node_id, label in labels.items():
            check_node(node_id)
            if label and label not in self.known:
                raise NotFound(f"no node label {label!r}")
        self.label = labels.get(NODE_ID, self.label)

    async def add_labels(self, labels: Sequence[NodeLabel], *, by: str) -> None:
        self.known |= {label.name: label for label in labels}

    async def remove_labels(self, names: Collection[str], *, by: str) -> None:
        for name in names:
            if self.known.pop(name, None) is None:
                raise NotFound(f"no node label {name!r}")
            if self.label == name:
                self.label = None


def check_node(node_id: str) -> None:
    """Raises NotFound for all but the one."""
    if node_id != NODE_ID:
        raise NotFound(f"no node {node_id!r}", next_step="`hrm nodes` lists them")


class FakeGrounds:
    """The part of `hrm.rm.facade.Facade` that is about nodes, queues and the server."""

    def __init__(self) -> None:
        self.shutdown_requested = False
        #: Since when, by whom and why its node is drained.
        self.drain: tuple[float, str, str] | None = None
        #: What the doctor found on its node.
        self.findings: list[Finding] = []
        #: (kinds, seconds, dry run, who) of each `clean`.
        self.cleanings: list[tuple[tuple[Cleanable, ...], float | None, bool, str]] = []
        self.reloaded: list[QueueSpec] = []
        self.node_words = FakeNodeWords()
        #: Users who administer all queues.
        self.administrators: list[str] = []

    def containers(self, application_id: str | None = None) -> list[ContainerReport]:
        """Those that are not over: whose they are the facade knows."""
        raise NotImplementedError

    def measures(self) -> MeasuresReport:
        took = DurationReport(name="scheduler_turn", bounds_s=[0.001, 0.005], counts=[5, 2, 1], sum_s=0.02)
        return MeasuresReport(durations=[took], events={"container_allocated": 7})

    async def administers(self, queue: str, *, user: str) -> bool:
        return user in self.administrators

    async def queue_access(self, *, user: str, admin: bool = False) -> list[QueueAccessReport]:
        return [
            QueueAccessReport(
                name=name,
                may_submit=True,
                administers=admin or user in self.administrators,
                submitters="everybody",
                administrators=", ".join(self.administrators) or "nobody",
            )
            for name in ("root", "default")
        ]

    def queues(self) -> list[QueueReport]:
        amounts = {"memory_mib": 4096, "vcores_milli": 4000, "gpus_milli": 0}
        return [
            QueueReport(
                name=name,
                parent=parent,
                policy="fair",
                weight=1.0,
                used=ZERO.as_dict(),
                demand=ZERO.as_dict(),
                fair_share=amounts,
                steady_fair_share=amounts,
                min_share=ZERO.as_dict(),
                max_share=None,
                max_running_apps=None,
                applications_running=0,
                applications_pending=0,
                containers_running=0,
                containers_pending=0,
            )
            for name, parent in (("root", None), ("default", "root"))
        ]

    def nodes(self) -> list[NodeReport]:
        return [
            NodeReport(
                node_id=NODE_ID,
                state=NodeState.DRAINING if self.drain else NodeState.RUNNING,
                rack="/default-rack",
                total={"memory_mib": 4096, "vcores_milli": 4000, "gpus_milli": 0},
                used=ZERO.as_dict(),
                devices=[],
                isolation="processes",
                containers=len(self.containers()),
                last_heartbeat_at=None,
                memory_used_mib=None,
                cpu_used_milli=None,
                disk_free_mib=None,
                message="",
                drained_at=self.drain[0] if self.drain else None,
                drained_by=self.drain[1] if self.drain else "",
                drain_reason=self.drain[2] if self.drain else "",
                attributes=self.node_words.attributes,
                set_attributes=sorted(self.node_words.attributes),
                label=self.node_words.label or "",
                exclusive=all(one.exclusive for one in self.node_words.labels() if one.nodes),
                findings=self.findings,
                examined_at=1_763_900_100.0 if self.findings else None,
            )
        ]

    async def clean(
        self, kinds: Collection[Cleanable], *, older_than_s: float | None, dry_run: bool, by: str
    ) -> CleanReport:
        self.cleanings.append((tuple(kinds), older_than_s, dry_run, by))
        return CleanReport(
            dry_run=dry_run, applications=2, rows=0 if dry_run else 9, events=0, logs=3, logs_bytes=4096, scratch=1,
            scratch_bytes=512, more=False,
        )  # fmt: skip

    async def drain_node(self, node_id: str, *, by: str, reason: str = "") -> NodeReport:
        check_node(node_id)
        self.drain = (1_763_900_000.0, by, reason)
        return self.nodes()[0]

    async def undrain_node(self, node_id: str, *, by: str) -> NodeReport:
        check_node(node_id)
        self.drain = None
        return self.nodes()[0]

    async def examine_node(self, node_id: str, only: Sequence[str]) -> DoctorReport:
        check_node(node_id)
        return DoctorReport(node=node_id, checks_run=tuple(CheckRun(name=f"{one}.all", time_s=0.1) for one in only))

    async def reload_queues(
        self,
        root: QueueSpec,
        *,
        options: SchedulerOptions | None = None,
        placement: PlacementPolicy | None = None,
        inventory: Inventory | None = None,
    ) -> ReloadReport:
        self.reloaded.append(root)
        return ReloadReport(added=[], removed=[], changed=[])

    def request_shutdown(self) -> None:
        self.shutdown_requested = True
