"""Properties of ``yarn-site.xml``, and YARN's defaults where it has none: the section `scheduler` of ``hrm.yaml``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from hrm.config.keys import nearest
from hrm.config.yarn import values
from hrm.config.yarn.findings import Notes
from hrm.config.yarn.properties import ELSEWHERE, Place, Property, properties_of
from hrm.config.yarn.queues import Acls
from hrm.config.yarn.site import Site, SiteProperty
from hrm.config.yarn.yaml_text import Block, flow_map
from hrm.model.errors import InvalidInput
from hrm.model.units import format_memory

PREFIX = "yarn.scheduler.fair."
USER_AS_DEFAULT = f"{PREFIX}user-as-default-queue"
ALLOW_UNDECLARED = f"{PREFIX}allow-undeclared-pools"
ACL_ENABLE = "yarn.acl.enable"
_CLASS = "yarn.resourcemanager.scheduler.class"
_THRESHOLD = "yarn.scheduler.reservation-threshold.increment-multiple"
_INCREMENTS = ("yarn.scheduler.increment-allocation-mb", "yarn.scheduler.increment-allocation-vcores")
_LARGEST = (
    ("cpus", "yarn.scheduler.maximum-allocation-vcores"),
    ("memory", "yarn.scheduler.maximum-allocation-mb"),
    ("gpus", "yarn.resource-types.yarn.io/gpu.maximum-allocation"),
)
_GPU = "yarn.io/gpu"
_PROPERTIES = properties_of(Place.SITE)


def _flag(text: str) -> str:
    return values.show_flag(values.true_or_false(text))


def _number(text: str) -> str:
    return values.show_number(values.number(text))


def _milliseconds(text: str) -> str:
    return values.show_seconds(Fraction(values.whole(text), 1000))


def _delay(text: str) -> str:
    """Nothing iff it is negative: nothing waits then."""
    return _milliseconds(text) if values.whole(text, least=-(1 << 63)) >= 0 else ""


def _most_containers(text: str) -> str:
    count = values.whole(text, least=-(1 << 31))
    return str(count) if count > 0 else ""


#: How each value becomes that of its key; "" iff it sets none. In the order in which keys are written.
_READERS: dict[str, Callable[[str], str]] = {
    f"{PREFIX}preemption": _flag,
    f"{PREFIX}preemption.cluster-utilization-threshold": _number,
    f"{PREFIX}waitTimeBeforeKill": _milliseconds,
    f"{PREFIX}assignmultiple": _flag,
    f"{PREFIX}dynamic.max.assign": _flag,
    f"{PREFIX}max.assign": _most_containers,
    f"{PREFIX}locality.threshold.node": _number,
    f"{PREFIX}locality.threshold.rack": _number,
    f"{PREFIX}continuous-scheduling-enabled": _flag,
    f"{PREFIX}locality-delay-node-ms": _delay,
    f"{PREFIX}locality-delay-rack-ms": _delay,
    f"{PREFIX}reservable-nodes": _number,
    "yarn.am.liveness-monitor.expiry-interval-ms": _milliseconds,
}
_ELSEWHERE_READ = {_THRESHOLD, *_INCREMENTS, *(name for _, name in _LARGEST), USER_AS_DEFAULT, ALLOW_UNDECLARED}


class SchedulerReader:
    """Translates one ``yarn-site.xml``, or none."""

    def __init__(self, notes: Notes, site: Site) -> None:
        self._notes = notes
        self._site = site

    def read(self, block: Block) -> None:
        """Write what concerns all queues into ``block``, and account for every property of the file."""
        for name, read in _READERS.items():
            self._read_key(block, _PROPERTIES[name], read)
        self._read_threshold(block)
        for line, element in self._site.unread:
            why = "includes are not followed; import the file that they name" if "include" in element else "no property"
            self._notes.not_applicable(line, f"<{element}>", why)
        for found in self._site:
            if found.name not in _READERS and found.name not in _ELSEWHERE_READ:
                self._account(found)

    def read_limits(self, root: Block) -> None:
        """Write the largest request into the root's ``block``."""
        given: list[tuple[str, str]] = []
        found: SiteProperty | None = None
        for resource, name in _LARGEST:
            if (one := self._site.get(name)) is None:
                continue
            try:
                count = values.whole(one.value)
            except InvalidInput as error:
                self._notes.error(one.line, name, error)
                continue
            given.append((resource, format_memory(count) if resource == "memory" else str(count)))
            found = found or one
        if found is None:
            root.put("max_container", "{cpus: 4, memory: 8G}", comment="YARN's default, which nobody chose", off=True)
            return
        share = flow_map(given)
        path = ("scheduler", "root", "max_container")
        self._notes.honour(root, path, _PROPERTIES[found.name], share, found.line)
        for one in (self._site.get(name) for _, name in _LARGEST):
            if one is not None and one is not found:
                self._also(one, "scheduler.root.max_container", share)

    def flag(self, name: str, *, default: bool) -> bool:
        """A property that is true or false, with YARN's default; what is wrong with it is noted."""
        found = self._site.get(name)
        if found is None:
            return default
        try:
            return values.true_or_false(found.value)
        except InvalidInput as error:
            self._notes.error(found.line, name, error)
            return default

    def also(self, name: str, key: str, value: str) -> None:
        """Report a property that is honoured by a key that is written elsewhere."""
        if (found := self._site.get(name)) is not None:
            self._also(found, key, value)

    def ignored(self, name: str, why: str) -> None:
        """Report a property that YARN itself does not look at here."""
        if (found := self._site.get(name)) is not None:
            self._notes.not_applicable(found.line, name, why)

    def acls(self) -> Acls:
        """Whether this YARN looks at ACLs: only if it is told to. Without its file they are taken as meant."""
        if not self._site.given:
            return Acls(True)
        enabled = self.flag(ACL_ENABLE, default=False)
        return Acls(enabled, "" if enabled else f"YARN looks at it only with {ACL_ENABLE}=true in yarn-site.xml")

    def knows_gpus(self, texts: Sequence[str]) -> bool:
        """True iff this YARN shares out GPUs: told so, or a queue names them."""
        types = self._site.get("yarn.resource-types")
        return (types is not None and _GPU in types.value) or any(_GPU in text.lower() for text in texts)

    def _read_key(self, block: Block, found: Property, read: Callable[[str], str]) -> None:
        given = self._site.get(found.name)
        key = found.last_key
        if given is None:
            if found.default:
                self._notes.default(block, ("scheduler", key), found.default)
            return
        try:
            value = read(given.value)
        except InvalidInput as error:
            self._notes.error(given.line, found.name, error)
            return
        if value:
            self._notes.honour(block, ("scheduler", key), found, value, given.line)
        else:
            self._also(given, found.key, "(no key: YARN's negative values mean the same)")

    def _read_threshold(self, block: Block) -> None:
        """YARN's threshold of reservations is a multiple of what requests are rounded up to."""
        numbers: list[float] = []
        given: list[SiteProperty] = []
        for name, default in ((_THRESHOLD, 2.0), (_INCREMENTS[0], 1024.0), (_INCREMENTS[1], 1.0)):
            found = self._site.get(name)
            numbers.append(default)
            if found is not None:
                given.append(found)
                try:
                    numbers[-1] = values.zero_or_more(found.value)
                except InvalidInput as error:
                    self._notes.error(found.line, name, error)
        multiple, memory_mib, vcores = numbers
        cpus, memory = values.show_number(round(multiple * vcores, 3)), format_memory(int(multiple * memory_mib))
        share = flow_map([("cpus", cpus), ("memory", memory)])
        path = ("scheduler", "reservation_threshold")
        if not given:
            self._notes.default(block, path, share)
            return
        self._notes.honour(block, path, _PROPERTIES[given[0].name], share, given[0].line)
        for one in given[1:]:
            self._also(one, "scheduler.reservation_threshold", share)

    def _account(self, found: SiteProperty) -> None:
        """Say why a property has no key."""
        known = _PROPERTIES.get(found.name)
        if found.name == ACL_ENABLE:
            self._also(found, "queues.*.submit_acl", "as keys" if self.acls().enabled else "as comments")
        elif known is not None:
            self._notes.not_applicable(found.line, found.name, known.note)
        else:
            why = next(why for prefix, why in ELSEWHERE if found.name.startswith(prefix))
            if found.name.startswith(PREFIX):
                near = nearest(found.name, _PROPERTIES)
                self._notes.warn(found.line, found.name, f"not known; did you mean {near}?" if near else "not known")
                why = "YARN's Fair Scheduler has no such property"
            self._notes.not_applicable(found.line, found.name, why)
        if found.name == _CLASS and not found.value.endswith(".FairScheduler"):
            self._notes.warn(
                found.line, found.name, f"this YARN does not use the Fair Scheduler but {found.value:.120}"
            )
        if found.name == f"{PREFIX}sizebasedweight" and found.value.lower() == "true":
            self._notes.warn(
                found.line, found.name, "large applications got more of their queue; here all get the same"
            )

    def _also(self, found: SiteProperty, key: str, value: str) -> None:
        self._notes.honoured(found.line, found.name, key, value)
