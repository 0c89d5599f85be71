"""Placement constraints, from YARN's messages to the model's.

A message may be anything: what nothing here can keep is NotUnderstood, with the reason, before it is walked far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hrm.model.attributes import AllTests, AnyTest, AttributeExpression, AttributeTest, check_value
from hrm.model.errors import InvalidInput
from hrm.model.ids import ApplicationId
from hrm.model.inventory import check_label
from hrm.model.tag_placements import (
    MAX_DEPTH,
    MAX_PARTS,
    AllOf,
    AnyOf,
    DelayedOr,
    Namespace,
    OfApplication,
    OfTagged,
    PlacementConstraint,
    Scope,
    TagCount,
    Timed,
    Whose,
)
from hrm.yarn.proto import records_pb2 as records

_ANY_NUMBER = (1 << 31) - 1
_TARGET = records.PlacementConstraintTargetProto
_COMPOSITE = records.CompositePlacementConstraintProto
_TIMED = records.TimedPlacementConstraintProto
#: The name by which a target is a node label.
_PARTITION = "yarn_node_partition/"
#: Before names of attributes: set by an administrator, or told by the node. Without one it is the first.
_OWN_DOMAINS = ("rm.yarn.io/", "nm.yarn.io/")


class NotUnderstood(Exception):
    """A constraint, or what it belongs to, of a kind that nothing here can keep."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What must hold of a node; None iff nothing, and the node label that it must have; None iff that was not said."""

    constraint: PlacementConstraint | None = None
    label: str | None = None

    def also(self, other: Wish) -> Wish:
        """Both of them. Raises NotUnderstood for two labels."""
        parts = [part for one in (self, other) if one.constraint is not None for part in _conjuncts(one.constraint)]
        return Wish(_all_of(parts), _same(self.label, other.label))


def wish_of(message: records.PlacementConstraintProto) -> Wish:
    """Raises NotUnderstood, and InvalidInput of the model."""
    reader = _Reader()
    constraint = reader.read(message, 0, every=True)
    return Wish(constraint, reader.label)


def _same(label: str | None, other: str | None) -> str | None:
    if label is not None and other is not None and label != other:
        raise NotUnderstood(f"a node has one partition, not {label!r:.80} and {other!r:.80}")
    return other if label is None else label


def _all_of(parts: Sequence[PlacementConstraint]) -> PlacementConstraint | None:
    return AllOf(tuple(parts)) if len(parts) > 1 else parts[0] if parts else None


def _conjuncts(constraint: PlacementConstraint) -> Sequence[PlacementConstraint]:
    return constraint.parts if isinstance(constraint, AllOf) else (constraint,)


class _Reader:
    """Of one constraint: counts what it is made of, so as to give up early; the model counts exactly."""

    def __init__(self) -> None:
        self._left = MAX_PARTS
        #: Of the partition that it names.
        self.label: str | None = None

    def _count(self, more: int) -> None:
        self._left -= more
        if self._left < 0:
            raise NotUnderstood(f"a constraint of more than {MAX_PARTS} parts")

    def read(
        self, message: records.PlacementConstraintProto, depth: int, *, every: bool = False
    ) -> PlacementConstraint | None:
        """``every``: all of what is here must hold. None iff it was of nothing but partitions."""
        self._count(1)
        if depth > MAX_DEPTH:
            raise NotUnderstood(f"constraints deeper than {MAX_DEPTH} in each other")
        if message.HasField("simpleConstraint"):
            return self._simple(message.simpleConstraint, every)
        if not message.HasField("compositeConstraint"):
            raise NotUnderstood("a constraint that says nothing")
        composite = message.compositeConstraint
        delayed = composite.compositeType == _COMPOSITE.DELAYED_OR
        parts, others = composite.childConstraints, composite.timedChildConstraints
        if (parts if delayed else others) or not (parts or others):
            raise NotUnderstood("`and` and `or` have plain parts, `delayed_or` has timed ones, and all have some")
        if delayed:
            return DelayedOr(tuple(self._timed(part, depth + 1) for part in others))
        every = every and composite.compositeType == _COMPOSITE.AND
        read = [self.read(part, depth + 1, every=every) for part in parts]
        there = tuple(part for part in read if part is not None)
        if composite.compositeType == _COMPOSITE.OR:
            return AnyOf(there)
        return AllOf(there) if there else None

    def _timed(self, message: records.TimedPlacementConstraintProto, depth: int) -> Timed:
        constraint = self.read(message.placementConstraint, depth)
        assert constraint is not None, "a partition is refused here"
        if message.delayUnit == _TIMED.OPPORTUNITIES:
            return Timed(constraint=constraint, opportunities=message.schedulingDelay)
        return Timed(constraint=constraint, delay_s=message.schedulingDelay / 1000)

    def _simple(self, message: records.SimplePlacementConstraintProto, every: bool) -> PlacementConstraint | None:
        self._count(len(message.targetExpressions) - 1)
        if not message.targetExpressions:
            raise NotUnderstood("a constraint without a target")
        parts: list[PlacementConstraint] = []
        for target in message.targetExpressions:
            if target.targetType != _TARGET.NODE_ATTRIBUTE:
                parts.append(_tags(target, message))
            elif target.targetKey == _PARTITION:
                self._take_label(target, message, every)
            else:
                parts.append(self._attribute(target, message))
        return _all_of(parts)

    def _take_label(
        self,
        target: records.PlacementConstraintTargetProto,
        message: records.SimplePlacementConstraintProto,
        every: bool,
    ) -> None:
        """A partition is a part of the request, which has one: so it is no alternative, and none is ruled out."""
        if not every or message.scope != Scope.NODE or _is_negated(message) or len(target.targetValues) > 1:
            raise NotUnderstood("a partition that need not be, is not to be, or is one of several")
        label = "".join(target.targetValues)
        if label:
            check_label(label)
        self.label = _same(self.label, label)

    def _attribute(
        self, target: records.PlacementConstraintTargetProto, message: records.SimplePlacementConstraintProto
    ) -> PlacementConstraint:
        """One of the values is wanted, or none of them (PlacementConstraintsUtil)."""
        if message.scope != Scope.NODE:
            raise NotUnderstood(f"attributes of a {message.scope!r:.80}")
        negated = _is_negated(message)
        name = target.targetKey
        for domain in _OWN_DOMAINS:
            name = name.removeprefix(domain)
        values = sorted(set(target.targetValues))
        if not values:
            raise NotUnderstood(f"no value of the attribute {name!r:.80}")
        self._count(len(values) - 1)
        tests = tuple(AttributeTest(name, check_value(value, name), negated) for value in values)
        return tests[0] if len(tests) == 1 else AllOf(tests) if negated else AnyOf(tests)


