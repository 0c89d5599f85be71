"""Queues of ``fair-scheduler.xml`` (AllocationFileQueueParser): each element becomes a key of its queue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hrm.config.keys import KeyPath, suggest
from hrm.config.yarn import values
from hrm.config.yarn.findings import Notes
from hrm.config.yarn.properties import Place, properties_of
from hrm.config.yarn.xml import Element
from hrm.config.yarn.yaml_text import Block
from hrm.model.errors import InvalidInput
from hrm.model.queues import ROOT
from hrm.model.yarn_amounts import Form, parse_yarn_amounts

QUEUE_NAMES = ("queue", "pool")
_PROPERTIES = properties_of(Place.QUEUE)
_OLD_NAMES = {"schedulingMode": "schedulingPolicy"}
#: In which order a queue's keys are written.
_ORDER = tuple(dict.fromkeys(found.last_key for found in _PROPERTIES.values() if found.key))
_ATTRIBUTES = ("name", "type")
#: Of a queue that has others below it: YARN refuses the whole file.
_LEAVES_ONLY = ("maxAMShare", "reservation")


@dataclass(frozen=True, slots=True)
class Acls:
    """Whether this YARN looks at its queues' access control lists."""

    enabled: bool
    why_not: str = ""


class QueueReader:
    """Translates the queues of one file."""

    def __init__(self, notes: Notes, *, with_gpus: bool, acls: Acls) -> None:
        self._notes = notes
        self._with_gpus = with_gpus
        self._acls = acls
        #: Those below the root: (line, element, queue).
        self._submit_acls: list[tuple[int, str, str]] = []
        self._readers: dict[str, Callable[[Notes, Element, str], str | None]] = {
            "weight": lambda _, element, __: values.show_number(values.zero_or_more(element.text)),
            "minResources": self._read_amounts,
            "maxResources": self._read_amounts,
            "maxChildResources": self._read_amounts,
            "maxContainerAllocation": self._read_amounts,
            "maxRunningApps": lambda _, element, __: str(values.whole(element.text)),
            "maxAMShare": read_am_share,
            "schedulingPolicy": lambda _, element, __: str(values.policy(element.text)),
            "fairSharePreemptionTimeout": lambda _, element, __: values.show_seconds(values.whole(element.text)),
            "minSharePreemptionTimeout": lambda _, element, __: values.show_seconds(values.whole(element.text)),
            "fairSharePreemptionThreshold": read_threshold,
            "allowPreemptionFrom": lambda _, element, __: values.show_flag(values.true_or_false(element.text)),
            "aclSubmitApps": read_acl,
            "aclAdministerApps": read_acl,
        }

    def read_tree(self, elements: list[Element], root: Block, queues: Block) -> Element | None:
        """Translate the outermost queues: into ``root`` what is said of the root, into ``queues`` those below it.

        Gives the root's own element, if there is one.
        """
        own = next((one for one in elements if one.attributes.get("name", "").strip().lower() == ROOT), None)
        if own is None:
            self._read_children(elements, queues, "", ("queues",))
            self._say_of_acls(root)
            return None
        for other in elements:
            if other is not own:
                self._notes.wrong(
                    other.line, other.name, f"beside the root, which begins on line {own.line}",
                    next_step="put all queues into the one called root",
                )  # fmt: skip
        self._read_elements(own, root, ROOT, ("scheduler", "root"))
        self._read_children([one for one in own.children if one.name in QUEUE_NAMES], queues, "", ("queues",))
        self._say_of_acls(root)
        return own

    def _say_of_acls(self, root: Block) -> None:
        """Who is let in above is let in below, and YARN's root lets everybody in that it does not name."""
        if not self._acls.enabled:
            return
        if not root.has("submit_acl"):
            for line, name, of in self._submit_acls:
                self._notes.warn(line, name, "shuts nobody out, as in YARN: the root lets everybody in", of=of)
        if not root.has("admin_acl"):
            root.put("admin_acl", '"*"', comment="YARN's default, which nobody chose", off=True)

    def _read_children(self, elements: list[Element], block: Block, above: str, path: KeyPath) -> None:
        seen: dict[str, int] = {}
        for element in elements:
            name = element.attributes.get("name", "").strip()
            of = f"{above}.{name}" if above else name
            if not self._is_good_name(element, name, above):
                continue
            if name in seen:
                problem = f"declared twice, first on line {seen[name]}"
                self._notes.wrong(element.line, element.name, problem, of=of, next_step="keep one")
                continue
            seen[name] = element.line
            origin = self._notes.origin(element.line, element.name, of)
            below = block.below(name, comment=f"line {element.line}", origin=origin)
            self._read_elements(element, below, of, (*path, name))
            children = [one for one in element.children if one.name in QUEUE_NAMES]
            if children:
                self._read_children(children, below.below("queues"), of, (*path, name, "queues"))

    def _is_good_name(self, element: Element, name: str, above: str) -> bool:
        of = above or ROOT
        if not name:
            self._notes.wrong(element.line, element.name, "a queue without a name", of=of, next_step='add name="…"')
        elif "." in name:
            problem = f"a queue's own name has no dot: {name!r:.80}"
            self._notes.wrong(element.line, element.name, problem, of=of, next_step="nest it in its parent's element")
        elif name.lower() == ROOT:
            self._notes.wrong(element.line, element.name, "only the outermost queue is called root", of=of)
        else:
            return True
        return False

    def _read_elements(self, queue: Element, block: Block, of: str, path: KeyPath) -> None:
        is_root = of == ROOT and path[0] == "scheduler"
        self._check_attributes(queue, of)
        is_parent = is_root or queue.attributes.get("type") == "parent"
        is_parent = is_parent or any(child.name in QUEUE_NAMES for child in queue.children)
        if queue.attributes.get("type") == "parent" and not is_root:
            self._notes.honour(block, (*path, "type"), _PROPERTIES["type"], "parent", queue.line, of=of)
        seen: dict[str, int] = {}
        for element in queue.children:
            if element.name not in QUEUE_NAMES:
                self._read_element(element, block, of, path, seen=seen, is_parent=is_parent, is_root=is_root)
        block.sort((*_ORDER, "queues"))

    def _check_attributes(self, queue: Element, of: str) -> None:
        for name, value in queue.attributes.items():
            if name not in _ATTRIBUTES:
                self._notes.wrong(queue.line, name, "unknown attribute", of=of, next_step=suggest(name, _ATTRIBUTES))
            elif name == "type" and value != "parent":
                problem = f"unknown type {value!r:.40}"
                self._notes.wrong(queue.line, name, problem, of=of, next_step='write type="parent", or nothing')

    def _read_element(
        self, element: Element, block: Block, of: str, path: KeyPath, *,
        seen: dict[str, int], is_parent: bool, is_root: bool,
    ) -> None:  # fmt: skip
        written = element.name
        name = _OLD_NAMES.get(written, written)
        found = _PROPERTIES.get(name) if name != "type" else None
        if found is None:
            known = [*(one for one in _PROPERTIES if one != "type"), *QUEUE_NAMES]
            self._notes.wrong(element.line, written, "unknown element", of=of, next_step=suggest(written, known))
            return
        if name in seen:
            problem = f"given twice, first on line {seen[name]}"
            self._notes.wrong(element.line, written, problem, of=of, next_step="keep one")
            return
        seen[name] = element.line
        if is_parent and not is_root and name in _LEAVES_ONLY:
            problem = "only a queue without queues below can have it"
            self._notes.wrong(element.line, written, problem, of=of, next_step="remove it, or write it below")
            return
        if not found.key:
            self._notes.not_applicable(element.line, written, found.note, of=of)
            return
        if is_root and name in ("weight", "minResources"):
            self._notes.not_applicable(element.line, written, "the root shares with nobody", of=of)
            return
        if is_root and name == "maxAMShare":
            self._notes.not_applicable(element.line, written, "no application is in the root itself", of=of)
            return
        try:
            _is_plain(element)
            value = self._readers[name](self._notes, element, of)
        except InvalidInput as error:
            self._notes.error(element.line, written, error, of=of)
            return
        if value is None:
            return
        if name.startswith("acl") and not self._acls.enabled:
            self._notes.not_applicable(element.line, written, self._acls.why_not, of=of)
            block.put(found.last_key, value, comment=f"{written}, line {element.line}: switched off", off=True)
            return
        if name == "aclSubmitApps" and not is_root:
            self._submit_acls.append((element.line, written, of))
        here: KeyPath = (*path, found.last_key)
        if is_root and name == "schedulingPolicy":
            return  # `Importer` writes it as scheduler.policy, with what it is without this element
        self._notes.honour(block, here, found, value, element.line, of=of, name=written)

    def _read_amounts(self, notes: Notes, element: Element, of: str) -> str | None:
        return read_amounts(notes, element, of, with_gpus=self._with_gpus)


