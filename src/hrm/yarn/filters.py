"""Which applications a list is of: what `getApplications` and REST's `/apps` may narrow it down to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hrm.yarn.applications import STATES, Application, full_queue
from hrm.yarn.errors import IllegalArgument
from hrm.yarn.proto import service_pb2 as service

#: Milliseconds since 1970 at which nothing that is told here ever happens.
NEVER_MS = (1 << 63) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """An empty one lets everything pass. Times are epoch milliseconds, both ends included."""

    states: tuple[str, ...] = ()
    types: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()
    queues: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    final_statuses: frozenset[str] = frozenset()
    name: str | None = None
    limit: int | None = None
    started_ms: tuple[int, int] = (0, NEVER_MS)
    finished_ms: tuple[int, int] = (0, NEVER_MS)

    @property
    def user(self) -> str | None:
        """The only one, where there is only one."""
        return next(iter(self.users)) if len(self.users) == 1 else None

    def let_pass(self, application: Application) -> bool:
        report, yarn = application.report, application.yarn
        return (
            (not self.types or yarn.application_type.lower() in self.types)
            and (not self.users or report.user in self.users)
            and (not self.queues or application.queue in self.queues)
            and (not self.tags or not self.tags.isdisjoint(yarn.tags))
            and (not self.final_statuses or application.final_status in self.final_statuses)
            and (self.name is None or report.name == self.name)
            and _within(report.submitted_at, self.started_ms)
            and _within(application.finished_at, self.finished_ms)
        )


def _within(at: float | None, span_ms: tuple[int, int]) -> bool:
    """What has not happened lies within no span but the one without ends."""
    if at is None:
        return span_ms == (0, NEVER_MS)
    return span_ms[0] <= int(at * 1000) <= span_ms[1]


def lowered(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name.strip().lower() for name in names if name.strip())


def queue_names(names: Iterable[str]) -> frozenset[str]:
    """With the root, however they were written."""
    return frozenset(name if name.startswith("root.") or name == "root" else full_queue(name) for name in names)


def filters_of(request: service.GetApplicationsRequestProto, *, own: str) -> Filters:
    """``own`` is who asks. Raises IllegalArgument for a limit or a time that cannot be."""
    if request.HasField("limit") and request.limit < 0:
        raise IllegalArgument(f"limit must be zero or more: {request.limit}")
    users = frozenset(request.users)
    if request.scope == service.OWN:
        users = users & {own} if users else frozenset({own})
        if not users:
            return Filters(limit=0)
    return Filters(
        states=tuple(STATES[state - 1] for state in dict.fromkeys(request.application_states)),
        types=lowered(request.application_types),
        users=users,
        queues=queue_names(request.queues),
        tags=lowered(request.applicationTags),
        name=request.name if request.HasField("name") else None,
        limit=request.limit if request.HasField("limit") else None,
        started_ms=_span(request, "start_begin", "start_end"),
        finished_ms=_span(request, "finish_begin", "finish_end"),
    )


def _span(request: service.GetApplicationsRequestProto, begin: str, end: str) -> tuple[int, int]:
    first = getattr(request, begin) if request.HasField(begin) else 0
    last = getattr(request, end) if request.HasField(end) else NEVER_MS
    if first > last:
        raise IllegalArgument(f"{begin} lies after {end}: {first}, {last}")
    return max(0, first), last
