"""What a leaf queue remembers of who is starved in it: see `hrm.core.starvation`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from hrm.core.amounts import Amounts
from hrm.core.applications import App
from hrm.core.commands import Starvation


@dataclass(slots=True)
class Starving:
    """An application that may have containers of others ended."""

    app: App
    #: What it lacks, less what is being freed for it.
    unmet: Amounts
    #: Which share of its it lacks, and since when (epoch seconds).
    why: Starvation
    since: float


@dataclass(slots=True)
class Watch:
    """What the last look at a leaf found, and for how long that holds."""

    basis: object
    #: When the leaf was last asked, and when a time limit is over next; epoch seconds.
    looked_at: float
    due_at: float = math.inf
    starving: list[Starving] = field(default_factory=list)
    #: Applications with more than their fair share, less what of it is to end; None until somebody wants to know.
    surplus: list[App] | None = None
