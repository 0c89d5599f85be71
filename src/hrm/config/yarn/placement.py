"""Rules that place applications in queues (QueuePlacementPolicy and its rules)."""

from __future__ import annotations

from dataclasses import dataclass

from hrm.config.keys import suggest
from hrm.config.yarn import values
from hrm.config.yarn.findings import Notes
from hrm.config.yarn.xml import Element
from hrm.config.yarn.yaml_text import flow_map, quoted
from hrm.model.queues import canonical_path

#: YARN's name: HRM's.
_RULES = {
    "specified": "specified",
    "user": "user",
    "primaryGroup": "primary_group",
    "secondaryGroupExistingQueue": "secondary_group",
    "nestedUserQueue": "nested",
    "default": "default",
    "reject": "reject",
}
#: These end the list if they may create queues: they always find one.
_ENDING = ("user", "primaryGroup", "nestedUserQueue", "default")
#: What may say below which queue another rule's lies.
_PARENTS = ("specified", "user", "primaryGroup", "secondaryGroupExistingQueue", "default")
#: Whose queue may lie below that of another rule.
_WITH_PARENT = ("user", "nestedUserQueue", "primaryGroup", "secondaryGroupExistingQueue")
_ATTRIBUTES = ("name", "create", "queue")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, by YARN's name."""

    name: str
    create: bool = True
    #: Of the rule `default`; "" iff it is the queue called default.
    queue: str = ""
    parent: Rule | None = None

    @property
    def ends(self) -> bool:
        """True iff nothing gets past it."""
        if self.name == "reject":
            return True
        return self.name in _ENDING and self.create and (self.parent is None or self.parent.ends)

    def show(self) -> str:
        """As one line of ``scheduler.placement``."""
        pairs = [("rule", _RULES[self.name])]
        if self.name not in ("reject", "secondaryGroupExistingQueue"):
            pairs.append(("create", values.show_flag(self.create)))
        if self.queue:
            pairs.append(("queue", quoted(self.queue)))
        if self.parent is not None:
            pairs.append(("parent", self.parent.show()))
        return flow_map(pairs)


def rules_without_policy(*, create: bool, user_as_default: bool) -> list[Rule]:
    """What YARN does where the file has no queuePlacementPolicy."""
    rules = [Rule("specified", create)]
    if user_as_default:
        rules.append(Rule("user", create))
    if not user_as_default or not create:
        rules.append(Rule("default"))
    return rules


def read_policy(notes: Notes, policy: Element) -> list[Rule]:
    """The rules in order; what is wrong with them is noted."""
    rules: list[Rule] = []
    ended: Element | None = None
    for element in policy.children:
        if element.name.lower() != "rule":
            notes.wrong(element.line, element.name, "unknown element", next_step="a policy is made of <rule> elements")
            continue
        rule = _read_rule(notes, element)
        if rule is None:
            return rules
        if ended is not None:
            problem = f"is never reached: the rule on line {ended.line} always finds a queue"
            notes.wrong(element.line, "rule", problem, next_step="remove it, or put it above")
            ended = None
        if rule.ends:
            ended = element
        rules.append(rule)
    if not rules:
        notes.wrong(policy.line, policy.name, "has no rules", next_step="remove it, or add a <rule>")
    elif not rules[-1].ends:
        problem = "an application can get past the last rule"
        notes.wrong(policy.line, policy.name, problem, next_step='end it with <rule name="default"/> or "reject"')
    return rules


def _read_rule(notes: Notes, element: Element, *, is_parent: bool = False) -> Rule | None:
    name = element.attributes.get("name", "")
    known = _PARENTS if is_parent else tuple(_RULES)
    if name not in known:
        problem = f"unknown rule: {name!r:.60}" if name else "a rule without a name"
        if name in _RULES:
            problem = f"{name} cannot say below which queue another rule's lies"
        notes.wrong(element.line, "rule", problem, next_step=suggest(name, known))
        return None
    for attribute in element.attributes:
        if attribute not in _ATTRIBUTES:
            next_step = suggest(attribute, _ATTRIBUTES)
            notes.wrong(element.line, "rule", f"unknown attribute {attribute!r}", next_step=next_step)
    children = [child for child in element.children if child.name.lower() == "rule"]
    parent = _read_rule(notes, children[-1], is_parent=True) if children else None
    if children and parent is None:
        return None
    if len(children) > 1:
        notes.warn(element.line, "rule", "of several rules inside it YARN takes the last")
    if name == "nestedUserQueue" and parent is None:
        problem = "does not say under which queue the user's own lies"
        notes.wrong(element.line, "rule", problem, next_step="put another <rule> into it")
        return None
    if parent is not None and name not in _WITH_PARENT:
        notes.wrong(element.line, "rule", f"{name} with another rule inside", next_step="remove the inner one")
        return None
    queue = element.attributes.get("queue", "").strip()
    if queue and name != "default":
        notes.warn(element.line, "rule", f"YARN reads no queue of the rule {name}")
        queue = ""
    # YARN takes any word but true for false.
    create = element.attributes.get("create", "") or "true"
    return Rule(name, create.strip().lower() == "true", canonical_path(queue) if queue else "", parent)