def read_amounts(notes: Notes, element: Element, of: str, *, with_gpus: bool) -> str | None:
    """A share; None iff it sets no limit or promises nothing."""
    amounts = parse_yarn_amounts(element.text)
    for remark in amounts.remarks:
        notes.warn(element.line, element.name, remark, of=of)
    for name in values.others(amounts):
        notes.not_applicable(element.line, f"{element.name} of {name}", "HRM does not share out this resource", of=of)
    if amounts.is_percent:
        if element.name in ("minResources", "maxContainerAllocation"):
            notes.not_applicable(element.line, element.name, "YARN reads no percentage here and ignores it", of=of)
            return None
        for _, percent in amounts.percents:
            if percent > 100:
                notes.warn(element.line, element.name, "more than the whole cluster counts as all of it", of=of)
    no_gpus = with_gpus and element.name != "minResources" and amounts.form in (Form.PLAIN, Form.PLAIN_PERCENT)
    if no_gpus:
        notes.warn(element.line, element.name, "means no GPUs in YARN, because it does not name them", of=of)
    value = values.show_amounts(amounts, no_gpus=no_gpus)
    return None if value == "{}" else value


def read_am_share(notes: Notes, element: Element, of: str) -> str:
    """maxAMShare: -1 switches it off, above 1 is 1."""
    share = values.number(element.text)
    if abs(share + 1) < 0.0001:
        return "none"
    if share < 0:
        raise InvalidInput(f"cannot be negative: {element.text}", next_step="write -1 for no limit")
    if share > 1:
        notes.warn(element.line, element.name, "counts as 1", of=of)
    return values.show_number(min(share, 1.0))


def read_acl(notes: Notes, element: Element, of: str) -> str:
    """An access control list, of which YARN counts every space."""
    if element.raw_text.lstrip(" ").startswith(("\n", "\t", "\r")):
        notes.warn(element.line, element.name, "begins on another line: YARN reads what comes first as no users", of=of)
    return values.show_acl(element.raw_text)


def read_threshold(notes: Notes, element: Element, of: str) -> str:
    """A threshold of preemption: YARN holds it between 0 and 1."""
    threshold = values.number(element.text)
    held = min(max(threshold, 0.0), 1.0)
    if held != threshold:
        notes.warn(element.line, element.name, f"counts as {values.show_number(held)}", of=of)
    return values.show_number(held)


def _is_plain(element: Element) -> None:
    if element.children:
        raise InvalidInput(f"has <{element.children[0].name}> inside, and is to have a value")
    if not element.text and not element.name.startswith("acl"):
        raise InvalidInput("is empty", next_step="write a value, or remove it")
