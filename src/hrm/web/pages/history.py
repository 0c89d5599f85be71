"""What was used over the last day, week or month, per user, queue and GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hrm.model.errors import InvalidInput
from hrm.model.reports import TaskAttemptReport
from hrm.web.desk import Desk
from hrm.web.page import ROOT, Page, Visit
from hrm.web.usage import By, Usage, usage

PATH = f"{ROOT}/history"
QUERY = ("by", "span")
SPANS_S = {"day": 86_400.0, "week": 7 * 86_400.0, "month": 30 * 86_400.0}
#: Attempts that are added up at most; beyond it the sums say that they are not whole.
MOST_ATTEMPTS = 100_000
_PAGE = 10_000


async def gather(desk: Desk, visit: Visit) -> dict[str, Any]:
    by, span, rows, whole = await summed_up(desk, visit.query)
    return {
        "rows": rows,
        "whole": whole,
        "by": by,
        "span": span,
        "kinds": tuple(By),
        "spans": tuple(SPANS_S),
        "most_gpu_hours": max((row.gpu_hours for row in rows), default=0.0),
        "most_cpu_hours": max((row.cpu_hours for row in rows), default=0.0),
    }


async def summed_up(desk: Desk, query: Mapping[str, str]) -> tuple[By, str, list[Usage], bool]:
    """By what, over which time, the sums, and whether they are whole. Raises InvalidInput."""
    span = query.get("span", "week")
    try:
        by = By(query.get("by", By.USER))
    except ValueError:
        raise InvalidInput(f"not one of {', '.join(By)}", field="by") from None
    if span not in SPANS_S:
        raise InvalidInput(f"not one of {', '.join(SPANS_S)}", field="span")
    now = desk.clock()
    since = now - SPANS_S[span]
    attempts: list[TaskAttemptReport] = []
    while len(attempts) < MOST_ATTEMPTS:
        more = await desk.facade.history(since=since, limit=_PAGE, offset=len(attempts))
        attempts += more
        if len(more) < _PAGE:
            break
    whole = len(attempts) < MOST_ATTEMPTS
    return by, span, usage(attempts, by, since=since, now=now), whole


HISTORY = Page(path=PATH, template="history.html", gather=gather, section="history", period_s=0, query=QUERY)
