"""Rules of ``hrm.yaml`` about `scheduler.placement`: every job must find its queue, and every rule its turn."""

from __future__ import annotations

from hrm.config.documents import Document
from hrm.config.keys import KeyPath, nearest
from hrm.config.queue_rules import declared_leaves
from hrm.config.schema import ConfigShape, PlacementShape
from hrm.config.trees import placement_policy
from hrm.model.placement import PlacementRule, Rule
from hrm.model.queues import canonical_path

_RULES: KeyPath = ("scheduler", "placement")
#: Rules whose queue may lie below that of another rule.
_WITH_PARENT = (Rule.NESTED, Rule.USER, Rule.PRIMARY_GROUP, Rule.SECONDARY_GROUP)


def check_placement(document: Document, shape: ConfigShape) -> None:
    """Add a finding for each rule that is broken."""
    scheduler = shape.scheduler
    if scheduler is None or scheduler.placement is None:
        return
    for number, rule in enumerate(scheduler.placement):
        check_rule(document, (*_RULES, number), rule, shape, places_below=False)
    policy = placement_policy(scheduler)
    check_order(document, policy.rules or (), may_create=policy.undeclared_queues)


def check_rule(
    document: Document, path: KeyPath, rule: PlacementShape, shape: ConfigShape, *, places_below: bool
) -> None:
    """``places_below``: it is a parent of another rule."""
    if rule.queue is not None:
        check_queue(document, path, rule, shape, places_below=places_below)
    elif rule.rule is Rule.DEFAULT and places_below:
        problem = "the default queue is a leaf, below which no queue can lie"
        document.add(path, problem, next_step="add the `queue` of type parent that is meant")
    if rule.create is not None and rule.rule in (Rule.REJECT, Rule.SECONDARY_GROUP):
        document.add((*path, "create"), f"{rule.rule} never makes a queue", next_step="leave it out")
    if rule.parent is None:
        if rule.rule is Rule.NESTED:
            document.add(path, "nested needs a parent", next_step="add for example `parent: {rule: primary_group}`")
    elif rule.rule not in _WITH_PARENT:
        document.add((*path, "parent"), f"{rule.rule} has no parent", next_step="leave it out")
    elif rule.parent.rule in (Rule.REJECT, Rule.NESTED):
        document.add((*path, "parent", "rule"), f"{rule.parent.rule} cannot be a parent")
    else:
        check_rule(document, (*path, "parent"), rule.parent, shape, places_below=True)


def check_queue(
    document: Document, path: KeyPath, rule: PlacementShape, shape: ConfigShape, *, places_below: bool
) -> None:
    if rule.rule is not Rule.DEFAULT:
        document.add((*path, "queue"), f"{rule.rule} finds its queue by itself", next_step="leave it out")
        return
    assert rule.queue is not None, "asked only where there is one"
    leaves, wanted = declared_leaves(shape), canonical_path(rule.queue)
    if wanted not in leaves:
        near = nearest(wanted, leaves)
        document.add(
            (*path, "queue"),
            f"no such queue: {wanted!r}",
            next_step=f"did you mean {near!r}?" if near else "declare it",
        )
    elif leaves[wanted] is places_below:
        problem = "jobs go into it; queues cannot lie below it" if places_below else "is for queues below it"
        document.add((*path, "queue"), f"{wanted}: {problem}", next_step="name another queue")


def check_order(document: Document, rules: tuple[PlacementRule, ...], *, may_create: bool) -> None:
    if not rules:
        document.add(_RULES, "has no rules", next_step="leave it out, or end it with {rule: default}")
        return
    for number, rule in enumerate(rules[:-1]):
        if rule.always_places(may_create=may_create):
            problem = f"is never asked: {rule} before it places every job"
            document.add((*_RULES, number + 1), problem, next_step="leave it out, or move it up")
            return
    if not rules[-1].always_places(may_create=may_create):
        problem = f"a job for which {rules[-1]} finds nothing would go nowhere"
        document.add((*_RULES, len(rules) - 1), problem, next_step="end with {rule: default} or {rule: reject}")
