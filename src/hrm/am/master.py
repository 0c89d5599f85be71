"""What the ResourceManager asks of whoever masters an application, and the tasks and actions that both speak of.

Two kinds answer: the built-in task set, which decides by itself, and the stand-in for a master in a container of its
own, which passes on what that one says. Both are told what happens, in a turn, and answer with `Actions`; neither does
I/O or reads a clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from hrm.am.protocol import AllocateRequest, AllocateResponse, Container
from hrm.model.containers import LaunchSpec, Preemption
from hrm.model.masters import FinalStatus
from hrm.model.states import TaskState

#: How often a task may be lost by no fault of its own before it counts as failed.
MAX_LOSSES = 10


@dataclass(slots=True, kw_only=True)
class Task:
    """One task as it stands."""

    index: int
    #: Position of its group in the job; the master sets it.
    group: int = 0
    state: TaskState = TaskState.PENDING
    #: Attempts begun.
    attempt: int = 0
    failures: int = 0
    losses: int = 0
    #: Of the running or latest attempt.
    container_id: str | None = None
    exit_code: int | None = None
    message: str = ""
    #: 0 to 1 as the running attempt reports; None iff it reports none.
    progress: float | None = None
    #: Why the master told its container to stop; None while it did not.
    stopping: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A task begins in a container."""

    container: Container
    spec: LaunchSpec
    task_index: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnd:
    """An attempt of a task is over."""

    container_id: str
    task_index: int
    attempt: int
    state: TaskState
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendezvous:
    """Members of a gang are to meet on a node: a port is wanted that is free there."""

    node_id: str
    #: Tells it from earlier ones of the same master.
    number: int


@dataclass(slots=True)
class Actions:
    """What the master wants done, in one go."""

    launches: list[Launch] = field(default_factory=list)
    #: Containers to stop, with the reason.
    stops: list[tuple[str, str]] = field(default_factory=list)
    ended: list[AttemptEnd] = field(default_factory=list)
    #: Tasks whose record changed, in order of change; a task may be named twice.
    changed: list[Task] = field(default_factory=list)
    #: Why the application's attempt is over and another begins; None iff it goes on.
    next_attempt: str | None = None
    #: Set iff a gang was granted, and begins when it is known where its members meet.
    rendezvous: Rendezvous | None = None


@dataclass(slots=True)
class Counts:
    """How many tasks are in which state; those that ended for another application count as killed."""

    pending: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    killed: int = 0

    def add(self, state: TaskState, by: int) -> None:
        name = "killed" if state is TaskState.PREEMPTED else state.value.lower()
        setattr(self, name, getattr(self, name) + by)


class Master(Protocol):
    """One application's master, for as long as the application lives."""

    counts: Counts
    #: By index; one that never began is not among them.
    begun: dict[int, Task]
    #: True iff it registers by itself, when its process calls.
    calls: bool

    @property
    def task_count(self) -> int: ...

    def task(self, index: int) -> Task:
        """The task as it stands; a copy for reading only if it never began. Raises IndexError."""

    @property
    def running(self) -> list[str]:
        """Containers that a master is told of when it registers, because something of its runs there."""

    @property
    def held_back(self) -> list[tuple[str, list[str]]]:
        """Groups of which nothing is asked for yet, each with those that it waits for."""

    def next_request(self) -> AllocateRequest:
        """Asks that changed since the last one, with absolute counts, and containers to give back."""

    @property
    def wants_something(self) -> bool:
        """True iff `next_request` would say anything new."""

    @property
    def progress(self) -> float:
        """0 to 1."""

    @property
    def verdict(self) -> tuple[FinalStatus, str] | None:
        """How the application ends; None while something runs or is still to begin."""

    @property
    def exit_code(self) -> int:
        """Of the application, once there is a verdict."""

    def receive(self, response: AllocateResponse, now: float) -> Actions:
        """Take what `allocate` answered: grants and ends."""

    def started(self, container_id: str, at: float) -> None:
        """The container's process runs."""

    def report_progress(self, container_id: str, progress: float) -> None: ...

    def next_deadline(self) -> float | None:
        """When `expire` has something to do, at the earliest."""

    def expire(self, now: float) -> Actions:
        """Do what is due by now."""

    def pause(self) -> None:
        """What runs is halted: nothing new may begin, and no time limit is looked at, until `go_on`."""

    def go_on(self, delays: Mapping[str, float]) -> None:
        """Each container was halted for so many seconds, which count for no time limit."""

    def moved(self, queue: str) -> None:
        """Its application is in another queue now: what begins later is told so."""

    def kill(self, message: str) -> Actions:
        """End it all: nothing new begins, what runs is stopped."""

    def recovered(
        self, container_id: str, *, started_at: float | None, stopping: str | None, preemption: Preemption | None
    ) -> None:
        """After a restart: what is known of a container; ``stopping`` is why its master had told it to end."""

    def resume(self, now: float) -> Actions:
        """Once, before anything else happens; after a restart what was begun is gone on with."""


def environment_of(
    *, application_id: str, job_name: str, queue: str, user: str, workdir: str | None, env: Mapping[str, str]
) -> dict[str, str]:
    """What each container of an application finds in its environment; what HRM says wins over ``env``."""
    environment = {
        **env,
        "HRM_APPLICATION_ID": application_id,
        "HRM_JOB_NAME": job_name,
        "HRM_QUEUE": queue,
        "HRM_USER": user,
    }
    if workdir is not None:
        environment["HRM_SUBMIT_DIR"] = workdir
    return environment
