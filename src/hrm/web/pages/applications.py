"""The list of applications: searched, filtered, sorted, in pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from hrm.api.access import seen_by
from hrm.model.errors import InvalidInput
from hrm.model.reports import ApplicationOrder
from hrm.model.states import ApplicationState
from hrm.web.desk import ACTIVE, Desk
from hrm.web.page import ROOT, Page, Visit

PATH = f"{ROOT}/applications"
PAGE_ROWS = 50
#: What the filter on states offers.
GROUPS: dict[str, tuple[ApplicationState, ...]] = {
    "active": ACTIVE,
    "waiting": (ApplicationState.SUBMITTED, ApplicationState.ACCEPTED),
    "running": (ApplicationState.RUNNING,),
    "ended": (ApplicationState.FINISHED, ApplicationState.FAILED, ApplicationState.KILLED),
    "failed": (ApplicationState.FAILED, ApplicationState.KILLED),
    "all": (),
}
_QUERY = ("state", "user", "queue", "search", "order", "page")


async def gather(desk: Desk, visit: Visit) -> dict[str, Any]:
    query = visit.query
    state, number = query.get("state", "active"), _page_number(query)
    if state not in GROUPS:
        raise InvalidInput(f"not one of {', '.join(GROUPS)}: {state[:40]!r}", field="state")
    try:
        order = ApplicationOrder(query.get("order", ApplicationOrder.NEWEST))
    except ValueError:
        raise InvalidInput(f"not one of {', '.join(ApplicationOrder)}", field="order") from None
    rows = await desk.facade.applications(
        states=GROUPS[state],
        user=query.get("user") or None,
        queue=query.get("queue") or None,
        search=query.get("search", "")[:200],
        order=order,
        limit=PAGE_ROWS + 1,
        offset=(number - 1) * PAGE_ROWS,
    )
    return {
        "applications": seen_by(visit.identity, rows[:PAGE_ROWS]),
        "groups": tuple(GROUPS),
        "orders": tuple(ApplicationOrder),
        "chosen": {name: query.get(name, "") for name in _QUERY} | {"state": state, "order": order},
        "queues": [queue.name for queue in desk.queues() if queue.type == "leaf"],
        "page": number,
        "newer": _link(query, number - 1) if number > 1 else None,
        "older": _link(query, number + 1) if len(rows) > PAGE_ROWS else None,
        "now": desk.clock(),
    }


def _page_number(query: Mapping[str, str]) -> int:
    text = query.get("page", "1")
    if not (text.isdecimal() and len(text) <= 6 and int(text) >= 1):
        raise InvalidInput(f"not a page's number: {text[:20]!r}", field="page")
    return int(text)


def _link(query: Mapping[str, str], page: int) -> str:
    return f"{PATH}?{urlencode({**query, 'page': page})}"


APPLICATIONS = Page(
    path=PATH, template="applications.html", gather=gather, section="applications", period_s=3.0, query=_QUERY
)
