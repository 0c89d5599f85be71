"""`hrm ps`: what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hrm.cli.output import Column, Output, OutputOption, note, show_list, show_span, show_time
from hrm.cli.selectors import ACTIVE, me, select
from hrm.model.ids import short_id
from hrm.model.reports import ApplicationReport
from hrm.model.states import ApplicationState

if TYPE_CHECKING:
    from hrm.sdk.client import Client

_PAGE = 1000
_FINAL = tuple(state for state in ApplicationState if state.final)


def ps(
    apps: Annotated[list[str] | None, typer.Argument(metavar="APP", help="Only these, over or not.")] = None,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Those that are over, too.")] = False,
    mine: Annotated[bool, typer.Option("--me", help="Only mine.")] = False,
    user: Annotated[str | None, typer.Option("--user", "-u", metavar="USER", help="Only those of one user.")] = None,
    queue: Annotated[
        str | None, typer.Option("--queue", "-q", metavar="QUEUE", help="Only those in one queue.")
    ] = None,
    state: Annotated[
        list[ApplicationState] | None,
        typer.Option(
            "--state", "-s", metavar="STATE", case_sensitive=False, help="Only those in this state (again for more)."
        ),
    ] = None,
    start: Annotated[
        bool, typer.Option("--start", help="When those that wait are expected to have room, as far as that is known.")
    ] = False,
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="NUMBER", min=1, help="At most so many, newest first.")
    ] = 1000,
    output: OutputOption = Output.TABLE,
) -> None:
    """List applications.

    Shows those that are not over, newest first; others with --all, --state or by name.

    \b
    Examples:
      hrm ps --me
      hrm ps --all --queue research -n 20
      hrm ps --me --start
      hrm ps -o json | jq '.[].state'
    """
    from hrm.cli.connect import client

    states = tuple(state or (() if everything else ACTIVE))
    user = me() if mine else user
    with client() as server:
        if apps:
            reports = [server.application(application_id) for application_id in select(server, apps)]
        else:
            reports = _applications(server, states, user, queue, limit)
        if start and output is Output.TABLE:
            starts = {report.application_id: _start(server, report) for report in reports}
            column = Column("START", lambda report: starts[report.application_id])
            show_list(reports, (*_APPLICATION_COLUMNS[:-1], column, _APPLICATION_COLUMNS[-1]), output)
        else:
            show_list(reports, _APPLICATION_COLUMNS, output)
        if output is Output.TABLE and not (apps or everything or state):
            hidden = server.applications(states=_FINAL, user=user, queue=queue, limit=1)
            if hidden:
                note("(those that are over are hidden; `hrm ps --all` shows them)")


def _applications(
    server: Client, states: tuple[ApplicationState, ...], user: str | None, queue: str | None, limit: int
) -> list[ApplicationReport]:
    found: list[ApplicationReport] = []
    while len(found) < limit:
        before = found[-1].application_id if found else None
        asked = min(_PAGE, limit - len(found))
        page = server.applications(states=states, user=user, queue=queue, limit=asked, before=before)
        found += page
        if len(page) < asked:
            break
    return found


def _start(server: Client, report: ApplicationReport) -> str:
    """When there is room for what waits of it; "?" where nothing says."""
    if report.state.final or not report.tasks_pending:
        return "-"
    forecast = server.explain(report.application_id).forecast
    return "?" if forecast is None or forecast.at is None else show_time(forecast.at)


def show_state(report: ApplicationReport) -> str:
    return "SUSPENDED" if report.suspended_at is not None else report.state


def where_or_why(report: ApplicationReport) -> str:
    """``n1,n2 (too few GPUs are free now)``."""
    nodes = ",".join(report.nodes)
    return f"{nodes} ({report.message})".lstrip() if report.message else nodes


def show_tasks(report: ApplicationReport) -> str:
    """``3/10 +2 !1``: three of ten succeeded, two run, one failed."""
    failed = f" !{report.tasks_failed}" if report.tasks_failed else ""
    running = f" +{report.tasks_running}" if report.tasks_running else ""
    return f"{report.tasks_succeeded}/{report.tasks_total}{running}{failed}"


_APPLICATION_COLUMNS = (
    Column("ID", lambda r: short_id(r.application_id), right=True),
    Column("QUEUE", lambda r: r.queue, shrinks=True),
    Column("NAME", lambda r: r.name, shrinks=True),
    Column("USER", lambda r: r.user, shrinks=True),
    Column("STATE", show_state),
    Column("TIME", lambda r: show_span(r.started_at, r.ended_at), right=True),
    Column("TASKS", show_tasks),
    Column("DONE", lambda r: f"{r.progress:.0%}", right=True),
    Column("NODES (REASON)", where_or_why, shrinks=True),
)
