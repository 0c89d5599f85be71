"""What applications hold and wait for, whole and at one moment: for whoever wants to play on from there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hrm.core.scheduler import Scheduler
from hrm.model.jobs import TaskGroupSpec
from hrm.model.reports import HeldReport, WaitingReport, WorkReport
from hrm.rm.applications import LiveApplication, LiveContainer


def work(applications: Iterable[LiveApplication], scheduler: Scheduler) -> list[WorkReport]:
    """In the order in which they were submitted."""
    return [_work_of(app, scheduler) for app in sorted(applications, key=lambda app: app.id)]


def _work_of(app: LiveApplication, scheduler: Scheduler) -> WorkReport:
    row = app.row
    return WorkReport(
        application_id=str(app.id),
        name=row.name,
        user=row.user,
        queue=row.queue,
        priority=row.priority,
        submitted_at=row.submitted_at,
        waiting=list(_waiting(app, scheduler)),
        holding=[_held(app, container) for container in app.containers.values()],
        opportunistic=app.job.opportunistic,
    )


def _waiting(app: LiveApplication, scheduler: Scheduler) -> Iterator[WaitingReport]:
    groups = app.job.groups
    for ask in scheduler.ask_views(app.id):
        # The built-in master names a group by its position; an own one uses the number as it likes.
        known = not app.job.master and ask.allocation_request_id < len(groups)
        yield WaitingReport(
            containers=ask.pending,
            resources=ask.resources.as_dict(),
            gpu_model=ask.gpu_model,
            priority=ask.priority,
            timeout_s=groups[ask.allocation_request_id].timeout_s if known else None,
            constraint=ask.needs.constraint,
            node_label=ask.needs.label or "",
        )
    later = {name for name, _ in app.master.held_back}
    for group in groups:
        if group.name in later:
            yield _not_asked_yet(group)


def _not_asked_yet(group: TaskGroupSpec) -> WaitingReport:
    return WaitingReport(
        containers=group.tasks,
        resources=group.resources.as_dict(),
        gpu_model=group.gpu_model,
        priority=group.priority,
        timeout_s=group.timeout_s,
        constraint=group.needs.constraint,
        node_label=group.node_label or "",
    )


def _held(app: LiveApplication, container: LiveContainer) -> HeldReport:
    row = container.row
    task = app.master.begun.get(row.task_index) if row.task_index is not None else None
    timeout_s = None if row.task_index is None else app.job.group_of(row.task_index)[1].timeout_s
    return HeldReport(
        container_id=row.container_id,
        node_id=row.node_id,
        resources=row.resources.as_dict(),
        device_ids=list(row.device_ids),
        since=row.allocated_at if row.started_at is None else row.started_at,
        progress=None if task is None else task.progress,
        timeout_s=timeout_s,
    )
