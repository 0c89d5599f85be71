"""The tree of queues with what each uses against its shares, and one queue with its applications."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from hrm.api.access import seen_by
from hrm.model.dominance import dominant_resource, part_of
from hrm.model.errors import InvalidInput, NotFound
from hrm.model.reports import Amounts, QueueReport
from hrm.web.charts import Line, scale
from hrm.web.desk import ACTIVE, Desk
from hrm.web.page import ROOT, Page, Visit
from hrm.web.queue_use import COLUMNS, queue_use
from hrm.web.samples import ROOT_QUEUE, Span, summed

_LISTED = 100


@dataclass(frozen=True, slots=True)
class Standing:
    """One queue in the resource that counts for it: of which it uses, or else wants, the largest part."""

    queue: QueueReport
    depth: int
    resource: str
    whole: int

    def part(self, amounts: Amounts | None) -> float | None:
        """Of the whole cluster, 0 to 1; None for no limit."""
        return None if amounts is None else min(1.0, part_of(amounts, {self.resource: self.whole}, self.resource))


def standings(queues: list[QueueReport], total: Amounts) -> list[Standing]:
    """In the order of the tree."""
    return [Standing(queue, depth(queue), name := dominant(queue, total), total.get(name, 0)) for queue in queues]


def depth(queue: QueueReport) -> int:
    return 0 if queue.name == ROOT_QUEUE else queue.name.count(".") + 1


def dominant(queue: QueueReport, total: Amounts) -> str:
    """The resource of which it uses the largest part of the cluster; while it uses nothing, of which it wants most."""
    return dominant_resource(total, queue.used, queue.demand)


async def gather(desk: Desk, visit: Visit) -> dict[str, Any]:
    span = span_of(visit)
    queues, now = desk.queues(), desk.clock()
    leaves = [queue.name for queue in queues if queue.type == "leaf"]
    # In a thread: with fifty queues it takes twenty milliseconds.
    uses = await asyncio.to_thread(queue_use, desk.usage.over(span), leaves, span, now)
    others = visit.language("queues.others")
    layers = [use.layer(use.name or others) for use in uses]
    return {
        "standings": standings(queues, _total(desk)),
        "uses": uses,
        "layers": layers,
        "top": scale(layers),
        "span": span,
        "spans": tuple(Span),
        "starts": [now - span.seconds * part / COLUMNS for part in range(COLUMNS, 0, -1)],
    }


def span_of(visit: Visit) -> Span:
    """Which the query names. Raises InvalidInput."""
    try:
        return Span(visit.query.get("over", Span.HOUR))
    except ValueError:
        raise InvalidInput(f"not one of {', '.join(Span)}", field="over") from None


async def gather_one(desk: Desk, visit: Visit) -> dict[str, Any]:
    name = visit.params["name"]
    total = _total(desk)
    found = next((one for one in standings(desk.queues(), total) if one.queue.name == name), None)
    if found is None:
        raise NotFound(f"no queue {name!r}", next_step=f"{ROOT}/queues lists them")
    leaf = name if found.queue.type == "leaf" else None
    rows = await desk.facade.applications(states=ACTIVE, queue=leaf, limit=10_000)
    active = [app for app in rows if _below(app.queue, name)]
    values: list[float | None] = []
    span = span_of(visit)
    samples = desk.usage.over(span)
    for sample in samples:
        used = summed([amounts for queue, amounts in sample.queues.items() if _below(queue, name)])
        values.append(used.get(found.resource, 0) / total[found.resource] if total.get(found.resource) else None)
    return {
        "standing": found,
        "applications": seen_by(visit.identity, active[:_LISTED]),
        "more": max(0, len(active) - _LISTED),
        "lines": [Line(values, "cpu", visit.language("queues.used"))],
        "points": round(span.seconds / span.period_s),
        "span": span,
        "spans": tuple(Span),
        "now": desk.clock(),
    }


def _below(queue: str, name: str) -> bool:
    return name == ROOT_QUEUE or queue == name or queue.startswith(f"{name}.")


def _total(desk: Desk) -> Amounts:
    return summed([node.total for node in desk.nodes()])


QUEUES = Page(path=f"{ROOT}/queues", template="queues.html", gather=gather, section="queues", query=("over",))
QUEUE = Page(
    path=f"{ROOT}/queues/{{name}}", template="queue.html", gather=gather_one, section="queues", query=("over",)
)
