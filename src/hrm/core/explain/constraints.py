"""What a placement constraint wants, in words; and what time, or the end of something, would change about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hrm.core.applications import Ask, Container
from hrm.core.constraints import Constraint, leaves
from hrm.core.explain.finding import Finding, Look, has_to
from hrm.core.nodes import Node
from hrm.core.reasons import Reason
from hrm.core.wording import say_names, say_shape
from hrm.model.attributes import AttributeTest
from hrm.model.explanations import Change
from hrm.model.phrases import Item, Phrase, parts, phrase
from hrm.model.tag_placements import (
    AllOf,
    AnyOf,
    DelayedOr,
    Namespace,
    OfApplication,
    OfTagged,
    PlacementConstraint,
    Scope,
    TagCount,
    Whose,
)

_WHOSE = {Whose.SELF: "of_self", Whose.OTHERS: "of_others", Whose.ALL: "of_all"}
_WHERE = {Scope.NODE: "on_node", Scope.RACK: "in_rack"}


def kept_off(look: Look, ask: Ask, constraint: Constraint, nodes: Sequence[Node]) -> Finding:
    """There is room, but not beside what runs there."""
    changes: list[Change] = []
    opening = None if look.now is None else next_opening(look.now, constraint, nodes)
    if opening is not None and opening.heartbeats:
        said = phrase("change.opens", next=say_constraint(opening.alternative), count=opening.heartbeats)
        changes.append(has_to("time", said))
    return Finding(
        Reason.PLACEMENT_CONSTRAINT,
        parts(
            [
                phrase(_unmet(constraint), asked=say_shape(ask.shape), nodes=say_names(nodes)),
                phrase("constraint.wants", wants=say_constraint(constraint.root)),
            ]
        ),
        changes=[*changes, has_to("other_place", phrase("change.constraint"))],
    )


def _unmet(constraint: Constraint) -> str:
    by_attributes = any(isinstance(one, AttributeTest) for one in leaves(constraint.root))
    return "constraint.not_met_there" if by_attributes else "constraint.not_met"


def say_constraint(constraint: PlacementConstraint) -> Phrase:
    """``no web of its own in the rack``; of several ``(… and …)``."""
    match constraint:
        case AllOf(of):
            return phrase("constraint.all_of", parts=[say_constraint(part) for part in of])
        case AnyOf(of):
            return phrase("constraint.any_of", parts=[say_constraint(part) for part in of])
        case DelayedOr(timed):
            first, *rest = [say_constraint(part.constraint) for part in timed]
            later: list[Item] = [*rest]
            return phrase("constraint.in_turn", first=first, rest=later) if rest else first
        case AttributeTest():
            return phrase("constraint.attribute", test=str(constraint))
        case TagCount(tags=tags, whose=whose, least=least, most=most, scope=scope):
            kind = "none" if most == 0 else "least" if most is None else "range" if least else "most"
            return phrase(
                f"constraint.{kind}",
                least=least,
                most=most,
                tags=[*tags],
                whose=_say_whose(whose),
                where=phrase(f"constraint.{_WHERE[scope]}"),
            )


def _say_whose(whose: Namespace) -> Phrase:
    match whose:
        case OfApplication(application_id):
            return phrase("constraint.of_application", app=application_id.seq)
        case OfTagged(tag):
            return phrase("constraint.of_tagged", tag=tag)
        case _:
            return phrase(f"constraint.{_WHOSE[whose]}")


class Opening(NamedTuple):
    """An alternative that will do later, and a node with room that meets it."""

    alternative: PlacementConstraint
    node: Node
    #: Until then, as far as time alone decides; and heartbeats of nodes with room besides.
    seconds: float
    heartbeats: int


def next_opening(now: float, constraint: Constraint, nodes: Sequence[Node]) -> Opening | None:
    """What opens first of that which lets one of these nodes do; None iff nothing will."""
    found = [one for delayed in constraint.waiting() if (one := _opening(now, constraint, delayed, nodes))]
    return min(found, key=lambda one: (one.heartbeats, one.seconds), default=None)


def _opening(now: float, constraint: Constraint, delayed: DelayedOr, nodes: Sequence[Node]) -> Opening | None:
    turn = constraint.turns.get(delayed)
    seconds, heartbeats = 0.0, 0
    for at in range(constraint.opened(delayed), len(delayed.parts) - 1):
        part = delayed.parts[at]
        if part.delay_s is not None:
            passed = 0.0 if turn is None or turn.since is None else now - turn.since
            seconds += max(part.delay_s - passed, 0.0)
        else:
            heartbeats += max((part.opportunities or 0) + 1 - (0 if turn is None else turn.missed), 1)
        turn, constraint = None, constraint.next_of(delayed)
        for node in nodes:
            if constraint.meets(node):
                return Opening(delayed.parts[at + 1].constraint, node, seconds, heartbeats)
    return None


def meets_without(constraint: Constraint, node: Node, ended: Sequence[Container]) -> bool:
    """True iff the node met it if these containers had ended."""
    for container in ended:
        container.node.bear(container, -1)
    met = constraint.meets(node)
    for container in ended:
        container.node.bear(container, 1)
    return met
