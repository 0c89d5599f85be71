"""The protocol between an ApplicationMaster and the ResourceManager (YARN's ApplicationMasterProtocol).

A master registers, then calls ``allocate`` again and again (its heartbeat): it says what it wants and gives back, and
gets what was granted and what ended since. When all is done it finishes. The built-in task set and a master in its own
container speak the same. Containers are named by the text of their ids, as nodes and logs name them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hrm.model.containers import ExitRecord, Preemption
from hrm.model.ids import AttemptId
from hrm.model.masters import FinalStatus
from hrm.model.requests import ExecutionType, ResourceRequest
from hrm.model.resources import Resources


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A grant, as its master sees it."""

    container_id: str
    node_id: str
    resources: Resources
    device_ids: tuple[str, ...]
    priority: int
    #: None where it is not known any more: of a container that ran before the server's restart.
    allocation_request_id: int | None
    #: That it bears among those on its node.
    tags: tuple[str, ...] = ()
    execution_type: ExecutionType = ExecutionType.GUARANTEED


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterResponse:
    """What a master must know before it asks for anything."""

    queue: str
    #: The largest node: nothing bigger can be asked for.
    maximum_resources: Resources
    #: Containers of earlier attempts that still run.
    running: tuple[Container, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocateRequest:
    """A heartbeat: what the master wants, gives back, and how far it is."""

    asks: tuple[ResourceRequest, ...] = ()
    releases: tuple[str, ...] = ()
    #: 0 to 1.
    progress: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocateResponse:
    """What happened for this master since its last heartbeat."""

    allocated: tuple[Container, ...] = ()
    completed: tuple[ExitRecord, ...] = ()
    #: Containers that hold more or less now, with what they hold.
    resized: tuple[tuple[str, Resources], ...] = ()
    #: Containers that were promoted or demoted, with what they are now.
    retyped: tuple[tuple[str, ExecutionType], ...] = ()
    #: Of containers that are to end for other applications: what is new of that (YARN's PreemptionMessage).
    preemptions: tuple[tuple[str, Preemption], ...] = ()


class ApplicationMasterService(Protocol):
    """The ResourceManager's side. Each call raises NotFound for an attempt that is not (or no longer) live."""

    def register(self, attempt_id: AttemptId) -> RegisterResponse: ...

    def allocate(self, attempt_id: AttemptId, request: AllocateRequest) -> AllocateResponse: ...

    def finish(self, attempt_id: AttemptId, status: FinalStatus, diagnostics: str) -> None: ...
