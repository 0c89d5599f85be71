"""What happened, as the scheduler is told of it. Names follow YARN's SchedulerEventType.

`Scheduler.handle(event, now)` takes one and returns commands. Same events and times, same commands.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hrm.model.ids import ApplicationId, AttemptId, ContainerId
from hrm.model.nodes import NodeSpec
from hrm.model.queues import QueueSpec
from hrm.model.requests import ExecutionType, ResourceRequest
from hrm.model.resources import Resources
from hrm.model.scheduling import SchedulerOptions


@dataclass(frozen=True, slots=True)
class NodeAdded:
    """A node joined, or came back. It is empty until `ContainerRecovered` says what runs there."""

    node: NodeSpec


@dataclass(frozen=True, slots=True)
class NodeRemoved:
    """A node is gone; what ran on it is lost to the scheduler (one `ContainerEnded` command for each)."""

    node_id: str


@dataclass(frozen=True, slots=True)
class NodeUpdate:
    """One visit of one node: place what can be placed there now (YARN's nodeUpdate/attemptScheduling).

    ``heartbeat`` is False for an extra visit because demand or room appeared: missed opportunities (delay
    scheduling) are counted only on heartbeats. A visit that placed ``most`` containers may have been cut short: the
    shell goes on with it by another.
    """

    node_id: str
    heartbeat: bool = True
    #: Containers to place; None iff as many as the options allow.
    most: int | None = None


@dataclass(frozen=True, slots=True)
class NodeResourceUpdate:
    """The node's size changed. What runs stays, even if it is now too much."""

    node: NodeSpec


@dataclass(frozen=True, slots=True)
class NodeSchedulable:
    """Whether new containers may be placed on the node (unhealthy and draining nodes get none)."""

    node_id: str
    schedulable: bool


@dataclass(frozen=True, slots=True)
class AppAdded:
    """An application entered a queue. ``submitted_at`` (epoch seconds) orders it among its like."""

    application_id: ApplicationId
    queue: str
    user: str
    submitted_at: float
    #: Higher runs first within a fifo queue.
    priority: int = 0
    #: True iff it was there before a restart: a queue that is being removed takes it back.
    recovered: bool = False
    #: That placement constraints of other applications may name it by.
    tags: frozenset[str] = frozenset()
    #: True iff all that it will ask for is opportunistic: until it asks for more, or is promoted, shares are worked out
    #: as if it were not there.
    opportunistic: bool = False


@dataclass(frozen=True, slots=True)
class AppRemoved:
    """An application is over; it leaves its queue, and what waits for room there may start."""

    application_id: ApplicationId


@dataclass(frozen=True, slots=True)
class AttemptAdded:
    """A master starts. Its containers get sequence numbers from 1 on."""

    attempt_id: AttemptId


@dataclass(frozen=True, slots=True)
class AttemptRemoved:
    """A master ended: its requests go, and its containers unless ``keep_containers`` (for the next attempt)."""

    attempt_id: AttemptId
    keep_containers: bool = False


@dataclass(frozen=True, slots=True)
class RequestsUpdated:
    """The master's asks, with absolute counts (see ResourceRequest)."""

    attempt_id: AttemptId
    requests: tuple[ResourceRequest, ...]


@dataclass(frozen=True, slots=True)
class ContainerReleased:
    """The master gives a container back."""

    container_id: ContainerId


@dataclass(frozen=True, slots=True)
class ContainerResize:
    """The master wants a container to hold so much (YARN's UpdateContainerRequest); GPUs stay as they are.

    What it holds less it gives back at once. More is granted like a container: on the same node, when its turn comes,
    and a later wish takes the place of one that waits.
    """

    container_id: ContainerId
    resources: Resources


@dataclass(frozen=True, slots=True)
class ExecutionTypeWanted:
    """The master wants a container to be of that type (YARN's PROMOTE_ and DEMOTE_EXECUTION_TYPE).

    Demotion is at once. Promotion waits as a request for as much on its node does, when its turn comes; another wish
    takes it back. About a container that is ending, or of that type already, it is harmless.
    """

    container_id: ContainerId
    execution_type: ExecutionType


@dataclass(frozen=True, slots=True)
class ContainerFinished:
    """The node says that a container ended."""

    container_id: ContainerId


@dataclass(frozen=True, slots=True)
class ContainerExpired:
    """A container was granted and never launched in time."""

    container_id: ContainerId


@dataclass(frozen=True, slots=True)
class ContainerRecovered:
    """After a restart: this runs already. Its requests must not count it again."""

    container_id: ContainerId
    node_id: str
    resources: Resources
    device_ids: tuple[str, ...] = ()
    priority: int = 0
    #: Epoch seconds; None iff nobody knows: then it counts as new.
    started_at: float | None = None
    #: True iff its application's own master runs in it.
    for_master: bool = False
    #: Of the gang that it was granted with; None iff none.
    gang_id: int | None = None
    #: That it bears.
    tags: frozenset[str] = frozenset()
    execution_type: ExecutionType = ExecutionType.GUARANTEED


@dataclass(frozen=True, slots=True)
class AppMoved:
    """An application goes to another queue, with all that it runs and asks for."""

    application_id: ApplicationId
    queue: str


@dataclass(frozen=True, slots=True)
class PriorityChanged:
    """An application's place among its like in a fifo queue changed."""

    application_id: ApplicationId
    priority: int


@dataclass(frozen=True, slots=True)
class BlacklistChanged:
    """Nodes the application does not want, as a whole (not a difference)."""

    application_id: ApplicationId
    node_ids: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class QueuesChanged:
    """A new tree, already validated. A queue that is gone but in use is drained, not dropped."""

    root: QueueSpec


@dataclass(frozen=True, slots=True)
class QueueAdded:
    """A queue that is in no file, directly below ``parent``, with all below it; it goes with its last application.

    With ``draining`` nothing new enters: it left the file while in use, and the server began anew meanwhile.
    """

    parent: str
    queue: QueueSpec
    draining: bool = False


@dataclass(frozen=True, slots=True)
class OptionsChanged:
    """Visits and preemption go by these from now on. What is reserved stays.

    Without preemption the space that was being freed for others is let go, and who was warned is spared.
    """

    options: SchedulerOptions


@dataclass(frozen=True, slots=True)
class UpdateShares:
    """Work fair shares out anew (YARN's update thread, every half second there)."""


@dataclass(frozen=True, slots=True)
class UpdateGangs:
    """Look which gang may gather nodes, and whether the one that does has done so for too long. After `UpdateShares`.

    Needed only while a gang waits, now and then.
    """


@dataclass(frozen=True, slots=True)
class Preempt:
    """Look who is starved, and have containers of others end for them. Now and then, after `UpdateShares`.

    With ``most`` room is made for at most so many containers: more comes with the next.
    """

    most: int | None = None


@dataclass(frozen=True, slots=True)
class CheckpointSaved:
    """A container saved its work: if it ends, only what comes after is lost."""

    container_id: ContainerId
    #: Epoch seconds; None iff just now.
    saved_at: float | None = None


Event = (
    NodeAdded
    | NodeRemoved
    | NodeUpdate
    | NodeResourceUpdate
    | NodeSchedulable
    | AppAdded
    | AppRemoved
    | AttemptAdded
    | AttemptRemoved
    | RequestsUpdated
    | ContainerReleased
    | ContainerResize
    | ExecutionTypeWanted
    | ContainerFinished
    | ContainerExpired
    | ContainerRecovered
    | AppMoved
    | PriorityChanged
    | BlacklistChanged
    | QueuesChanged
    | QueueAdded
    | OptionsChanged
    | UpdateShares
    | UpdateGangs
    | Preempt
    | CheckpointSaved
)
