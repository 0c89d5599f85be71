"""Which queue a job goes into: rules, asked in order (YARN's queuePlacementPolicy)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from hrm.model.queues import DEFAULT_QUEUE, ROOT, QueueDefaults

_IN_NAMES = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


class Rule(StrEnum):
    """What a rule goes by."""

    SPECIFIED = "specified"  #: the queue that the job names
    USER = "user"  #: the name of the user
    PRIMARY_GROUP = "primary_group"  #: that of their primary group
    SECONDARY_GROUP = "secondary_group"  #: that of the first of their other groups that has a queue
    NESTED = "nested"  #: the name of the user, below the queue that `parent` gives (YARN's nestedUserQueue)
    DEFAULT = "default"  #: a fixed queue
    REJECT = "reject"  #: none: the job is refused


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementRule:
    """One rule. If it gives no queue, or one that is not there and must not be made, the next is asked."""

    rule: Rule
    #: False: only a declared queue will do.
    create: bool = True
    #: Of `default`; None iff the one of the policy.
    queue: str | None = None
    #: Gives the queue below which this one's is; None iff the root.
    parent: PlacementRule | None = None

    def always_places(self, *, may_create: bool) -> bool:
        """True iff no rule behind it is ever asked. ``may_create``: queues may be made at all."""
        if self.parent is None and self.rule is Rule.NESTED:
            return False
        if self.parent is not None and not self.parent.always_places(may_create=may_create):
            return False
        if self.rule in (Rule.REJECT, Rule.DEFAULT):
            return True
        return may_create and self.create and self.rule in (Rule.USER, Rule.PRIMARY_GROUP, Rule.NESTED)

    def __str__(self) -> str:
        return f"{self.rule} below {self.parent}" if self.parent else str(self.rule)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementPolicy:
    """How queues are found for jobs, and made for them."""

    #: None: the queue that the job names, which must be there or be made, else the default one.
    rules: tuple[PlacementRule, ...] | None = None
    default_queue: str = DEFAULT_QUEUE
    #: False: no queue is made, whatever rules say (YARN's allow-undeclared-pools, which gives way to rules there).
    undeclared_queues: bool = False
    defaults: QueueDefaults = field(default_factory=QueueDefaults)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitter:
    """Who submits; the first of the groups is the primary one."""

    user: str
    groups: Sequence[str] = ()


def queue_name_of(name: str) -> str:
    """A user's or group's name as the name of a queue: dots become ``_dot_``, as in YARN.

    Other characters that queues' names have not become ``_at_`` or ``_u<code>_``, so that different users keep
    different queues; ``root``, which is the whole tree, becomes ``_root``.
    """
    words = {".": "_dot_", "@": "_at_"}
    made = "".join(
        char if char in _IN_NAMES and (place or char != "-") else words.get(char, f"_u{ord(char):x}_")
        for place, char in enumerate(name)
    )
    return f"_{made}" if made == ROOT else made
