"""Placement constraints, from YARN's messages to the model's.

A message may be anything: what nothing here can keep is NotUnderstood, with the reason, before it is walked far.
"""

from __future__ import annotations

from hrm.model.attributes import AllTests, AnyTest, AttributeExpression, AttributeTest, check_value
from hrm.model.errors import InvalidInput
from hrm.model.ids import ApplicationId
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
#: Before names of attributes: set by an administrator, or told by the node. Without one it is the first.
_OWN_DOMAINS = ("rm.yarn.io/", "nm.yarn.io/")


class NotUnderstood(Exception):
    """A constraint, or what it belongs to, of a kind that nothing here can keep."""


def constraint_of(message: records.PlacementConstraintProto) -> PlacementConstraint:
    """Raises NotUnderstood, and InvalidInput of the model."""
    return _Reader().read(message, 0)


class _Reader:
    """Of one constraint: counts what it is made of, so as to give up early; the model counts exactly."""

    def __init__(self) -> None:
        self._left = MAX_PARTS

    def _count(self, more: int) -> None:
        self._left -= more
        if self._left < 0:
            raise NotUnderstood(f"a constraint of more than {MAX_PARTS} parts")

    def read(self, message: records.PlacementConstraintProto, depth: int) -> PlacementConstraint:
        self._count(1)
        if depth > MAX_DEPTH:
            raise NotUnderstood(f"constraints deeper than {MAX_DEPTH} in each other")
        if message.HasField("simpleConstraint"):
            return self._simple(message.simpleConstraint)
        if not message.HasField("compositeConstraint"):
            raise NotUnderstood("a constraint that says nothing")
        composite = message.compositeConstraint
        delayed = composite.compositeType == _COMPOSITE.DELAYED_OR
        parts, others = composite.childConstraints, composite.timedChildConstraints
        if (parts if delayed else others) or not (parts or others):
            raise NotUnderstood("`and` and `or` have plain parts, `delayed_or` has timed ones, and all have some")
        if delayed:
            return DelayedOr(tuple(self._timed(part, depth + 1) for part in others))
        read = tuple(self.read(part, depth + 1) for part in parts)
        return AnyOf(read) if composite.compositeType == _COMPOSITE.OR else AllOf(read)

    def _timed(self, message: records.TimedPlacementConstraintProto, depth: int) -> Timed:
        constraint = self.read(message.placementConstraint, depth)
        if message.delayUnit == _TIMED.OPPORTUNITIES:
            return Timed(constraint=constraint, opportunities=message.schedulingDelay)
        return Timed(constraint=constraint, delay_s=message.schedulingDelay / 1000)

    def _simple(self, message: records.SimplePlacementConstraintProto) -> PlacementConstraint:
        self._count(len(message.targetExpressions) - 1)
        parts = [
            self._attribute(target, message) if target.targetType == _TARGET.NODE_ATTRIBUTE else _tags(target, message)
            for target in message.targetExpressions
        ]
        if not parts:
            raise NotUnderstood("a constraint without a target")
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

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
    parts = constraint.parts if isinstance(constraint, AllOf) else (constraint,)
    expressions: list[AttributeExpression] = []
    rest: list[PlacementConstraint] = []
    for part in parts:
        expression = _expression(part)
        if expression is None:
            rest.append(part)
        else:
            expressions.append(expression)
    kept = AllOf(tuple(rest)) if len(rest) > 1 else rest[0] if rest else None
    return kept, AllTests(tuple(expressions)) if expressions else None


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