def _is_negated(message: records.SimplePlacementConstraintProto) -> bool:
    """By its operator; without one `in` is from 1 to any number, and `not in` from 0 to 0."""
    if message.attributeOpCode in (records.EQ, records.NE):
        return message.attributeOpCode == records.NE
    if message.minCardinality <= 0 and message.HasField("maxCardinality") and message.maxCardinality == 0:
        return True
    if message.minCardinality == 1 and message.maxCardinality in (0, _ANY_NUMBER):
        return False
    raise NotUnderstood("a node has an attribute or has it not: it is not counted")


def _tags(
    target: records.PlacementConstraintTargetProto, message: records.SimplePlacementConstraintProto
) -> PlacementConstraint:
    if target.targetType != _TARGET.ALLOCATION_TAG:
        raise NotUnderstood("a target that is neither tags nor an attribute")
    if message.attributeOpCode in (records.EQ, records.NE):
        raise NotUnderstood("tags are counted, not compared")
    if message.scope not in tuple(Scope):
        raise NotUnderstood(f"the scope {message.scope!r:.80}")
    most = message.maxCardinality if message.HasField("maxCardinality") else _ANY_NUMBER
    return TagCount(
        tags=tuple(target.targetValues),
        whose=_whose(target.targetKey),
        least=max(0, message.minCardinality),
        most=None if most == _ANY_NUMBER else most,
        scope=Scope(message.scope),
    )


def _whose(key: str) -> Namespace:
    """A namespace as YARN writes it (TargetApplicationsNamespace): ``self``, ``app-id/application_1_2`` …"""
    kind, _, value = key.partition("/")
    try:
        if kind == "app-id":
            return OfApplication(ApplicationId.parse(value))
        if kind == "app-tag":
            # Tags of applications are kept in lower case.
            return OfTagged(value.strip().lower())
        return Whose(key or Whose.SELF)
    except (ValueError, InvalidInput):
        raise NotUnderstood(f"the namespace {key!r:.80}") from None


# ---- what is of nodes alone


def split(constraint: PlacementConstraint) -> tuple[PlacementConstraint | None, AttributeExpression | None]:
    """What of it depends on time or what runs somewhere, and what on attributes of nodes alone; both must hold."""
    expressions: list[AttributeExpression] = []
    rest: list[PlacementConstraint] = []
    for part in _conjuncts(constraint):
        expression = _expression(part)
        if expression is None:
            rest.append(part)
        else:
            expressions.append(expression)
    return _all_of(rest), AllTests(tuple(expressions)) if expressions else None


def _expression(constraint: PlacementConstraint) -> AttributeExpression | None:
    """None iff it is not of attributes alone."""
    match constraint:
        case AttributeTest():
            # An expression has no way to write the empty value.
            return constraint if constraint.value else None
        case AllOf(parts) | AnyOf(parts):
            tests = [_expression(part) for part in parts]
            known = tuple(test for test in tests if test is not None)
            if len(known) < len(tests):
                return None
            return AllTests(known) if isinstance(constraint, AllOf) else AnyTest(known)
        case _:
            return None
