"""Where containers may lie by what runs beside them: tags that they bear, and how many with a tag a node may have.

YARN's allocation tags and PlacementConstraint, as far as one node is the scope: affinity, anti-affinity, cardinality.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hrm.model.errors import InvalidInput

MAX_TAGS = 32
MAX_TAG_CHARS = 255
#: Parts of one constraint, and how deep they may lie in each other.
MAX_PARTS = 64
MAX_DEPTH = 8


class Whose(StrEnum):
    """Of which applications containers count (YARN's AllocationTagNamespaceType)."""

    SELF = "self"
    OTHERS = "not-self"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class TagCount:
    """A node has at least ``least`` and, without the one that is to come, fewer than ``most`` with each of the tags.

    ``most`` 0 is anti-affinity: there may be none; None: any number. ``least`` 1 is affinity: there must be one. Whose
    own tags are asked for may be the first of all its application's.
    """

    tags: tuple[str, ...]
    whose: Whose = Whose.SELF
    least: int = 0
    most: int | None = None

    def __post_init__(self) -> None:
        if not self.tags:
            raise InvalidInput("names no tag", field="constraint")
        if self.least < 0 or (self.most is not None and self.most < self.least):
            raise InvalidInput(f"from {self.least} to {self.most} is no range", field="constraint")


@dataclass(frozen=True, slots=True)
class AllOf:
    """Each of these must hold."""

    parts: tuple[TagConstraint, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of these must hold."""

    parts: tuple[TagConstraint, ...]


TagConstraint = TagCount | AllOf | AnyOf


@dataclass(frozen=True, slots=True, kw_only=True)
class TagPlacement:
    """Tags that a container bears while it is there, and what must hold of a node for it to be placed there."""

    tags: frozenset[str] = frozenset()
    constraint: TagConstraint | None = None

    def __post_init__(self) -> None:
        if len(self.tags) > MAX_TAGS or any(not 0 < len(tag) <= MAX_TAG_CHARS for tag in self.tags):
            raise InvalidInput(f"at most {MAX_TAGS} tags of 1 to {MAX_TAG_CHARS} characters each", field="tags")
        if self.constraint is not None and (_parts(self.constraint, 0)) > MAX_PARTS:
            raise InvalidInput(f"more than {MAX_PARTS} parts", field="constraint")


def _parts(constraint: TagConstraint, depth: int) -> int:
    if depth > MAX_DEPTH:
        raise InvalidInput(f"deeper than {MAX_DEPTH} in each other", field="constraint")
    if isinstance(constraint, TagCount):
        return 1
    return 1 + sum(_parts(part, depth + 1) for part in constraint.parts)
