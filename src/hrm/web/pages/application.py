"""One application: why it waits, its timeline, its tasks, what it uses, what happened; and what a task printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hrm.api.access import check_owner, explanation_seen_by, owns, seen_by, tasks_seen_by
from hrm.model.containers import LogStream
from hrm.model.errors import InvalidInput, NotFound
from hrm.model.fact_phrases import SHOWN_OTHERWISE, phrase_of
from hrm.model.ids import ApplicationId
from hrm.model.reports import AttemptReport, EventReport, TaskAttemptReport
from hrm.web.desk import Desk
from hrm.web.page import ROOT, Page, Visit

PATH = f"{ROOT}/applications/{{application_id}}"
_TASKS, _ATTEMPTS, _EVENTS = 100, 200, 50
#: Of an event's details: those that stand elsewhere in its row, or are for programs.
_NOT_TOLD = frozenset({"message", "reason", "said", "task_index", "attempt"})


@dataclass(frozen=True, slots=True)
class Span:
    """One attempt on the timeline, of a task or of a master, in per cent of the whole.

    Its container was granted at ``granted``, and ran from ``begin`` on for ``length``.
    """

    attempt: TaskAttemptReport | AttemptReport
    granted: float
    begin: float
    length: float


@dataclass(frozen=True, slots=True)
class Happened:
    """One event: what of it is shown."""

    event: EventReport
    #: Its message, or its details by name.
    text: str


async def gather(desk: Desk, visit: Visit) -> dict[str, Any]:
    application_id = application_of(visit)
    report = await desk.facade.application(application_id)
    who, now = visit.identity, desk.clock()
    explanation = explanation_seen_by(who, report.user, await desk.facade.explain(application_id))
    behind = [fact for fact in explanation.evidence if fact.get("kind") not in SHOWN_OTHERWISE]
    facts = [said for fact in behind if (said := phrase_of(fact)) is not None]
    tasks = tasks_seen_by(who, report.user, await desk.facade.tasks(application_id, limit=_TASKS))
    attempts = seen_by(who, await desk.facade.history(application_id, limit=_ATTEMPTS))
    masters = await _masters(desk, application_id)
    whole = Whole(report.submitted_at, report.ended_at or now)
    mine = owns(who, report.user)
    events = await desk.facade.latest_events(application_id, limit=_EVENTS)
    return {
        "app": seen_by(who, [report])[0],
        "why": explanation,
        "facts": facts,
        "holders": [fact for fact in explanation.evidence if fact.get("kind") == "holder"],
        "tasks": tasks,
        "more_tasks": max(0, report.tasks_total - len(tasks)),
        "spans": [whole.span(one, one.allocated_at, one.started_at, one.ended_at) for one in attempts],
        "masters": [whole.span(one, one.started_at, one.started_at, one.ended_at) for one in masters],
        "events": [Happened(one, _text(one.detail) if mine else "") for one in reversed(events)],
        "containers": {one.container_id: one for one in desk.facade.containers(application_id)},
        "mine": mine,
        "may_change": mine or await desk.facade.administers(report.queue, user=who.user),
        "queues": [queue.name for queue in desk.queues() if queue.type == "leaf"],
        "now": now,
    }


@dataclass(frozen=True, slots=True)
class Whole:
    """The time that the timeline is of: from submission to the end, or to now."""

    begin: float
    end: float

    def place(self, at: float) -> float:
        """In per cent of it."""
        return 100 * min(1.0, max(0.0, (at - self.begin) / max(self.end - self.begin, 1e-3)))

    def span(
        self,
        attempt: TaskAttemptReport | AttemptReport,
        granted_at: float,
        started_at: float | None,
        ended_at: float | None,
    ) -> Span:
        """Too short ones are drawn long enough to be seen."""
        began = self.place(granted_at if started_at is None else started_at)
        length = max(0.3, self.place(self.end if ended_at is None else ended_at) - began)
        return Span(attempt, self.place(granted_at), min(began, 100 - length), length)


async def _masters(desk: Desk, application_id: str) -> list[AttemptReport]:
    """Attempts of its own master; none for who has none, or whose job is not kept any more."""
    try:
        attempts = await desk.facade.attempts(application_id)
    except NotFound:
        return []
    return [one for one in attempts if one.container_id is not None]


def _text(detail: Mapping[str, Any]) -> str:
    if message := detail.get("message"):
        return str(message)
    told = {name: value for name, value in detail.items() if name not in _NOT_TOLD}
    return ", ".join(f"{name}: {value}" for name, value in told.items() if isinstance(value, str | int | float))


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
