"""The form that gives a queue another weight: what it would do is shown before it is saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hrm.api.access import check_admin
from hrm.api.tokens import Identity
from hrm.model.errors import HrmError, InvalidInput, NotFound
from hrm.web.desk import Desk
from hrm.web.page import ROOT, Page, Visit

PATH = f"{ROOT}/queues/{{name}}/weight"


async def gather(desk: Desk, visit: Visit) -> dict[str, Any]:
    check_admin(visit.identity)
    name = visit.params["name"]
    queue = next((queue for queue in desk.queues() if queue.name == name), None)
    if queue is None:
        raise NotFound(f"no queue {name!r}", next_step=f"{ROOT}/queues lists them")
    found: dict[str, Any] = {"queue": queue, "typed": f"{queue.weight:g}", "changes": None, "problem": ""}
    if "weight" in visit.query:
        found["typed"] = visit.query["weight"]
        try:
            found["changes"] = await desk.weights.preview(name, number(visit.query))
        except HrmError as error:
            found["problem"] = str(error)
    return found


async def save(desk: Desk, who: Identity, params: Mapping[str, str], fields: Mapping[str, str]) -> str:
    """What the form's second button does."""
    check_admin(who)
    await desk.weights.save(params["name"], number(fields))
    return f"{ROOT}/queues/{params['name']}"


def number(fields: Mapping[str, str]) -> float:
    """The weight that was typed. Raises InvalidInput."""
    try:
        return float(fields.get("weight", ""))
    except ValueError:
        raise InvalidInput("not a number", field="weight", next_step="write for example 2.5") from None


WEIGHT = Page(path=PATH, template="weight.html", gather=gather, section="queues", period_s=0, query=("weight",))
