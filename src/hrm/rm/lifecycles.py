"""Which state may follow which: tables as data, every edge with its reason.

An edge that is not in its table raises `InvariantBroken` with the story and changes nothing. Late reports that are
harmless (a container that ended twice, a start told after the end) never reach a table: whoever receives them drops
them by looking at `final` first.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from hrm.model.errors import InvariantBroken
from hrm.model.states import ApplicationState, AttemptState, ContainerState

S = TypeVar("S", bound=StrEnum)
Table = Mapping[tuple[S, S], str]

APPLICATION: Table[ApplicationState] = {
    (ApplicationState.SUBMITTED, ApplicationState.ACCEPTED): "the scheduler took it into its queue",
    (ApplicationState.SUBMITTED, ApplicationState.KILLED): "killed before the scheduler saw it",
    (ApplicationState.SUBMITTED, ApplicationState.FAILED): "its queue went away while it was being committed",
    (
        ApplicationState.ACCEPTED,
        ApplicationState.RUNNING,
    ): "a container was granted, or its master came by itself",
    (ApplicationState.ACCEPTED, ApplicationState.KILLED): "killed while it waited",
    (ApplicationState.ACCEPTED, ApplicationState.FAILED): "its master gave up before anything ran",
    (ApplicationState.RUNNING, ApplicationState.FINISHED): "its master finished it with success",
    (ApplicationState.RUNNING, ApplicationState.FAILED): "its master finished it with failure",
    (ApplicationState.RUNNING, ApplicationState.KILLED): "killed, and all its containers ended",
}

ATTEMPT: Table[AttemptState] = {
    (AttemptState.LAUNCHED, AttemptState.RUNNING): "the master registered",
    (AttemptState.LAUNCHED, AttemptState.KILLED): "killed before the master registered",
    (AttemptState.LAUNCHED, AttemptState.FAILED): "the master ended without registering",
    (AttemptState.RUNNING, AttemptState.FINISHED): "the master unregistered with success",
    (AttemptState.RUNNING, AttemptState.FAILED): "the master unregistered with failure, or was lost",
    (AttemptState.RUNNING, AttemptState.KILLED): "killed",
}

CONTAINER: Table[ContainerState] = {
    (ContainerState.ALLOCATED, ContainerState.RUNNING): "the node says its process started",
    (ContainerState.ALLOCATED, ContainerState.STOPPING): "told to stop while its launch was under way",
    (ContainerState.ALLOCATED, ContainerState.COMPLETED): "ended before its start was told, or could not be started",
    (ContainerState.ALLOCATED, ContainerState.LOST): "its node died, or never heard of it",
    (ContainerState.RUNNING, ContainerState.STOPPING): "told to stop",
    (ContainerState.RUNNING, ContainerState.COMPLETED): "ended by itself",
    (ContainerState.RUNNING, ContainerState.LOST): "its node died, or nobody saw it end",
    (ContainerState.STOPPING, ContainerState.COMPLETED): "ended after it was told to",
    (ContainerState.STOPPING, ContainerState.LOST): "its node died meanwhile",
}


def check_move(table: Table[S], subject: object, start: S, finish: S) -> None:
    """Raise InvariantBroken unless ``start`` may be followed by ``finish``."""
    if (start, finish) not in table:
        legal = ", ".join(str(end) for begin, end in table if begin == start) or "nothing: it is final"
        raise InvariantBroken(f"{subject}: {start} cannot become {finish} (what may follow: {legal})")
