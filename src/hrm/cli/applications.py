"""`hrm ps` and `hrm explain`: what there is, and why something waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hrm.cli.output import (
    Column,
    Output,
    OutputOption,
    clean,
    note,
    short_id,
    show,
    show_amounts,
    show_list,
    show_span,
)
from hrm.cli.selectors import ACTIVE, AppArgument, me, select, select_one
from hrm.model.explanations import Explanation
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
        show_list(reports, _APPLICATION_COLUMNS, output)
        if output is Output.TABLE and not (apps or everything or state):
            hidden = server.applications(states=_FINAL, user=user, queue=queue, limit=1)
            if hidden:
                note("(those that are over are hidden; `hrm ps --all` shows them)")


def explain(app: AppArgument, output: OutputOption = Output.TABLE) -> None:
    """Say why an application waits.

    \b
    Examples:
      hrm explain last
      hrm explain 17 -o json
    """
    from hrm.cli.connect import client

    with client() as server:
        explanation = server.explain(select_one(server, app))
    if output is Output.TABLE:
        _show_explanation(explanation)
    else:
        show(explanation, output)


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


def _show_explanation(explanation: Explanation) -> None:
    print(f"{short_id(explanation.application_id)}: {clean(explanation.message)}")
    print(f"reason: {explanation.reason or '-'}")
    for fact in explanation.evidence:
        said = [f"{_words(key)} {_show_fact(value)}" for key, value in fact.items() if key != "kind"]
        print(clean(f"  {_words(str(fact.get('kind', 'fact')))}: {'; '.join(said)}"))
    if explanation.remedies:
        print("what would change it:")
    for remedy in explanation.remedies:
        print(f"  {clean(remedy)}")


def _words(name: str) -> str:
    return name.replace("_", " ")


def _show_fact(value: Any) -> str:
    if isinstance(value, dict):
        amounts = all(isinstance(amount, int) for amount in value.values())
        return show_amounts(value) if amounts else " ".join(f"{key}={item}" for key, item in value.items())
    if isinstance(value, list):
        return ",".join(map(str, value)) or "-"
    return "-" if value is None else str(value)


def _where_or_why(report: ApplicationReport) -> str:
    nodes = ",".join(report.nodes)
    return f"{nodes} ({report.message})".lstrip() if report.message else nodes


def _tasks(report: ApplicationReport) -> str:
    """``3/10 +2 !1``: three of ten succeeded, two run, one failed."""
    failed = f" !{report.tasks_failed}" if report.tasks_failed else ""
    running = f" +{report.tasks_running}" if report.tasks_running else ""
    return f"{report.tasks_succeeded}/{report.tasks_total}{running}{failed}"


_APPLICATION_COLUMNS = (
    Column("ID", lambda r: short_id(r.application_id), right=True),
    Column("QUEUE", lambda r: r.queue, shrinks=True),
    Column("NAME", lambda r: r.name, shrinks=True),
    Column("USER", lambda r: r.user, shrinks=True),
    Column("STATE", lambda r: r.state),
    Column("TIME", lambda r: show_span(r.started_at, r.ended_at), right=True),
    Column("TASKS", _tasks),
    Column("DONE", lambda r: f"{r.progress:.0%}", right=True),
    Column("NODES (REASON)", _where_or_why, shrinks=True),
)
