"""What nodes lack of that which a request wants of them besides room: shared paths, labels, attributes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from hrm.core.nodes import Node
from hrm.core.wording import MAX_NAMES, say_names
from hrm.model.attributes import AttributeExpression, AttributeTest, conditions_of, parse_expression
from hrm.model.evidence import AttributeFact, Fact, MissingFact
from hrm.model.node_needs import NodeNeeds
from hrm.model.phrases import Item, Phrase, phrase


def wanted(needs: NodeNeeds) -> list[str]:
    """Each thing by itself, in words."""
    label = [_label(needs.label)] if needs.label else []
    return [*sorted(needs.offers), *label, *(str(one) for one in _conditions(needs))]


def said(needs: NodeNeeds, lacking: Sequence[Node], nodes: Sequence[Node]) -> list[Phrase]:
    """``shared path /data is missing on n3``, ``no node has os=debian12 (3 have os=debian11)``; none iff nothing is.

    ``lacking`` are those of ``nodes`` that do not meet the needs.
    """
    offers = [phrase("missing", need=need, nodes=say_names(some)) for need, some in _offers(needs, lacking)]
    closed = [node for node in lacking if node.label and not needs.label and node.spec.exclusive]
    if closed:
        offers.append(phrase("label.closed", nodes=say_names(closed), count=len(closed)))
    return offers + [_say(condition, some, nodes) for condition, some in _unmet(needs, lacking)]


def facts(needs: NodeNeeds, lacking: Sequence[Node], nodes: Sequence[Node]) -> list[Fact]:
    """The same as evidence."""
    found: list[Fact] = [
        MissingFact(need=need, count=len(some), nodes=_names(some)) for need, some in _offers(needs, lacking)
    ]
    for condition, some in _unmet(needs, lacking):
        there = dict(_there(condition, nodes))
        found.append(AttributeFact(need=str(condition), count=len(some), nodes=_names(some), there=there))
    return found


def _conditions(needs: NodeNeeds) -> Sequence[AttributeExpression]:
    return conditions_of(parse_expression(needs.constraint)) if needs.constraint else ()


def _offers(needs: NodeNeeds, lacking: Sequence[Node]) -> Iterator[tuple[str, list[Node]]]:
    for need in sorted(needs.offers):
        if some := [node for node in lacking if need not in node.offers]:
            yield need, some
    if needs.label and (some := [node for node in lacking if node.label != needs.label]):
        yield _label(needs.label), some


def _label(name: str) -> str:
    return f"node label {name}"


def _unmet(needs: NodeNeeds, lacking: Sequence[Node]) -> Iterator[tuple[AttributeExpression, list[Node]]]:
    for condition in _conditions(needs):
        if some := [node for node in lacking if not condition.meets(node.attributes)]:
            yield condition, some


def _say(condition: AttributeExpression, lacking: Sequence[Node], nodes: Sequence[Node]) -> Phrase:
    values: list[Item] = [
        phrase("attribute.have", count=count, what=what) if what else phrase("attribute.have_none", count=count)
        for what, count in _there(condition, nodes)
    ]
    there = phrase("attribute.there", values=values) if values else ""
    if len(lacking) == len(nodes):
        plain = isinstance(condition, AttributeTest) and not condition.negated
        return phrase("attribute.nowhere" if plain else "attribute.unmet", condition=str(condition), there=there)
    return phrase("attribute.missing", condition=str(condition), nodes=say_names(lacking), there=there)


def _there(condition: AttributeExpression, nodes: Sequence[Node]) -> list[tuple[str, int]]:
    """What nodes have of the attribute that is tested, the commonest first, and how many have it; "" for none of it."""
    if not isinstance(condition, AttributeTest) or condition.value is None or condition.negated:
        return []
    name = condition.name
    counts = Counter(f"{name}={node.attributes[name]}" if name in node.attributes else "" for node in nodes)
    return sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:MAX_NAMES]


def _names(nodes: Sequence[Node]) -> list[str]:
    return [node.node_id for node in nodes[:MAX_NAMES]]
