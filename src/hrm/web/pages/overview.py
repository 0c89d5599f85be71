"""The first page: how full the cluster is, what waits, and what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hrm.api.access import seen_by
from hrm.model.devices import DeviceState
from hrm.model.findings import Finding, Severity
from hrm.model.reports import ApplicationOrder, NodeReport, ServerReport
from hrm.model.resources import GPUS, MEMORY, VCORES
from hrm.model.states import NodeState
from hrm.web.charts import Line
from hrm.web.desk import Desk
from hrm.web.page import ROOT, Page, Visit
from hrm.web.pages.applications import GROUPS
from hrm.web.samples import Span, summed

#: Applications that wait, as many as are listed.
WAITING = 10
#: Alarms that are listed: five hundred nodes may have the same fault.
ALARMS = 12
_POINTS = round(Span.HOUR.seconds / Span.HOUR.period_s)


@dataclass(frozen=True, slots=True)
class Gauge:
    """One resource of the cluster, in its own integers."""

    name: str
    used: int
    #: Free, but on nodes that take nothing: drained, or a GPU that is sick.
    withheld: int
    total: int

    @property
    def free(self) -> int:
        return max(0, self.total - self.used - self.withheld)


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that an operator should look at: a key of the catalogue with its values."""

    key: str
    values: dict[str, str]
    #: Where more is said; "" iff nowhere.
    link: str = ""
    serious: bool = True


async def gather(desk: Desk, visit: Visit) -> dict[str, Any]:
    server, nodes = desk.facade.server(), desk.nodes()
    events = desk.facade.measures().events
    oldest = await desk.facade.applications(states=GROUPS["waiting"], order=ApplicationOrder.OLDEST, limit=1000)
    waiting = [app for app in oldest if app.tasks_pending]
    found = alarms(server, nodes, visit.language.code)
    any_yet = await desk.facade.applications(limit=1)
    return {
        "server": server,
        "gauges": gauges(nodes),
        "alarms": found[:ALARMS],
        "more_alarms": max(0, len(found) - ALARMS),
        "waiting": seen_by(visit.identity, waiting[:WAITING]),
        "more_waiting": max(0, len(waiting) - WAITING),
        "over": {
            "finished": events.get("application_finished", 0),
            "failed": events.get("application_failed", 0) + events.get("application_killed", 0),
        },
        "nothing_yet": not any_yet,
        "lines": _lines(desk, visit),
        "points": _POINTS,
        "now": desk.clock(),
    }


def gauges(nodes: list[NodeReport]) -> list[Gauge]:
    """CPU and memory, and GPUs where there are any."""
    alive = [node for node in nodes if node.state is not NodeState.LOST]
    total, used = summed(node.total for node in alive), summed(node.used for node in alive)
    withheld: dict[str, int] = {}
    for node in alive:
        if node.drained_at is not None:
            for name in (VCORES, MEMORY, GPUS):
                withheld[name] = withheld.get(name, 0) + node.total.get(name, 0) - node.used.get(name, 0)
        else:
            sick = sum(device.state in (DeviceState.SICK, DeviceState.LOST) for device in node.devices)
            withheld[GPUS] = withheld.get(GPUS, 0) + 1000 * sick
    return [
        Gauge(name, used.get(name, 0), withheld.get(name, 0), total.get(name, 0))
        for name in (VCORES, MEMORY, GPUS)
        if name != GPUS or total.get(GPUS) or withheld.get(GPUS)
    ]


def alarms(server: ServerReport, nodes: list[NodeReport], language: str) -> list[Alarm]:
    """The serious ones first; of what the doctor found all but what is only worth knowing."""
    found = []
    if server.store_trouble:
        found.append(Alarm("alarm.store", {"trouble": server.store_trouble}))
    if server.strategy_trouble:
        found.append(Alarm("alarm.strategy", {"trouble": server.strategy_trouble}))
    if server.drained_by:
        found.append(Alarm("alarm.server_drained", {"user": server.drained_by}, serious=False))
    for node in nodes:
        link = f"{ROOT}/nodes/{node.node_id}"
        if node.state is NodeState.LOST:
            found.append(Alarm("alarm.node_lost", {"node": node.node_id}, link))
        for device in node.devices:
            if device.state in (DeviceState.SICK, DeviceState.LOST):
                values = {"device": device.device_id, "message": device.message}
                found.append(Alarm("alarm.gpu_sick", values, link))
        if node.drained_at is not None:
            values = {"node": node.node_id, "user": node.drained_by, "reason": node.drain_reason}
            found.append(Alarm("alarm.node_drained", values, link, serious=False))
        found += [_of_finding(node, one, language) for one in node.findings if one.severity is not Severity.INFO]
    return sorted(found, key=lambda alarm: not alarm.serious)


def _of_finding(node: NodeReport, finding: Finding, language: str) -> Alarm:
    values = {"node": node.node_id, "title": finding.title.of(language), "code": finding.code}
    key = "alarm.finding"
    if finding.gpu is not None:
        key, values["gpu"] = "alarm.finding_gpu", finding.gpu
    serious = finding.severity is not Severity.WARNING
    return Alarm(key, values, f"{ROOT}/nodes/{node.node_id}#findings", serious=serious)


def _lines(desk: Desk, visit: Visit) -> list[Line]:
    def part(name: str) -> list[float | None]:
        return [
            sample.used.get(name, 0) / sample.total[name] if sample.total.get(name) else None
            for sample in desk.usage.over(Span.HOUR)
        ]

    named = ((VCORES, "cpu"), (MEMORY, "memory"), (GPUS, "gpu"))
    lines = [Line(part(name), css, visit.language(f"resource.{css}")) for name, css in named]
    return [line for line in lines if any(value is not None for value in line.values)]


OVERVIEW = Page(path=ROOT, template="overview.html", gather=gather, section="overview")
