"""What the scheduler decided. Values: the shell commits them and carries them out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hrm.model.ids import ApplicationId, ContainerId
from hrm.model.requests import ExecutionType
from hrm.model.resources import Resources


@dataclass(frozen=True, slots=True)
class Allocate:
    """A container is granted. The request it answers has been counted down by one."""

    container_id: ContainerId
    node_id: str
    resources: Resources
    #: Devices of the node, in index order; one device for up to 1000 GPU milli, whole ones above.
    device_ids: tuple[str, ...]
    priority: int
    allocation_request_id: int
    tags: frozenset[str] = frozenset()
    execution_type: ExecutionType = ExecutionType.GUARANTEED


@dataclass(frozen=True, slots=True)
class ContainerResized:
    """The container holds this much from now on, on the devices that it had."""

    container_id: ContainerId
    node_id: str
    resources: Resources


@dataclass(frozen=True, slots=True)
class ExecutionTypeChanged:
    """A container was promoted or demoted: it holds what it held."""

    container_id: ContainerId
    node_id: str
    execution_type: ExecutionType


@dataclass(frozen=True, slots=True)
class ReclaimContainer:
    """An opportunistic container is in the way: the shell ends it at once, and says `ContainerFinished` when it has.

    It is on the books until then, and what it is ended for is granted only after that.
    """

    container_id: ContainerId
    node_id: str
    #: Whose guaranteed container comes in its place; None iff the node has become too small.
    beneficiary: ApplicationId | None


@dataclass(frozen=True, slots=True)
class AppActivated:
    """The application may run now: the limits on running applications let it."""

    application_id: ApplicationId


class EndCause(StrEnum):
    """Why the scheduler, not the node, counts a container as ended."""

    NODE_LOST = "node_lost"
    ATTEMPT_ENDED = "attempt_ended"
    RELEASED = "released"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class ContainerEnded:
    """The container is off the books; if its process may still live, the shell ends it.

    Not given for `ContainerFinished`, which the shell knows already.
    """

    container_id: ContainerId
    node_id: str
    cause: EndCause


class Starvation(StrEnum):
    """What somebody has had too little of for too long."""

    FAIR_SHARE = "fair_share"
    MIN_SHARE = "min_share"


@dataclass(frozen=True, slots=True, kw_only=True)
class PreemptContainer:
    """The container is to end for somebody starved: its master is told, and may save its work or give others back.

    It is on the books until it has ended. `KillContainer` follows if it has not by ``kill_at``. The rest says why.
    """

    container_id: ContainerId
    node_id: str
    #: Epoch seconds.
    kill_at: float
    beneficiary: ApplicationId
    starvation: Starvation
    #: For how long it has lacked that (seconds).
    starved_s: float
    beneficiary_used: Resources
    beneficiary_fair_share: Resources
    #: What is left to the victim's application without all of it that is to end: not below its fair share.
    left_to_victim: Resources
    victim_fair_share: Resources


@dataclass(frozen=True, slots=True)
class KillContainer:
    """The container was warned and has not ended: the shell ends it, and says `ContainerFinished` when it has."""

    container_id: ContainerId
    node_id: str
    beneficiary: ApplicationId


@dataclass(frozen=True, slots=True)
class NodeReserved:
    """The node takes nothing new until the application's request fits there, or does not want it any more."""

    node_id: str
    application_id: ApplicationId
    resources: Resources


@dataclass(frozen=True, slots=True)
class NodeUnreserved:
    """The application's request was placed here, or has no more use for the node."""

    node_id: str
    application_id: ApplicationId


@dataclass(frozen=True, slots=True)
class StrategyFailed:
    """A placement strategy that is not HRM's own went wrong: from now on none chooses nodes, until options change."""

    strategy: str
    trouble: str


Command = (
    Allocate
    | ContainerResized
    | ExecutionTypeChanged
    | ReclaimContainer
    | AppActivated
    | ContainerEnded
    | PreemptContainer
    | KillContainer
    | NodeReserved
    | NodeUnreserved
    | StrategyFailed
)
