"""`hrm history`: attempts of tasks, as a list for people or as a file for programs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from hrm.cli.output import Column, Output, OutputOption, note, show_amounts, show_list, show_span, show_time
from hrm.cli.selectors import select
from hrm.model.errors import ClusterError, InvalidInput
from hrm.model.ids import short_id
from hrm.model.nodes import is_virtual
from hrm.model.reports import ApplicationReport, TaskAttemptReport
from hrm.model.states import TaskState

if TYPE_CHECKING:
    from hrm.sdk.client import Client

_HISTORY_PAGE = 10_000
_APPLICATIONS_PAGE = 1000
AppsArgument = Annotated[str | None, typer.Argument(metavar="APP", help="Only of these applications.")]
SinceOption = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="Only attempts of the last: 90s, 2h, 7d [default: all].")
]


class _ListUnlessNamed(TyperGroup):
    """`hrm history last` is `hrm history list last`: only what is no command of the group is for `list`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, "-h", "--help"):
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(add_completion=False, rich_markup_mode=None, cls=_ListUnlessNamed)


@app.callback()
def history() -> None:
    """List attempts of tasks, or export them.

    \b
    Examples:
      hrm history last                            attempts of my newest application
      hrm history --since 1h -o json
      hrm history export --since 7d --file week.csv
    """


@app.command("list")
def list_attempts(
    application: AppsArgument = None,
    since: SinceOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List attempts of tasks: where and when each ran (what `hrm history` does).

    Oldest first; one line for each attempt of each task.

    \b
    Examples:
      hrm history last
      hrm history --since 1h -o json
    """
    from hrm.cli.connect import client

    since_at = _since(since)
    with client() as server:
        ids = [None] if application is None else select(server, [application])
        attempts = [attempt for application_id in ids for attempt in attempts_of(server, application_id, since_at)]
    columns = [*_ATTEMPT_COLUMNS, *([_MESSAGE] if any(map(_why, attempts)) else [])]
    show_list(attempts, columns, output)


@app.command()
def export(
    application: AppsArgument = None,
    since: SinceOption = None,
    form: Annotated[str | None, typer.Option("--format", metavar="FORM", help="csv or jsonl.")] = None,
    file: Annotated[Path | None, typer.Option("--file", metavar="FILE", help="Where to [default: stdout].")] = None,
) -> None:
    """Write attempts of tasks as CSV or JSON lines, as `hrm simulate trace` reads them.

    \b
    Examples:
      hrm history export --since 7d --file week.csv
      hrm history export last --format jsonl | jq .node_id
    """
    import io
    import sys

    from hrm.cli.connect import client

    if form is None:
        form = "jsonl" if file is not None and file.suffix in (".jsonl", ".ndjson") else "csv"
    if form not in ("csv", "jsonl"):
        raise InvalidInput(f"not known: {form!r:.40}", field="--format", next_step="say csv or jsonl")
    since_at = _since(since)
    with client() as server:
        ids = [None] if application is None else select(server, [application])
        attempts = [attempt for one in ids for attempt in attempts_of(server, one, since_at)]
        submitted = submitted_at(server, {attempt.application_id for attempt in attempts})
    text = io.StringIO()
    _write(text, list(_rows(attempts, submitted)), form)
    if file is None:
        sys.stdout.write(text.getvalue())
        return
    try:
        file.write_text(text.getvalue(), encoding="utf-8")
    except OSError as error:
        raise ClusterError(f"{file}: cannot be written: {error.strerror or error}") from error
    note(f"{file}: {len(attempts)} attempts of {len(submitted)} applications")


def attempts_of(server: Client, application_id: str | None, since: float | None) -> list[TaskAttemptReport]:
    """All of them, page by page."""
    found: list[TaskAttemptReport] = []
    while True:
        page = server.history(application_id, since=since, limit=_HISTORY_PAGE, offset=len(found))
        found += page
        if len(page) < _HISTORY_PAGE:
            return found


def _since(since: str | None) -> float | None:
    import time

    from hrm.model.units import parse_duration_s

    return None if since is None else time.time() - parse_duration_s(since, field="--since")


def submitted_at(server: Client, wanted: set[str]) -> dict[str, float]:
    """When each was submitted, epoch seconds."""
    found: dict[str, float] = {}
    page: list[ApplicationReport] = []
    while wanted - found.keys():
        before = page[-1].application_id if page else None
        page = server.applications(limit=_APPLICATIONS_PAGE, before=before)
        found |= {one.application_id: one.submitted_at for one in page if one.application_id in wanted}
        if len(page) < _APPLICATIONS_PAGE:
            break
    return found


def _rows(attempts: list[TaskAttemptReport], submitted: dict[str, float]) -> Iterator[dict[str, Any]]:
    for one in attempts:
        yield {
            "application_id": one.application_id,
            "name": one.name,
            "user": one.user,
            "queue": one.queue,
            "submitted_at": submitted.get(one.application_id, one.allocated_at),
            "task_index": one.task_index,
            "attempt": one.attempt,
            "state": str(one.state),
            "exit_code": one.exit_code,
            "node_id": one.node_id,
            "memory_mib": one.resources.get("memory_mib", 0),
            "vcores_milli": one.resources.get("vcores_milli", 0),
            "gpus_milli": one.resources.get("gpus_milli", 0),
            "device_ids": " ".join(one.device_ids),
            "allocated_at": one.allocated_at,
            "started_at": one.started_at,
            "ended_at": one.ended_at,
        }


def _write(text: Any, rows: list[dict[str, Any]], form: str) -> None:
    import csv
    import json

    from hrm.sim.traces.history import EXPORTED

    if form == "jsonl":
        text.writelines(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
        return
    writer = csv.DictWriter(text, EXPORTED, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _granted(attempt: TaskAttemptReport) -> str:
    return show_amounts(attempt.resources, virtual=any(map(is_virtual, attempt.device_ids)))


def _why(attempt: TaskAttemptReport) -> str:
    """Why it ended so, where that is more than its exit code: ``preempted for application 2 of queue research, …``."""
    if attempt.state is TaskState.SUCCEEDED or attempt.message == f"exit code {attempt.exit_code}":
        return ""
    return re.sub(r"application_\d+_0*(\d+)", r"application \1", attempt.message)


_ATTEMPT_COLUMNS = (
    Column("ID", lambda r: short_id(r.application_id), right=True),
    Column("TASK", lambda r: str(r.task_index), right=True),
    Column("TRY", lambda r: str(r.attempt), right=True),
    Column("QUEUE", lambda r: r.queue, shrinks=True),
    Column("STATE", lambda r: "SUSPENDED" if r.suspended else r.state),
    Column("EXIT", lambda r: "-" if r.exit_code is None else str(r.exit_code), right=True),
    Column("STARTED", lambda r: show_time(r.started_at)),
    Column("TIME", lambda r: show_span(r.started_at, r.ended_at), right=True),
    Column("NODE", lambda r: r.node_id, shrinks=True),
    Column("RESOURCES", _granted, shrinks=True),
)
_MESSAGE = Column("MESSAGE", lambda r: _why(r) or "-", below=True)
