"""States that people see. Which may follow which is in `hrm.rm.lifecycles`."""

from __future__ import annotations

from enum import StrEnum


class ApplicationState(StrEnum):
    """As YARN's YarnApplicationState."""

    SUBMITTED = "SUBMITTED"  #: committed to the store, not yet taken by the scheduler
    ACCEPTED = "ACCEPTED"  #: the scheduler took it; it waits
    RUNNING = "RUNNING"  #: at least one container was granted
    FINISHED = "FINISHED"  #: ended well
    FAILED = "FAILED"
    KILLED = "KILLED"

    @property
    def final(self) -> bool:
        return self in (ApplicationState.FINISHED, ApplicationState.FAILED, ApplicationState.KILLED)


class AttemptState(StrEnum):
    """One run of the application's master."""

    LAUNCHED = "LAUNCHED"  #: the master was started, it has not registered
    RUNNING = "RUNNING"  #: registered
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"

    @property
    def final(self) -> bool:
        return self in (AttemptState.FINISHED, AttemptState.FAILED, AttemptState.KILLED)


class ContainerState(StrEnum):
    """As YARN's, with a state of its own for an end that nobody saw."""

    ALLOCATED = "ALLOCATED"  #: granted and committed; its launch is under way
    RUNNING = "RUNNING"  #: the node says that its process started
    STOPPING = "STOPPING"  #: told to end, still there
    COMPLETED = "COMPLETED"  #: ended, exit code known
    LOST = "LOST"  #: ended, nobody knows how; never an invented exit code

    @property
    def final(self) -> bool:
        return self in (ContainerState.COMPLETED, ContainerState.LOST)


class TaskState(StrEnum):
    """One task of a task set; an attempt of a task bears the same states."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    KILLED = "KILLED"
    LOST = "LOST"  #: of an attempt: its container was lost
    PREEMPTED = "PREEMPTED"  #: of an attempt, or what an own master launched: it ended for another application

    @property
    def final(self) -> bool:
        return self in (TaskState.SUCCEEDED, TaskState.FAILED, TaskState.KILLED, TaskState.PREEMPTED)


class NodeState(StrEnum):
    """Whether a node takes new containers, and why not."""

    RUNNING = "RUNNING"
    UNHEALTHY = "UNHEALTHY"
    DRAINING = "DRAINING"
    LOST = "LOST"
