"""What ran on an HRM cluster, as `hrm history export` writes it: one line for each attempt of a task.

A task runs as long as its last attempt did; one that runs yet, as long as it had when the file was written. Tasks of
one application that ask for the same become one group. Attempts that were lost or failed and were tried again are left
out: they were the machines' or the program's, and another configuration would not have them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hrm.model.resources import Resources
from hrm.sim.traces.cells import open_table, seconds
from hrm.sim.traces.table import Row
from hrm.sim.workload import Job, TaskGroup, in_order

COLUMNS = ("application_id", "queue", "task_index", "allocated_at")
#: What `hrm history export` writes, in this order.
EXPORTED = (
    "application_id",
    "name",
    "user",
    "queue",
    "submitted_at",
    "task_index",
    "attempt",
    "state",
    "exit_code",
    "node_id",
    "memory_mib",
    "vcores_milli",
    "gpus_milli",
    "device_ids",
    "allocated_at",
    "started_at",
    "ended_at",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One line. Times in epoch seconds."""

    application_id: str
    user: str
    queue: str
    submitted_at: float
    task_index: int
    attempt: int
    resources: Resources
    allocated_at: float
    #: None iff it has not begun, or not ended.
    started_at: float | None
    ended_at: float | None


def read_history(path: Path) -> tuple[Job, ...]:
    """In order of submission, the first at 0. Raises BadDocument, InvalidInput."""
    return jobs_of(open_table(path, COLUMNS).read(_attempt))


def jobs_of(attempts: Iterable[Attempt], now: float | None = None) -> tuple[Job, ...]:
    """``now``: when this was asked; None: the last time that is named."""
    last: dict[tuple[str, int], Attempt] = {}
    latest = 0.0
    for one in attempts:
        key = one.application_id, one.task_index
        if key not in last or one.attempt >= last[key].attempt:
            last[key] = one
        latest = max(latest, one.allocated_at, one.started_at or 0.0, one.ended_at or 0.0)
    if not last:
        return ()
    now = latest if now is None else now
    first = min(one.submitted_at for one in last.values())
    of_job: dict[str, list[Attempt]] = {}
    for one in last.values():
        of_job.setdefault(one.application_id, []).append(one)
    return in_order(_job(name, tasks, first, now) for name, tasks in of_job.items())


def _job(name: str, tasks: list[Attempt], first: float, now: float) -> Job:
    run_s: dict[Resources, list[float]] = {}
    for one in tasks:
        began = one.allocated_at if one.started_at is None else one.started_at
        run_s.setdefault(one.resources, []).append(max((one.ended_at or now) - began, 0.0))
    groups = (TaskGroup(resources=asked, run_s=tuple(times), tasks=len(times)) for asked, times in run_s.items())
    begins = tasks[0]
    return Job(
        name=name,
        submit_s=begins.submitted_at - first,
        groups=tuple(groups),
        queue=begins.queue,
        user=begins.user,
    )


def _attempt(row: Row) -> Attempt:
    allocated_at = seconds(row, "allocated_at")
    began, ended = seconds(row, "started_at", default=-1.0), seconds(row, "ended_at", default=-1.0)
    if 0 <= ended < max(began, allocated_at):
        row.wrong("ended_at", f"is before it began: {ended:.3f}")
    amounts = Resources(
        row.whole("memory_mib", default=0), row.whole("vcores_milli", default=0), row.whole("gpus_milli", default=0)
    )
    if not amounts:
        row.wrong("memory_mib", "the task held nothing")
        amounts = Resources(memory_mib=1)
    return Attempt(
        application_id=row.text("application_id"),
        user=row.text("user", default="") or "user",
        queue=row.text("queue"),
        submitted_at=seconds(row, "submitted_at", default=allocated_at),
        task_index=row.whole("task_index"),
        attempt=row.whole("attempt", default=1),
        resources=amounts,
        allocated_at=allocated_at,
        started_at=None if began < 0 else began,
        ended_at=None if ended < 0 else ended,
    )
