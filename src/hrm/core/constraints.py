"""The placement constraint of one ask: whether a node meets it now.

What it counts is looked up when it is asked. What changes by itself is how far a delayed `or` has opened: as in delay
scheduling (`hrm.core.locality`) it waits while nodes with room are seen that only a later alternative would take, and
who was placed by an earlier alternative than had to be waits for that again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hrm.core.tags import counts
from hrm.model.attributes import AttributeTest
from hrm.model.tag_placements import AllOf, AnyOf, DelayedOr, PlacementConstraint, Scope, TagCount, TagPlacement

if TYPE_CHECKING:
    from hrm.core.applications import App
    from hrm.core.nodes import Node
    from hrm.core.options import Visit


class Turn:
    """How far one delayed `or` has opened."""

    __slots__ = ("_counted_in", "missed", "opened", "since")

    def __init__(self) -> None:
        #: The last alternative that will do.
        self.opened = 0
        #: Opportunities since it did.
        self.missed = 0
        #: When it first was looked at, epoch seconds; None iff it was not yet.
        self.since: float | None = None
        self._counted_in = 0

    def look(self, parts: DelayedOr, visit: Visit) -> None:
        """One visit of a node with room; the counter rises before it is compared."""
        if self.since is None:
            self.since = visit.now
        if visit.heartbeat and self._counted_in != visit.number:
            self._counted_in = visit.number
            self.missed += 1
        while self.opened < len(parts.parts) - 1 and self._is_over(parts, visit.now):
            self.opened += 1
            self.missed = 0
            self.since = visit.now

    def _is_over(self, parts: DelayedOr, now: float) -> bool:
        part = parts.parts[self.opened]
        if part.opportunities is not None:
            return self.missed > part.opportunities
        return self.since is not None and part.delay_s is not None and now - self.since >= part.delay_s

    def begin_anew(self, opened: int) -> None:
        self.opened, self.missed, self.since = opened, 0, None


class Constraint:
    """Of one ask."""

    __slots__ = ("_app", "_placement", "root", "turns")

    def __init__(self, root: PlacementConstraint, placement: TagPlacement, app: App) -> None:
        self.root = root
        self._placement = placement
        self._app = app
        #: Of each delayed `or` that was looked at.
        self.turns: dict[DelayedOr, Turn] = {}

    def look(self, visit: Visit) -> None:
        """A node with room is visited: time goes on for what waits."""
        for delayed in self._delayed(self.root):
            self.turns.setdefault(delayed, Turn()).look(delayed, visit)

    def meets(self, node: Node) -> bool:
        """True iff another container may come to this node (PlacementConstraintsUtil.canSatisfyConstraints)."""
        return self._meets(self.root, node)

    def placed(self, node: Node) -> None:
        """One is about to be placed on this node: by which alternatives?"""
        for delayed, turn in self.turns.items():
            for at, part in enumerate(delayed.parts[: turn.opened]):
                if self._meets(part.constraint, node):
                    turn.begin_anew(at)
                    break

    @property
    def counts_racks(self) -> bool:
        """True iff what runs on other nodes of its rack may decide about a node."""
        return any(isinstance(one, TagCount) and one.scope is Scope.RACK for one in leaves(self.root))

    def opened(self, delayed: DelayedOr) -> int:
        """The last of its alternatives that will do now."""
        turn = self.turns.get(delayed)
        return 0 if turn is None else turn.opened

    def afresh(self) -> Constraint:
        """The same for who asks anew: nothing has opened yet."""
        return Constraint(self.root, self._placement, self._app)

    def next_of(self, delayed: DelayedOr) -> Constraint:
        """The same, had one more alternative opened."""
        later = Constraint(self.root, self._placement, self._app)
        later.turns = {**self.turns, delayed: Turn()}
        later.turns[delayed].begin_anew(self.opened(delayed) + 1)
        return later

    def waiting(self) -> list[DelayedOr]:
        """Those of which an alternative has not opened yet, as far as they matter now."""
        return [one for one in self._delayed(self.root) if self.opened(one) < len(one.parts) - 1]

    def _delayed(self, constraint: PlacementConstraint) -> Iterator[DelayedOr]:
        match constraint:
            case AllOf(parts) | AnyOf(parts):
                for part in parts:
                    yield from self._delayed(part)
            case DelayedOr(timed):
                yield constraint
                for alternative in timed[: self.opened(constraint) + 1]:
                    yield from self._delayed(alternative.constraint)

    def _meets(self, constraint: PlacementConstraint, node: Node) -> bool:
        match constraint:
            case AllOf(parts):
                return all(self._meets(part, node) for part in parts)
            case AnyOf(parts):
                return any(self._meets(part, node) for part in parts)
            case DelayedOr(timed):
                return any(self._meets(part.constraint, node) for part in timed[: self.opened(constraint) + 1])
            case TagCount():
                return self._has_so_many(constraint, node)
            case AttributeTest():
                return constraint.meets(node.attributes)

    def _has_so_many(self, wanted: TagCount, node: Node) -> bool:
        there = node.rack_tags if wanted.scope is Scope.RACK else node.tags
        found = [there.count(tag, wanted.whose, self._app) for tag in wanted.tags]
        if wanted.most is not None and max(found) >= max(wanted.most, 1):
            return False
        return min(found) >= wanted.least or self._is_the_first(wanted)

    def _is_the_first(self, wanted: TagCount) -> bool:
        """True iff it is to lie beside its like, of which there is none yet: somebody has to begin."""
        tags, app = set(wanted.tags), self._app
        if not counts(wanted.whose, app.owner, app.owner) or not tags <= self._placement.tags:
            return False
        mine = (*app.containers.values(), *(app.owner.containers.values() if app.borrows else ()))
        return not any(tags & container.tags for container in mine)


def leaves(constraint: PlacementConstraint) -> Iterator[TagCount | AttributeTest]:
    """What it is made of in the end."""
    match constraint:
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from leaves(part)
        case DelayedOr(timed):
            for alternative in timed:
                yield from leaves(alternative.constraint)
        case TagCount() | AttributeTest():
            yield constraint
