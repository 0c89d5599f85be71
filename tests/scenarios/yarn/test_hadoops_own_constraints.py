"""Placement constraints that Hadoop's own classes make are understood as they were meant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hrm.model.attributes import AttributeTest
from hrm.model.ids import ApplicationId
from hrm.model.tag_placements import (
    AllOf,
    AnyOf,
    DelayedOr,
    OfApplication,
    OfTagged,
    Scope,
    TagCount,
    Timed,
    Whose,
)
from hrm.yarn.placement_constraints import Wish, wish_of
from hrm.yarn.proto.records_pb2 import PlacementConstraintProto
from hrm.yarn.tokens.credentials import Credentials
from tests.scenarios.yarn.test_hadoops_own_classes import Java

pytestmark = [pytest.mark.real, pytest.mark.yarn]


class Maker:
    """Hadoop's `PlacementConstraints`, in fewer words."""

    def __init__(self, java: Java) -> None:
        self._jvm = java.jvm
        self._array = java.new_array
        self.of = java.hadoop.yarn.api.resource.PlacementConstraints
        self.to = self.of.PlacementTargets
        self._pb = java.hadoop.yarn.api.pb
        self.seconds = java.jvm.java.util.concurrent.TimeUnit.SECONDS
        self.op = java.hadoop.yarn.api.records.NodeAttributeOpCode

    def words(self, *words: str) -> Any:
        return self._array(self._jvm.java.lang.String, *words)

    def many(self, kind: str, *things: Any) -> Any:
        """What a method of any number of ``kind`` takes."""
        return self._array(getattr(self._jvm.org.apache.hadoop.yarn.api.resource.PlacementConstraint, kind), *things)

    def tag(self, *tags: str) -> Any:
        return self.many("TargetExpression", self.to.allocationTag(self.words(*tags)))

    def tag_of(self, namespace: str, *tags: str) -> Any:
        return self.many("TargetExpression", self.to.allocationTagWithNamespace(namespace, self.words(*tags)))

    def attribute(self, name: str, *values: str) -> Any:
        return self.many("TargetExpression", self.to.nodeAttribute(name, self.words(*values)))

    def joined(self, how: str, *parts: Any) -> Any:
        """By ``and`` or ``or``, which are no names in Python."""
        return getattr(self.of, how)(self.many("AbstractConstraint", *parts))

    def read(self, constraint: Any) -> Wish:
        """As it comes over the wire."""
        message = self._pb.PlacementConstraintToProtoConverter(constraint.build()).convert()
        return wish_of(PlacementConstraintProto.FromString(bytes(message.toByteArray())))


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Maker]:
    file = tmp_path_factory.mktemp("java") / "tokens"
    file.write_bytes(Credentials().write())
    java = Java(file)
    try:
        yield Maker(java)
    finally:
        java.close()


BESIDE = TagCount(tags=("a",), least=1)
APART = TagCount(tags=("a",), most=0, scope=Scope.RACK)
APP = "application_1700000000000_0007"

CASES: list[tuple[str, Callable[[Maker], Any], Wish]] = [
    ("affinity", lambda m: m.of.targetIn("node", m.tag("a")), Wish(BESIDE)),
    ("anti-affinity", lambda m: m.of.targetNotIn("rack", m.tag("a")), Wish(APART)),
    (
        "cardinality",
        lambda m: m.of.cardinality("rack", 2, 5, m.words("a")),
        Wish(TagCount(tags=("a",), least=2, most=5, scope=Scope.RACK)),
    ),
    ("at least", lambda m: m.of.minCardinality("node", 3, m.words("a")), Wish(TagCount(tags=("a",), least=3))),
    ("at most", lambda m: m.of.maxCardinality("node", 3, m.words("a")), Wish(TagCount(tags=("a",), most=3))),
    (
        "of all",
        lambda m: m.of.targetNotIn("node", m.tag_of("all", "a")),
        Wish(TagCount(tags=("a",), whose=Whose.ALL, most=0)),
    ),
    (
        "of others",
        lambda m: m.of.targetNotIn("node", m.tag_of("not-self", "a")),
        Wish(TagCount(tags=("a",), whose=Whose.OTHERS, most=0)),
    ),
    (
        "of one application",
        lambda m: m.of.targetIn("node", m.tag_of(f"app-id/{APP}", "a")),
        Wish(TagCount(tags=("a",), whose=OfApplication(ApplicationId.parse(APP)), least=1)),
    ),
    (
        "of tagged ones",
        lambda m: m.of.targetIn("node", m.tag_of("app-tag/T", "a")),
        Wish(TagCount(tags=("a",), whose=OfTagged("t"), least=1)),
    ),
    (
        "attribute",
        lambda m: m.of.targetNodeAttribute("node", m.op.EQ, m.attribute("os", "debian12")),
        Wish(AttributeTest("os", "debian12")),
    ),
    (
        "not the attribute",
        lambda m: m.of.targetNodeAttribute("node", m.op.NE, m.attribute("rm.yarn.io/os", "debian12")),
        Wish(AttributeTest("os", "debian12", negated=True)),
    ),
    (
        "one of several values",
        lambda m: m.of.targetIn("node", m.attribute("os", "a", "b")),
        Wish(AnyOf((AttributeTest("os", "a"), AttributeTest("os", "b")))),
    ),
    (
        "partition",
        lambda m: m.of.targetIn("node", m.many("TargetExpression", m.to.nodePartition(m.words("tape")))),
        Wish(label="tape"),
    ),
    (
        "and, or",
        lambda m: m.joined(
            "and",
            m.of.targetIn("node", m.tag("a")),
            m.joined("or", m.of.targetNotIn("rack", m.tag("a")), m.of.targetIn("node", m.tag("a"))),
        ),
        Wish(AllOf((BESIDE, AnyOf((APART, BESIDE))))),
    ),
    (
        "one after the other",
        lambda m: m.of.delayedOr(
            m.many(
                "TimedPlacementConstraint",
                m.of.timedClockConstraint(m.of.targetIn("node", m.tag("a")), 30, m.seconds),
                m.of.timedOpportunitiesConstraint(m.of.targetNotIn("rack", m.tag("a")), 7),
            )
        ),
        Wish(DelayedOr((Timed(constraint=BESIDE, delay_s=30.0), Timed(constraint=APART, opportunities=7)))),
    ),
]


@pytest.mark.parametrize(("make", "meant"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_java_makes_is_understood(maker: Maker, make: Callable[[Maker], Any], meant: Wish) -> None:
    assert maker.read(make(maker)) == meant
