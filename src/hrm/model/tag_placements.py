"""Where containers may lie by what runs beside them: tags that they bear, and how many with a tag a node may have.

YARN's allocation tags and PlacementConstraint: affinity, anti-affinity and cardinality by node and by rack, and what
attributes a node has, put together by `and`, `or` and an `or` whose alternatives open one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import isfinite

from hrm.model.attributes import AttributeTest
from hrm.model.errors import InvalidInput
from hrm.model.ids import ApplicationId

MAX_TAGS = 32
MAX_TAG_CHARS = 255
#: Parts of one constraint, and how deep they may lie in each other.
MAX_PARTS = 64
MAX_DEPTH = 8


class Scope(StrEnum):
    """What is counted together."""

    NODE = "node"
    RACK = "rack"


class Whose(StrEnum):
    """Of which applications containers count (YARN's AllocationTagNamespaceType)."""

    SELF = "self"
    OTHERS = "not-self"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class OfApplication:
    """Those of one application count (YARN's ``app-id``)."""

    application_id: ApplicationId


@dataclass(frozen=True, slots=True)
class OfTagged:
    """Those of all applications that were submitted with this tag count (YARN's ``app-tag``)."""

    tag: str

    def __post_init__(self) -> None:
        _check_tags([self.tag], "constraint")


#: Of which applications containers count (YARN's TargetApplicationsNamespace).
Namespace = Whose | OfApplication | OfTagged


@dataclass(frozen=True, slots=True, kw_only=True)
class TagCount:
    """A node, or its rack, has at least ``least`` and, without the one to come, fewer than ``most`` with each tag.

    ``most`` 0 is anti-affinity: there may be none; None: any number. ``least`` 1 is affinity: there must be one. Whose
    own tags are asked for may be the first of all its application's.
    """

    tags: tuple[str, ...]
    whose: Namespace = Whose.SELF
    least: int = 0
    most: int | None = None
    scope: Scope = Scope.NODE

    def __post_init__(self) -> None:
        if not self.tags:
            raise InvalidInput("names no tag", field="constraint")
        _check_tags(self.tags, "constraint")
        if self.least < 0 or (self.most is not None and self.most < self.least):
            raise InvalidInput(f"from {self.least} to {self.most} is no range", field="constraint")


@dataclass(frozen=True, slots=True)
class AllOf:
    """Each of these must hold."""

    parts: tuple[PlacementConstraint, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of these must hold."""

    parts: tuple[PlacementConstraint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """One alternative, and how long it has to be met before the next is good enough too.

    Either ``delay_s`` seconds since a node with room was first looked at, or so many opportunities: heartbeats of nodes
    with room (YARN's TimedPlacementConstraint).
    """

    constraint: PlacementConstraint
    delay_s: float | None = None
    opportunities: int | None = None

    def __post_init__(self) -> None:
        if (self.delay_s is None) == (self.opportunities is None):
            raise InvalidInput("waits by time or by opportunities", field="constraint")
        if self.delay_s is not None and not (isfinite(self.delay_s) and self.delay_s >= 0):
            raise InvalidInput(f"cannot be negative: {self.delay_s} s", field="constraint")
        if self.opportunities is not None and self.opportunities < 0:
            raise InvalidInput(f"cannot be negative: {self.opportunities} opportunities", field="constraint")


@dataclass(frozen=True, slots=True)
class DelayedOr:
    """At first the first must hold; each that has waited long enough lets the next do as well. The last stays."""

    parts: tuple[Timed, ...]


PlacementConstraint = TagCount | AttributeTest | AllOf | AnyOf | DelayedOr


@dataclass(frozen=True, slots=True, kw_only=True)
class TagPlacement:
    """Tags that a container bears while it is there, and what must hold of a node for it to be placed there."""

    tags: frozenset[str] = frozenset()
    constraint: PlacementConstraint | None = None

    def __post_init__(self) -> None:
        _check_tags(self.tags, "tags")
        if self.constraint is not None and (_parts(self.constraint, 0)) > MAX_PARTS:
            raise InvalidInput(f"more than {MAX_PARTS} parts", field="constraint")


def _check_tags(tags: tuple[str, ...] | frozenset[str] | list[str], field: str) -> None:
    if len(tags) > MAX_TAGS or any(not 0 < len(tag) <= MAX_TAG_CHARS for tag in tags):
        raise InvalidInput(f"at most {MAX_TAGS} tags of 1 to {MAX_TAG_CHARS} characters each", field=field)


def _parts(constraint: PlacementConstraint, depth: int) -> int:
    if depth > MAX_DEPTH:
        raise InvalidInput(f"deeper than {MAX_DEPTH} in each other", field="constraint")
    match constraint:
        case TagCount() | AttributeTest():
            return 1
        case AllOf(parts) | AnyOf(parts):
            inner = parts
        case DelayedOr(timed):
            inner = tuple(part.constraint for part in timed)
    if not inner:
        raise InvalidInput("of no parts", field="constraint")
    return 1 + sum(_parts(part, depth + 1) for part in inner)
