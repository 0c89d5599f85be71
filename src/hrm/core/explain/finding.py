"""What explanations are made from and of: the books and what else is known, and what was found about one ask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hrm.core.books import Books
from hrm.core.reasons import Reason
from hrm.model.evidence import Fact
from hrm.model.explanations import Change, EndBasis
from hrm.model.ids import ContainerId
from hrm.model.phrases import Phrase, parts, say
from hrm.model.resources import GPUS, MEMORY, VCORES
from hrm.model.scheduling import SchedulerOptions

#: What each reason for want of room is about.
SHORT_OF = {
    Reason.INSUFFICIENT_MEMORY: MEMORY,
    Reason.INSUFFICIENT_VCORES: VCORES,
    Reason.INSUFFICIENT_GPUS: GPUS,
    Reason.GPU_FRAGMENTED: GPUS,
}


@dataclass(frozen=True, slots=True)
class ExpectedEnd:
    """When a container is expected to end (epoch seconds), and what from."""

    at: float
    basis: EndBasis


def nobody_knows(container_id: ContainerId) -> ExpectedEnd | None:
    """Of no container is it known when it ends."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What is looked at. The scheduler does not know when containers end: whoever asks tells it."""

    books: Books
    options: SchedulerOptions
    #: Epoch seconds; None iff nobody said: then nothing is foretold.
    now: float | None = None
    expected_end: Callable[[ContainerId], ExpectedEnd | None] = nobody_knows


@dataclass(frozen=True, slots=True)
class Finding:
    """Why one ask waits."""

    reason: Reason
    said: Phrase
    facts: list[Fact] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)

    @property
    def message(self) -> str:
        """What is said, in English."""
        return say(self.said)

    def going_on(self, *said: Phrase) -> Phrase:
        """What is said, and more after it."""
        return parts([self.said, *said])


def has_to(kind: str, said: Phrase, command: str = "") -> Change:
    """A change that somebody else, or time, has to bring: nobody has tried whether it is enough."""
    return Change(kind=kind, text=say(said), said=said, starts_now=False, command=command)
