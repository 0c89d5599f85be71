"""A container whose program is started anew in place: its id, allocation, cgroup, devices, directory and logs live on.

Each process that a container has in turn is a *launch* of it; the first has number 1. The rules are those of YARN's
ContainerImpl (re-initialise, restart, roll back, commit).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hrm.model.containers import LaunchSpec


class RelaunchKind(StrEnum):
    """What is asked of a container that runs."""

    REPLACE = "replace"  #: run something else from now on
    RESTART = "restart"  #: run the same anew
    ROLL_BACK = "roll_back"  #: run again what was run before the last replacement
    COMMIT = "commit"  #: stay with the last replacement: nothing can be rolled back to any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaunch:
    """An order for a container that runs.

    A replacement fetches its files first; if that fails what runs goes on. Unless it is committed, with it or later, a
    program that fails by itself is followed by the one before.
    """

    kind: RelaunchKind
    #: What is to run; of REPLACE alone.
    spec: LaunchSpec | None = None
    auto_commit: bool = True
    #: The same order has the same one, and is carried out once; "" iff nobody repeats it.
    key: str = ""
    #: Between TERM and KILL for what runs.
    grace_s: float = 5.0


class LaunchPhase(StrEnum):
    """Where a container is between two of its launches."""

    RUNS = "runs"  #: its program runs, or has not begun for the first time
    PREPARES = "prepares"  #: it runs, while files are fetched for what is to follow
    ENDS = "ends"  #: it was told to end for what is to follow
    WAITS = "waits"  #: nothing runs: the next launch is about to begin, or waits for its time


class LocalizationState(StrEnum):
    """How far it is with a file that a container is to find (YARN's LocalizationState)."""

    PENDING = "pending"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Localization:
    """One file of a container, by the name under which it is found in its directory."""

    link: str
    state: LocalizationState
    #: Why it failed; "" iff it did not.
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchState:
    """How it stands with a container that runs, as its node says."""

    #: The number of the launch that runs, or ran last.
    launch: int
    phase: LaunchPhase
    #: True iff `RelaunchKind.ROLL_BACK` and COMMIT have something to do.
    can_roll_back: bool
    #: What happened since it was first launched, the newest last.
    notes: tuple[str, ...] = ()
    localizations: tuple[Localization, ...] = ()
