"""``fair-scheduler.xml`` and ``yarn-site.xml`` as one ``hrm.yaml`` that behaves alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hrm.config.documents import BadDocument, Document, Finding
from hrm.config.keys import KeyPath, show_path, suggest
from hrm.config.loader import parse_config
from hrm.config.values import HrmConfig
from hrm.config.yarn import values
from hrm.config.yarn.findings import YARNS_DEFAULT, Notes
from hrm.config.yarn.placement import Rule, read_policy, rules_without_policy
from hrm.config.yarn.properties import Place, properties_of
from hrm.config.yarn.queues import QUEUE_NAMES, QueueReader, read_am_share, read_amounts, read_threshold
from hrm.config.yarn.report import ImportReport
from hrm.config.yarn.scheduler import ALLOW_UNDECLARED, USER_AS_DEFAULT, SchedulerReader
from hrm.config.yarn.site import Site
from hrm.config.yarn.xml import Element, load_xml
from hrm.config.yarn.yaml_text import Block, Entry, Origin, printable
from hrm.model.errors import InvalidInput
from hrm.model.queues import Policy

_PROPERTIES = properties_of(Place.ALLOCATIONS)
_OLD_NAMES = {
    "defaultQueueSchedulingMode": "defaultQueueSchedulingPolicy",
    "fairSharePreemptionTimeout": "defaultFairSharePreemptionTimeout",
}
_MANY = (*QUEUE_NAMES, "user")
_ROOT_ORDER = (
    "max_share", "max_child_share", "max_container", "max_running_apps", "max_running_apps_per_user",
    "max_running_apps_of_users", "fair_share_preemption_timeout", "fair_share_preemption_threshold",
    "min_share_preemption_timeout", "preemptable", "submit_acl", "admin_acl",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import has made."""

    #: The ``hrm.yaml``.
    text: str
    #: What it means.
    config: HrmConfig
    report: ImportReport


def import_fair_scheduler(path: Path, yarn_site: Path | None = None) -> Imported:
    """Translate YARN's files, without writing anything.

    Raises InvalidInput where a file cannot be read, BadDocument with every finding of both where one is wrong.
    """
    findings: list[Finding] = []
    roots: list[Element | None] = []
    for file in (path, yarn_site):
        try:
            roots.append(None if file is None else load_xml(file))
        except BadDocument as error:
            findings += error.findings
            roots.append(None)
    allocations = roots[0] or Element("allocations", 1)
    site = Site(roots[1], str(yarn_site or ""))
    importer = _Importer(path, allocations, site, findings)
    importer.translate()
    return importer.result()


