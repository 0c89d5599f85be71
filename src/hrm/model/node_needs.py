"""What a request wants of a node besides amounts and places."""

from __future__ import annotations

from typing import NamedTuple

from hrm.model.attributes import parse_expression


class NodeNeeds(NamedTuple):
    """Only a node that meets all of this will do. A tuple of plain values: they are compared at every request."""

    #: Of `NodeSpec.offers`: it has all of these.
    offers: frozenset[str] = frozenset()
    #: Its attributes meet this expression, in the canonical form of `hrm.model.attributes`; "" iff any do.
    constraint: str = ""
    #: Its node label; "" or None, where that was not said: it has none, or one that is not exclusive.
    label: str | None = None

    def also(self, other: NodeNeeds) -> NodeNeeds:
        """Both of them; the own label counts. Raises InvalidInput where that is more than one expression may have."""
        both = [f"({one})" for one in (self.constraint, other.constraint) if one]
        constraint = str(parse_expression(" & ".join(both))) if both else ""
        return NodeNeeds(self.offers | other.offers, constraint, other.label if self.label is None else self.label)


#: Any node will do.
ANY_NODE = NodeNeeds()


def needs_of(offers: frozenset[str], constraint: str | None, label: str | None = None) -> NodeNeeds:
    """``constraint`` as a user writes it; None iff there is none. Raises InvalidInput."""
    if not offers and constraint is None and label is None:
        return ANY_NODE
    return NodeNeeds(offers, "" if constraint is None else str(parse_expression(constraint)), label)
