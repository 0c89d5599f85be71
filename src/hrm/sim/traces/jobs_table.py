"""HRM's own form of a trace, for people's own: one line for each group of equal tasks (see docs/simulate.md).

``job,submit_s,run_s`` must be there; ``queue,user,tasks,cpus,memory,gpus,gpu_model,priority,checkpoint_s`` may be.
Lines with one name in ``job`` are the groups of one job. CSV, Parquet or JSON lines, by the ending of the file's name.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hrm.model.errors import InvalidInput
from hrm.model.queues import DEFAULT_QUEUE
from hrm.sim.traces.cells import open_table, resources, seconds
from hrm.sim.traces.table import Row
from hrm.sim.workload import Job, TaskGroup, in_order

COLUMNS = ("job", "submit_s", "run_s")
_MAX_TASKS = 10_000_000


def read_jobs(path: Path) -> tuple[Job, ...]:
    """In order of submission. Raises BadDocument with every finding, InvalidInput."""
    lines = open_table(path, COLUMNS).read(_line)
    return in_order(merged(lines))


def _line(row: Row) -> Job:
    group = TaskGroup(
        resources=resources(row),
        run_s=(seconds(row, "run_s"),),
        tasks=row.whole("tasks", least=1, most=_MAX_TASKS, default=1),
        gpu_model=row.text("gpu_model", default="") or None,
    )
    every_s = seconds(row, "checkpoint_s", default=0.0)
    submit_s = seconds(row, "submit_s")
    if submit_s == float("inf"):
        row.wrong("submit_s", "is never")
        submit_s = 0.0
    return Job(
        name=row.text("job"),
        submit_s=submit_s,
        groups=(group,),
        queue=row.text("queue", default="") or DEFAULT_QUEUE,
        user=row.text("user", default="") or "user",
        priority=row.whole("priority", least=-1_000_000, most=1_000_000, default=0),
        checkpoint_s=every_s or None,
    )


def merged(lines: Iterable[Job]) -> list[Job]:
    """Lines of one name as one job: that of the first, with the groups of all.

    Raises InvalidInput where a job is said to be submitted at two times, or to two queues.
    """
    jobs: dict[str, Job] = {}
    groups: dict[str, list[TaskGroup]] = {}
    for line in lines:
        first = jobs.setdefault(line.name, line)
        if (first.submit_s, first.queue) != (line.submit_s, line.queue):
            raise InvalidInput(
                f"job {line.name!r:.80} is submitted to {first.queue} at {first.submit_s:g} s and to {line.queue} at "
                f"{line.submit_s:g} s",
                next_step="give each job a name of its own",
            )
        groups.setdefault(line.name, []).extend(line.groups)
    return [
        Job(
            name=job.name,
            submit_s=job.submit_s,
            groups=tuple(groups[job.name]),
            queue=job.queue,
            user=job.user,
            priority=job.priority,
            checkpoint_s=job.checkpoint_s,
        )
        for job in jobs.values()
    ]