class _Importer:
    def __init__(self, path: Path, allocations: Element, site: Site, findings: list[Finding]) -> None:
        self._path = path
        self._allocations = allocations
        self._site = site
        self._findings = findings
        self._report = ImportReport()
        self._notes = Notes(str(path), self._report, findings)
        self._site_reader = SchedulerReader(Notes(site.source, self._report, findings), site)
        self._with_gpus = self._site_reader.knows_gpus(list(_texts(allocations)))
        self._once: dict[str, Element] = {}
        self._whole = Block()

    def translate(self) -> None:
        if self._allocations.name != "allocations":
            problem = f"is no allocation file: it begins with <{self._allocations.name}>, not <allocations>"
            next_step = "give fair-scheduler.xml first, then yarn-site.xml"
            self._notes.wrong(self._allocations.line, "", problem, next_step=next_step)
            return
        self._collect()
        scheduler = self._whole.below("scheduler")
        queues = Block()
        root = Block()
        own = self._reader().read_tree(
            [one for one in self._allocations.children if one.name in QUEUE_NAMES], root, queues
        )
        self._put_policy(scheduler, own)
        self._put_defaults_of_queues(scheduler, root)
        self._put_users(root)
        self._put_preemption(root)
        self._site_reader.read_limits(root)
        root.sort(_ROOT_ORDER)
        if root.entries:
            scheduler.entries.append(Entry("root", block=root, comment="limits of all queues together"))
        self._put_placement(scheduler, queues)
        self._site_reader.read(scheduler)
        self._whole.entries.append(Entry("queues", block=queues))
        self._findings += self._site.findings

    def result(self) -> Imported:
        """Raises BadDocument with what YARN's files and, after that, HRM's own checks have found."""
        names = self._path.name if not self._site.given else f"{self._path.name} and {Path(self._site.source).name}"
        head = f"# Made from {printable(names)} by `hrm config import`. Each key says where it comes from."
        text = "\n".join([head, *self._whole.lines(), ""])
        config: HrmConfig | None = None
        try:
            config = parse_config(Document(text, "hrm.yaml"))
        except BadDocument as error:
            self._findings += self._traced(error.findings)
        if self._findings:
            raise BadDocument(set(self._findings))
        assert config is not None, "what cannot be parsed has findings"
        return Imported(text, config, self._report)

    def _traced(self, findings: tuple[Finding, ...]) -> list[Finding]:
        """What HRM found in its own words, at the lines of YARN's files that it comes from."""
        origins = [(show_path(path), origin) for path, origin in self._whole.origins()]
        origins.sort(key=lambda one: len(one[0]), reverse=True)
        traced = []
        for one in findings:
            for key, origin in origins:
                if one.key == key or one.key.startswith((f"{key}.", f"{key}[")):
                    traced.append(Finding(origin.source, origin.line, origin.name, one.problem, one.next_step))
                    break
            else:
                traced.append(one)
        return traced

    def _reader(self) -> QueueReader:
        return QueueReader(self._notes, with_gpus=self._with_gpus, acls=self._site_reader.acls())

    def _collect(self) -> None:
        """The elements that are there once, by their present names; what is wrong with the rest is noted."""
        for element in self._allocations.children:
            found = _PROPERTIES.get(element.name)
            name = _OLD_NAMES.get(element.name, element.name)
            if found is None:
                self._notes.wrong(
                    element.line, element.name, "unknown element", next_step=suggest(element.name, _PROPERTIES)
                )
            elif not found.key:
                self._notes.not_applicable(element.line, element.name, found.note)
            elif name not in _MANY and name in self._once:
                problem = f"given twice, first on line {self._once[name].line}"
                self._notes.wrong(element.line, element.name, problem, next_step="keep one")
            elif name not in _MANY:
                self._once[name] = element

    def _value(self, name: str, read: Callable[[Notes, Element, str], str | None]) -> str | None:
        """The value of an element that is there once; None iff it is not there or wrong."""
        element = self._once.get(name)
        if element is None:
            return None
        try:
            if element.children or not element.text:
                raise InvalidInput("is to have a value")
            return read(self._notes, element, "")
        except InvalidInput as error:
            self._notes.error(element.line, element.name, error)
            return None

    def _put(self, block: Block, path: KeyPath, name: str, value: str | None, *, of: str = "") -> None:
        if value is not None:
            element = self._once[name]
            self._notes.honour(block, path, _PROPERTIES[name], value, element.line, of=of, name=element.name)

    def _put_policy(self, scheduler: Block, root: Element | None) -> None:
        """Of the root: its own policy, else that of all queues, else YARN's."""
        found = _PROPERTIES["defaultQueueSchedulingPolicy"]
        for element in root.children if root is not None else ():
            if element.name in ("schedulingPolicy", "schedulingMode"):
                try:
                    value = str(values.policy(element.text))
                except InvalidInput:
                    return  # noted with the root's other elements
                self._notes.honour(
                    scheduler, ("scheduler", "policy"), found, value, element.line, of="root", name=element.name
                )
                return
        element_of_all = self._once.get("defaultQueueSchedulingPolicy")
        value_of_all = self._value("defaultQueueSchedulingPolicy", _read_default_policy)
        if element_of_all is None:
            self._notes.default(scheduler, ("scheduler", "policy"), str(Policy.FAIR))
        elif value_of_all is not None:
            self._put(scheduler, ("scheduler", "policy"), "defaultQueueSchedulingPolicy", value_of_all, of="root")

    def _put_defaults_of_queues(self, scheduler: Block, root: Block) -> None:
        defaults = scheduler.below("queue_defaults", comment="of queues that do not say otherwise")
        for name, read in (
            ("defaultQueueSchedulingPolicy", _read_default_policy),
            ("queueMaxAppsDefault", _read_count),
            ("queueMaxResourcesDefault", self._read_amounts),
            ("queueMaxAMShareDefault", read_am_share),
        ):
            found = _PROPERTIES[name]
            path = ("scheduler", "queue_defaults", found.last_key)
            if name not in self._once:
                if found.default:
                    self._notes.default(defaults, path, found.default)
                continue
            value = self._value(name, read)
            self._put(defaults, path, name, value)
            if found.last_key in ("max_running_apps", "max_share") and not root.has(found.last_key):
                self._put(root, ("scheduler", "root", found.last_key), name, value, of="root")
                if value is not None:
                    self._notes.warn(self._once[name].line, name, "limits also the root, as in YARN", of="root")
        if not defaults.entries:
            scheduler.entries.pop()

    def _put_users(self, root: Block) -> None:
        self._put(
            root, ("scheduler", "root", "max_running_apps_per_user"), "userMaxAppsDefault",
            self._value("userMaxAppsDefault", _read_count),
        )  # fmt: skip
        limits = Block()
        seen: dict[str, int] = {}
        for user in self._allocations.children:
            if user.name == "user":
                self._read_user(user, limits, seen)
        if limits.entries:
            root.entries.append(Entry("max_running_apps_of_users", block=limits))

    def _read_user(self, user: Element, limits: Block, seen: dict[str, int]) -> None:
        name = user.attributes.get("name", "").strip()
        if not name:
            self._notes.wrong(user.line, "user", "a user without a name", next_step='add name="…"')
            return
        if name in seen:
            self._notes.wrong(user.line, "user", f"{name!r:.80} is given twice, first on line {seen[name]}")
            return
        seen[name] = user.line
        for element in user.children:
            if element.name != "maxRunningApps":
                next_step = "a user has maxRunningApps only"
                self._notes.wrong(element.line, element.name, "unknown element", of=name, next_step=next_step)
                continue
            try:
                count = str(values.whole(element.text))
            except InvalidInput as error:
                self._notes.error(element.line, element.name, error, of=name)
                continue
            key = "scheduler.root.max_running_apps_of_users"
            origin = self._notes.origin(element.line, "maxRunningApps", name)
            self._notes.honoured(element.line, "user", f"{key}.{name}", count, of=name)
            limits.put(name, count, comment=f"user, line {element.line}", origin=origin)

    def _put_preemption(self, root: Block) -> None:
        for name, read in (
            ("defaultFairSharePreemptionTimeout", _read_seconds),
            ("defaultFairSharePreemptionThreshold", read_threshold),
            ("defaultMinSharePreemptionTimeout", _read_seconds),
        ):
            key = _PROPERTIES[name].last_key
            value = self._value(name, read)
            if value is not None and root.has(key):
                element = self._once[name]
                self._notes.not_applicable(element.line, element.name, "the root says so itself")
            else:
                self._put(root, ("scheduler", "root", key), name, value)

    def _put_placement(self, scheduler: Block, queues: Block) -> None:
        create = self._site_reader.flag(ALLOW_UNDECLARED, default=True)
        user_as_default = self._site_reader.flag(USER_AS_DEFAULT, default=True)
        policy = self._once.get("queuePlacementPolicy")
        if policy is None:
            rules = rules_without_policy(create=create, user_as_default=user_as_default)
            comment = f"{YARNS_DEFAULT}, or what yarn-site.xml says"
            origin: Origin | None = None
        else:
            rules = read_policy(self._notes, policy)
            create = True
            comment = f"queuePlacementPolicy, line {policy.line}"
            origin = self._notes.origin(policy.line, policy.name)
        self._declare_targets(rules, queues, origin)
        self._put_rules(scheduler, rules, comment, policy, origin)
        value = values.show_flag(create)
        scheduler.put("undeclared_queues", value, comment=comment, origin=origin)
        if policy is None:
            self._site_reader.also(ALLOW_UNDECLARED, "scheduler.undeclared_queues", value)
            self._site_reader.also(USER_AS_DEFAULT, "scheduler.placement", "user" if user_as_default else "default")
        else:
            for name in (ALLOW_UNDECLARED, USER_AS_DEFAULT):
                self._site_reader.ignored(name, f"YARN ignores it beside queuePlacementPolicy (line {policy.line})")

    def _put_rules(
        self, scheduler: Block, rules: list[Rule], comment: str, policy: Element | None, origin: Origin | None
    ) -> None:
        if not rules:
            return
        shown = [rule.show() for rule in rules]
        scheduler.put_list("placement", shown, comment=comment, origin=origin)
        if policy is not None:
            self._notes.honoured(policy.line, policy.name, "scheduler.placement", ", ".join(shown))

    def _declare_targets(self, rules: list[Rule], queues: Block, origin: Origin | None) -> None:
        """YARN makes the queue of a rule `default` when it is first needed; in ``hrm.yaml`` it must be declared."""
        for rule in rules:
            for one, holds_queues in ((rule, False), (rule.parent, True)):
                if one is not None and one.queue and one.create:
                    _declare(queues, one.queue.split("."), origin, holds_queues=holds_queues)

    def _read_amounts(self, notes: Notes, element: Element, of: str) -> str | None:
        return read_amounts(notes, element, of, with_gpus=self._with_gpus)


