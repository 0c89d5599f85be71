"""Facts behind an explanation, one class for each kind. As JSON each is an object with its ``kind`` and its fields.

Programs may rely on kinds and fields: new ones are added, none is renamed or taken away (docs/explain.md lists them).
Amounts are exact integers by name of resource.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

Amounts = dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What all kinds have in common."""

    kind: ClassVar[str]

    def as_dict(self) -> dict[str, Any]:
        """``kind`` and the fields."""
        return {"kind": self.kind} | {one.name: getattr(self, one.name) for one in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class NodesFact(Fact):
    """How many nodes say the same of the request: ``fits``, or the code of a reason."""

    kind: ClassVar[str] = "nodes"
    reason: str
    count: int
    #: The first of them.
    nodes: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationFact(Fact):
    """What the application has and waits for."""

    kind: ClassVar[str] = "application"
    #: Containers that it holds, and that it waits for.
    containers: int
    pending: int
    used: Amounts
    queue: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuModelsFact(Fact):
    """The model asked for is not there; these are (model to number of devices)."""

    kind: ClassVar[str] = "gpu_models"
    asked: str
    models: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacesFact(Fact):
    """Nodes and racks that the request insists on."""

    kind: ClassVar[str] = "places"
    asked: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LargestNodeFact(Fact):
    """The node that comes nearest to a request that fits on none, even empty."""

    kind: ClassVar[str] = "largest_node"
    node_id: str
    total: Amounts
    asked: Amounts
    #: Resources of which more is asked for than it has.
    too_much: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueMaxShareFact(Fact):
    """A queue that the request would bring over its max share."""

    kind: ClassVar[str] = "queue_max_share"
    queue: str
    used: Amounts
    max_share: Amounts
    asked: Amounts
    over: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueAmShareFact(Fact):
    """What masters in containers use of a queue, and may use."""

    kind: ClassVar[str] = "queue_am_share"
    queue: str
    used: Amounts
    limit: Amounts
    asked: Amounts


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueMaxRunningAppsFact(Fact):
    """A queue that runs as many applications as it may."""

    kind: ClassVar[str] = "queue_max_running_apps"
    queue: str
    running: int
    limit: int | None
    #: Older ones that wait for the same.
    ahead: int
    running_applications: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class UserMaxRunningAppsFact(Fact):
    """A user who runs as many applications in a queue as allowed."""

    kind: ClassVar[str] = "user_max_running_apps"
    user: str
    queue: str
    running: int
    limit: int | None
    ahead: int
    running_applications: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class BestNodeFact(Fact):
    """The node with most free of what is short."""

    kind: ClassVar[str] = "best_node"
    node_id: str
    free: Amounts
    short_of: str
    #: Of the devices that may serve the request; [] where it asks for none.
    device_free_milli: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomFact(Fact):
    """What there is of the resource that is short, on nodes that could hold the request."""

    kind: ClassVar[str] = "room"
    resource: str
    #: Only devices of this model are counted; None iff all are.
    gpu_model: str | None
    total: int
    used: int
    free: int
    #: Nodes that have some of it free, and all that are counted.
    nodes_with_some: int
    nodes: int
    #: Most that is free on one node; of fractions of a GPU, on one device.
    largest_piece: int
    asked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GangFact(Fact):
    """Containers that are granted together or not at all."""

    kind: ClassVar[str] = "gang"
    #: Of its containers: all, how many fit now, and how many if nothing ran on the nodes.
    size: int
    fitting: int
    fitting_when_empty: int
    #: On one node at most; None iff any number.
    tasks_per_node: int | None
    #: Nodes that are kept for it, and since when (epoch seconds); None iff none are.
    gathered: list[str]
    gathers_since: float | None
    #: The application whose gang gathers nodes instead; None iff none does.
    gathers_before: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderFact(Fact):
    """An application that holds much of what is short."""

    kind: ClassVar[str] = "holder"
    application: str
    user: str
    queue: str
    resource: str
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PreemptionFact(Fact):
    """Containers of others that were told to end on a node for the request."""

    kind: ClassVar[str] = "preemption"
    node_id: str
    kept: Amounts
    victims: list[str]
    #: Epoch seconds; None iff all have ended.
    kill_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFact(Fact):
    """Space on a node that is kept for whom it was freed for."""

    kind: ClassVar[str] = "kept"
    node_id: str
    application: str
    kept: Amounts


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareFact(Fact):
    """What the application has, against its fair share."""

    kind: ClassVar[str] = "share"
    used: Amounts
    fair_share: Amounts


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalityFact(Fact):
    """Places that the request would like, and how far it may go now: node, rack or anywhere."""

    kind: ClassVar[str] = "locality"
    asked: list[str]
    level: str
    #: Opportunities let pass since the level was last relaxed.
    missed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingFact(Fact):
    """Something that the request needs of a node, such as a shared path, and where it is missing."""

    kind: ClassVar[str] = "missing"
    need: str
    #: How many nodes lack it, and the first of them.
    count: int
    nodes: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeFact(Fact):
    """A condition of the request's constraint on attributes of nodes, and where it is not met."""

    kind: ClassVar[str] = "attribute"
    need: str
    #: How many nodes do not meet it, and the first of them.
    count: int
    nodes: list[str]
    #: What nodes have instead ("os=debian11"; "" for no such attribute), and how many.
    there: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservationFact(Fact):
    """A node that is reserved, and what for."""

    kind: ClassVar[str] = "reservation"
    node_id: str
    application: str
    waits_for: Amounts


@dataclass(frozen=True, slots=True, kw_only=True)
class _AheadFact(Fact):
    name: str
    within: str
    policy: str
    weight: float
    used: Amounts


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationAheadFact(_AheadFact):
    """An application that comes first and could use the room there is; ``within`` is its queue."""

    kind: ClassVar[str] = "application_ahead"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueAheadFact(_AheadFact):
    """A queue that comes first and could use the room there is; ``within`` is the one above it."""

    kind: ClassVar[str] = "queue_ahead"


@dataclass(frozen=True, slots=True, kw_only=True)
class WarningFact(Fact):
    """Something that was asked for and does not count."""

    kind: ClassVar[str] = "warning"
    message: str
    places: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFact(Fact):
    """A group of tasks that nothing is asked for yet, because others have to succeed before."""

    kind: ClassVar[str] = "group"
    name: str
    waits_for: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainedFact(Fact):
    """A node that takes nothing new, by whose wish and why; the doctor's, too."""

    kind: ClassVar[str] = "drained"
    node_id: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceOutFact(Fact):
    """A GPU that the doctor took out, and why."""

    kind: ClassVar[str] = "gpu_out"
    node_id: str
    device_id: str
    reason: str
