"""One application: why it waits, its timeline, its tasks, what it uses, what happened; and what a task printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hrm.api.access import check_owner, explanation_seen_by, owns, seen_by, tasks_seen_by
from hrm.model.containers import LogStream
from hrm.model.errors import InvalidInput
from hrm.model.fact_phrases import SHOWN_OTHERWISE, phrase_of
from hrm.model.ids import ApplicationId
from hrm.model.reports import TaskAttemptReport
from hrm.web.desk import Desk
from hrm.web.page import ROOT, Page, Visit

PATH = f"{ROOT}/applications/{{application_id}}"
_TASKS, _ATTEMPTS = 100, 200


@dataclass(frozen=True, slots=True)
class Span:
    """One attempt on the timeline: where it begins and how long it is, in per cent of the whole."""

    attempt: TaskAttemptReport
    waited_from: float
    begin: float
    length: float


async def gather(desk: Desk, visit: Visit) -> dict[str, Any]:
    application_id = application_of(visit)
    report = await desk.facade.application(application_id)
    who, now = visit.identity, desk.clock()
    explanation = explanation_seen_by(who, report.user, await desk.facade.explain(application_id))
    behind = [fact for fact in explanation.evidence if fact.get("kind") not in SHOWN_OTHERWISE]
    facts = [said for fact in behind if (said := phrase_of(fact)) is not None]
    tasks = tasks_seen_by(who, report.user, await desk.facade.tasks(application_id, limit=_TASKS))
    attempts = await desk.facade.history(application_id, limit=_ATTEMPTS)
    return {
        "app": seen_by(who, [report])[0],
        "why": explanation,
        "facts": facts,
        "holders": [fact for fact in explanation.evidence if fact.get("kind") == "holder"],
        "tasks": tasks,
        "more_tasks": max(0, report.tasks_total - len(tasks)),
        "spans": spans(seen_by(who, attempts), report.submitted_at, report.ended_at or now),
        "containers": {one.container_id: one for one in desk.facade.containers(application_id)},
        "mine": owns(who, report.user),
        "may_change": owns(who, report.user) or await desk.facade.administers(report.queue, user=who.user),
        "queues": [queue.name for queue in desk.queues() if queue.type == "leaf"],
        "now": now,
    }


def spans(attempts: list[TaskAttemptReport], begin: float, end: float) -> list[Span]:
    """The attempts between submission and end (or now)."""
    whole = max(end - begin, 1e-3)

    def place(at: float) -> float:
        return 100 * min(1.0, max(0.0, (at - begin) / whole))

    found = []
    for attempt in attempts:
        started = attempt.allocated_at if attempt.started_at is None else attempt.started_at
        ended = end if attempt.ended_at is None else attempt.ended_at
        length = max(0.3, place(ended) - place(started))
        found.append(Span(attempt, place(attempt.allocated_at), min(place(started), 100 - length), length))
    return found


async def gather_log(desk: Desk, visit: Visit) -> dict[str, Any]:
    application_id = application_of(visit)
    report = await check_owner(desk.facade, visit.identity, application_id)
    task, stream = log_of(visit.query)
    return {"app": report, "task": task, "stream": stream, "streams": tuple(LogStream)}


def application_of(visit: Visit) -> str:
    """The application that the path names. Raises InvalidInput."""
    return str(ApplicationId.parse(visit.params["application_id"]))


def log_of(query: Mapping[str, str]) -> tuple[int, LogStream]:
    """Which task's output the query names. Raises InvalidInput."""
    task, stream = query.get("task", "0"), query.get("stream", LogStream.STDOUT)
    if not (task.isdecimal() and len(task) < 10):
        raise InvalidInput(f"not a task's number: {task[:20]!r}", field="task")
    if stream not in tuple(LogStream):
        raise InvalidInput(f"not one of {', '.join(LogStream)}: {stream[:20]!r}", field="stream")
    return int(task), LogStream(stream)


APPLICATION = Page(path=PATH, template="application.html", gather=gather, section="applications", period_s=1.0)
LOG = Page(
    path=f"{PATH}/log",
    template="log.html",
    gather=gather_log,
    section="applications",
    period_s=0,
    query=("task", "stream"),
)