def _declare(queues: Block, names: list[str], origin: Origin | None, *, holds_queues: bool) -> None:
    """Nothing is put below a leaf: that no such queue can be made is found later, by HRM's own rules."""
    block = queues
    for depth, name in enumerate(names):
        last = depth == len(names) - 1
        found = next((entry.block for entry in block.entries if entry.key == name and entry.block is not None), None)
        if found is None:
            found = block.below(name, comment="named by queuePlacementPolicy", origin=origin)
            if not last:
                block = found.below("queues")
            elif holds_queues:
                found.put("type", "parent", origin=origin)
            continue
        if last:
            return
        inner = next((entry.block for entry in found.entries if entry.key == "queues"), None)
        if inner is None and not found.has("type"):
            return
        block = inner or found.below("queues")


def _texts(element: Element) -> Iterator[str]:
    yield element.text
    for child in element.children:
        yield from _texts(child)


def _read_default_policy(_: Notes, element: Element, __: str) -> str:
    policy = values.policy(element.text)
    if policy is Policy.FIFO:
        raise InvalidInput("cannot be fifo, which is no policy for queues with queues below", next_step="fair or drf")
    return str(policy)


def _read_count(_: Notes, element: Element, __: str) -> str:
    return str(values.whole(element.text))


def _read_seconds(_: Notes, element: Element, __: str) -> str:
    return values.show_seconds(values.whole(element.text))
