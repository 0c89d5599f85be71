"""What `hrm top` shows, as rows of text: worked out apart from how it is drawn."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hrm.cli.applications import show_state, show_tasks, where_or_why
from hrm.cli.output import clean, show_amounts, show_span, show_used
from hrm.cli.selectors import ACTIVE, me
from hrm.model.devices import DeviceState
from hrm.model.dominance import dominant_share
from hrm.model.ids import short_id
from hrm.model.reports import ApplicationReport, NodeReport, QueueReport, ServerReport
from hrm.model.resources import GPUS, MEMORY, VCORES
from hrm.model.states import NodeState
from hrm.model.units import format_milli

if TYPE_CHECKING:
    from hrm.sdk.client import Client

MOST_APPLICATIONS = 1000
APPLICATION_HEAD = ("ID", "QUEUE", "NAME", "USER", "STATE", "TIME", "TASKS", "HOLDS", "WHERE, OR WHY NOT")
QUEUE_HEAD = ("QUEUE", "WEIGHT", "USED", "FAIR SHARE", "DEMAND", "RUN/PEND", "SHARE")
NODE_HEAD = ("NODE", "STATE", "CPUS", "MEMORY", "GPUS", "CONT", "GPU BY GPU")
_BAR = 20


@dataclass(frozen=True, slots=True)
class Look:
    """The cluster at one moment; applications the newest first."""

    at: float
    server: ServerReport
    applications: list[ApplicationReport]
    queues: list[QueueReport]
    nodes: list[NodeReport]


@dataclass(frozen=True, slots=True)
class Row:
    """One line: by which key it is known from one look to the next, and its cells."""

    key: str
    cells: tuple[str, ...]
    #: Whose it is; "" where that makes no sense.
    user: str = ""


def look(server: Client, *, mine: bool = False, over: bool = False) -> Look:
    """Ask the server; ``over``: of applications those that are over, too."""
    states = () if over else ACTIVE
    applications = server.applications(states, user=me() if mine else None, limit=MOST_APPLICATIONS)
    return Look(time.time(), server.server(), applications, server.queues(), server.nodes())


def head(seen: Look) -> list[str]:
    """The lines at the top: bars of what is in use, and how many applications there are."""
    alive = [node for node in seen.nodes if node.state is not NodeState.LOST]
    lines = []
    for name, title in ((VCORES, "CPU"), (MEMORY, "Mem"), (GPUS, "GPU")):
        used, total = (sum(getattr(node, part).get(name, 0) for node in alive) for part in ("used", "total"))
        if total:
            lines.append(f"{title} [{bar(used / total)}] {show_used({name: used}, {name: total}, name)}")
    server = seen.server
    lost = len(seen.nodes) - len(alive)
    nodes = f"{len(alive)} nodes" + (f", {lost} lost" if lost else "")
    lines.append(f"{server.applications_running} running, {server.applications_pending} pending; {nodes}")
    if trouble := server.store_trouble or server.strategy_trouble:
        lines.append(f"! {clean(trouble)}")
    return lines


def bar(part: float, width: int = _BAR) -> str:
    """``||||||      ``"""
    filled = round(width * min(1.0, max(0.0, part)))
    return "|" * filled + " " * (width - filled)


def application_rows(seen: Look) -> list[Row]:
    return [Row(app.application_id, _application(app), app.user) for app in seen.applications]


def _application(app: ApplicationReport) -> tuple[str, ...]:
    return (
        short_id(app.application_id),
        app.queue,
        clean(app.name),
        app.user,
        show_state(app),
        show_span(app.started_at or app.submitted_at, app.ended_at),
        show_tasks(app),
        show_amounts(app.used),
        clean(where_or_why(app)),
    )


def queue_rows(seen: Look) -> list[Row]:
    total = {name: sum(node.total.get(name, 0) for node in seen.nodes) for name in (VCORES, MEMORY, GPUS)}
    rows = []
    for queue in seen.queues:
        part = dominant_share(queue.used, total)
        depth = 0 if queue.parent is None else queue.name.count(".") + 1
        cells = (
            "  " * depth + queue.name.rpartition(".")[2],
            f"{queue.weight:g}",
            show_amounts(queue.used),
            show_amounts(queue.fair_share),
            show_amounts(queue.demand),
            f"{queue.applications_running}/{queue.applications_pending}",
            f"[{bar(part)}] {100 * part:.0f}%",
        )
        rows.append(Row(queue.name, cells))
    return rows


def node_rows(seen: Look) -> list[Row]:
    rows = []
    for node in sorted(seen.nodes, key=lambda node: node.node_id):
        drained = f" by {node.drained_by}" if node.drained_at is not None else ""
        used = (show_used(node.used, node.total, name) for name in (VCORES, MEMORY, GPUS))
        devices = " ".join(_device(one.state, one.free_milli, one.utilisation_percent) for one in node.devices)
        rows.append(Row(node.node_id, (node.node_id, node.state + drained, *used, str(node.containers), devices)))
    return rows


def _device(state: DeviceState, free_milli: int, utilisation_percent: int | None) -> str:
    """``1`` free, ``0.5`` half free, ``0:87%`` taken and that busy, ``sick``."""
    if state is not DeviceState.LENT:
        return str(state)
    free = format_milli(free_milli)
    return free if utilisation_percent is None else f"{free}:{utilisation_percent}%"


def plain(seen: Look) -> str:
    """All of it as text, for a pipe."""
    parts = ["\n".join(head(seen))]
    parts.append(table(QUEUE_HEAD, queue_rows(seen)))
    parts.append(table(NODE_HEAD, node_rows(seen)))
    parts.append(table(APPLICATION_HEAD, application_rows(seen)))
    return "\n\n".join(parts)


def table(title: Sequence[str], rows: Iterable[Row]) -> str:
    lines = [tuple(title), *(row.cells for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(title))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
