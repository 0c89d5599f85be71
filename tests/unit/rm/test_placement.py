"""Which queue a job goes into, by the rules of YARN's queuePlacementPolicy."""

from __future__ import annotations

from typing import Any

import pytest

from hrm.model.errors import Forbidden
from hrm.model.placement import PlacementPolicy, PlacementRule, Rule, Submitter, queue_name_of
from hrm.model.queues import MAX_DEPTH, QueueSpec, QueueType
from hrm.rm.placement import Placer
from hrm.testing.builders import queue, queues

ADA = Submitter(user="ada", groups=("staff", "wheel", "gpu", "vision"))
TREE = queues(
    queue("default"),
    queue("gpu"),
    queue("vision"),
    queue("staff", queue("shared"), queue("alice", undeclared=True)),
    queue("users", type=QueueType.PARENT),
)


def rule(kind: str, **more: Any) -> PlacementRule:
    return PlacementRule(rule=Rule(kind), **more)


def placed(
    *rules: PlacementRule, named: str | None = None, who: Submitter = ADA, may_make: bool = True, tree: QueueSpec = TREE
) -> str | None:
    policy = PlacementPolicy(rules=rules or None, undeclared_queues=may_make)
    found = Placer(policy, dict(tree.walk()).get).place(named, who)
    return None if found is None else found.queue


def test_without_rules_a_job_goes_where_it_says_and_else_to_the_default_queue() -> None:
    assert placed(named="staff.shared", may_make=False) == "staff.shared"
    assert placed(may_make=False) == "default"
    assert placed(named="no_such", may_make=False) is None


@pytest.mark.parametrize("nothing", [None, "default"])
def test_only_plain_default_names_no_queue(nothing: str | None) -> None:
    rules = (rule("specified"), rule("user"))

    assert placed(*rules, named=nothing) == "ada"
    assert placed(*rules, named="root.default") == "default"
    assert placed(*rules, named="root.gpu") == "gpu"


def test_the_first_rule_that_gives_a_queue_counts() -> None:
    rules = (rule("specified", create=False), rule("secondary_group"), rule("default"))

    assert placed(*rules, named="staff.shared") == "staff.shared"
    assert placed(*rules, named="no_such") == "gpu"
    assert placed(*rules, who=Submitter(user="eve", groups=("gpu",))) == "default"


def test_the_primary_group_is_no_secondary_one() -> None:
    assert placed(rule("secondary_group"), who=Submitter(user="eve", groups=("gpu", "vision"))) == "vision"


def test_a_rule_makes_its_queue_unless_it_says_create_false() -> None:
    assert placed(rule("user")) == "ada"
    assert placed(rule("user", create=False), rule("default")) == "default"
    assert placed(rule("user"), rule("default"), may_make=False) == "default"


def test_without_create_what_was_made_for_others_does_not_count() -> None:
    alice = Submitter(user="alice", groups=("staff",))
    below_group = {"parent": rule("primary_group")}

    assert placed(rule("nested", create=False, **below_group), rule("default"), who=alice) == "default"
    assert placed(rule("nested", **below_group), who=alice) == "staff.alice"


def test_a_nested_rule_gives_the_users_queue_below_what_its_parent_gives() -> None:
    assert placed(rule("nested", parent=rule("primary_group"))) == "staff.ada"
    assert placed(rule("nested", parent=rule("default", queue="users"))) == "users.ada"
    assert placed(rule("nested", parent=rule("specified")), named="new.team") == "new.team.ada"


def test_a_nested_rule_whose_parent_is_a_leaf_or_gives_nothing_gives_nothing() -> None:
    assert placed(rule("nested", parent=rule("specified")), rule("default"), named="gpu") == "default"
    assert placed(rule("nested", parent=rule("specified")), rule("default")) == "default"
    nobody = Submitter(user="ada")
    assert placed(rule("nested", parent=rule("primary_group")), rule("default"), who=nobody) == "default"


def test_nothing_is_made_below_a_leaf_nor_too_deep_nor_with_a_name_that_is_none() -> None:
    for named in ("gpu.mine", ".".join("abcdefghijklmnopq"), "a..b", "two words", "a.root.b", "root"):
        assert placed(rule("specified"), rule("default"), named=named) in ("default", "root"), named
    assert len("abcdefghijklmnopq") > MAX_DEPTH


def test_a_job_that_reaches_reject_is_refused_with_the_rules_number() -> None:
    with pytest.raises(Forbidden, match=r"ada: rule 2 of scheduler\.placement"):
        placed(rule("specified", create=False), rule("reject"), named="no_such")


def test_the_rule_that_placed_it_is_told() -> None:
    nested = rule("nested", parent=rule("primary_group"))

    found = Placer(PlacementPolicy(rules=(nested,), undeclared_queues=True), dict(TREE.walk()).get).place(None, ADA)

    assert found is not None
    assert found.rule == "nested below primary_group"


@pytest.mark.parametrize(
    ("user", "name"),
    [
        ("ada.lovelace", "ada_dot_lovelace"),
        ("ada@example.org", "ada_at_example_dot_org"),
        ("-x", "_u2d_x"),
        ("müller", "m_ufc_ller"),
        ("root", "_root"),
        ("www-data", "www-data"),
    ],
)
def test_any_users_name_becomes_a_queues_name(user: str, name: str) -> None:
    assert queue_name_of(user) == name
    QueueSpec(name=name)
    assert placed(rule("user"), who=Submitter(user=user)) == name


def test_queues_that_would_be_made_are_told_from_above() -> None:
    placer = Placer(PlacementPolicy(undeclared_queues=True), dict(TREE.walk()).get)

    assert placer.made("new.team.ada") == ["new", "new.team", "new.team.ada"]
    assert placer.made("staff.ada") == ["staff.ada"]
    assert placer.made("gpu") == []
