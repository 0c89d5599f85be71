"""What an application's own master and the server say to each other (YARN's ApplicationMasterProtocol), as values.

A master registers, then heartbeats: it says what it wants and gives back, and hears what was granted and what ended.
Containers are named by the text of their ids.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from hrm.model.requests import ExecutionType
from hrm.model.states import TaskState

#: Why a container of a master's ended, where somebody wanted it to.
STOPPED_BY_MASTER = "stopped by its master"
MASTER_FINISHED = "its master has finished"


class FinalStatus(StrEnum):
    """How an application ended, in its master's word (YARN's FinalApplicationStatus)."""

    UNDEFINED = "UNDEFINED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    KILLED = "KILLED"


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantedContainer:
    """A container that is its master's to launch something in, or in which something runs."""

    container_id: str
    node_id: str
    #: Exact amounts by name: ``memory_mib``, ``vcores_milli``, ``gpus_milli``.
    resources: dict[str, int]
    device_ids: tuple[str, ...]
    priority: int
    #: Of the ask that it answers; None where that is not known any more.
    allocation_request_id: int | None
    #: That it bears among those on its node.
    tags: tuple[str, ...] = ()
    execution_type: ExecutionType = ExecutionType.GUARANTEED


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedContainer:
    """How a container ended. LOST: nobody saw it, and there is no exit code. PREEMPTED: for another application."""

    container_id: str
    state: TaskState
    exit_code: int | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WarnedContainer:
    """A container that is to end for another application (YARN's PreemptionMessage).

    It may save its work and end, or its master stop it, or others in its place where that helps as well; if it has not
    ended by then, it is killed.
    """

    container_id: str
    #: Epoch seconds.
    kill_at: float
    reason: str
    #: The application that it is to end for.
    beneficiary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What a master must know before it asks for anything."""

    attempt_id: str
    queue: str
    #: The largest node: nothing bigger can be asked for.
    maximum_resources: dict[str, int]
    #: Containers in which something runs: of an earlier attempt, or from before the server's restart.
    running: list[GrantedContainer] = field(default_factory=list)
    #: All that ended so far.
    ended: list[EndedContainer] = field(default_factory=list)
    #: Of those the ones whose end came while this server was up, or that it found ended: no earlier one told of them.
    ended_lately: list[EndedContainer] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """The answer to `allocate`: what happened since the answer before."""

    #: To be sent with the next call, which says that this answer came through.
    response_id: int
    allocated: list[GrantedContainer] = field(default_factory=list)
    ended: list[EndedContainer] = field(default_factory=list)
    #: Containers that are to end for others, the master's own among them; and those of which that is no longer so.
    warned: list[WarnedContainer] = field(default_factory=list)
    spared: list[str] = field(default_factory=list)
    #: Containers that hold more or less now, as their master wished: by id, exact amounts.
    resized: dict[str, dict[str, int]] = field(default_factory=dict)
    #: Containers that were promoted or demoted, as their master wished: by id, what they are now.
    retyped: dict[str, ExecutionType] = field(default_factory=dict)
    #: True iff the server knows nothing of this master's asks (it was restarted): register again, then ask again.
    resync: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterStanding:
    """What a front door must know of a master to speak with it."""

    user: str
    queue: str
    priority: int
    #: True iff it has registered, and need not again.
    registered: bool
    #: True iff it has said its last word.
    finished: bool
    submitted_at: float
    max_attempts: int
    keep_containers: bool
    #: Of the cluster.
    nodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Retyped:
    """The answer to a wish to promote and demote containers: those of which it cannot be, each with why."""

    refused: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """Under which number a launched container is shown: `hrm logs APP --task N`, `hrm history`."""

    container_id: str
    task_index: int
