"""`hrm queues`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from hrm.cli.output import Column, Output, OutputOption, note, show, show_amounts, show_list
from hrm.model.reports import QueueReport

app = typer.Typer(add_completion=False, rich_markup_mode=None, invoke_without_command=True)


@app.callback()
def queues(context: typer.Context, output: OutputOption = Output.TABLE) -> None:
    """List queues with their shares, or who may use them; reload them.

    \b
    Examples:
      hrm queues
      hrm queues -o json
      hrm queues access                           who may use them
      hrm queues reload                           take the queues of hrm.yaml without a restart
    """
    from hrm.cli.connect import client

    if context.invoked_subcommand is not None:
        return
    with client() as server:
        reports = server.queues()
    show_list(reports, _queue_columns(reports), output)


@app.command("reload")
def reload(output: OutputOption = Output.TABLE) -> None:
    """Take queues and scheduler options of hrm.yaml without a restart; a bad file changes nothing."""
    from hrm.cli.connect import client

    with client() as server:
        report = server.reload_queues()
    if output is not Output.TABLE:
        show(report, output)
        return
    told = (
        ("added", report.added),
        ("removed", report.removed),
        ("changed", [*report.changed, *report.options]),
        ("changed, but only a restart of the server takes it", report.after_restart),
    )
    for word, names in told:
        if names:
            print(f"{word}: {', '.join(names)}")
    if not any(names for _, names in told):
        note("nothing has changed")


@app.command("access")
def access(
    mine: Annotated[bool, typer.Option("--mine", help="Only those that I may submit to.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show who may submit to which queue, and who administers it.

    Administrators of a queue may submit to it, and end, move and change what others have in it and below it.

    \b
    Examples:
      hrm queues access --mine
      hrm queues access -o json
    """
    from hrm.cli.connect import client

    with client() as server:
        reports = [report for report in server.queue_access() if report.may_submit or not mine]
    show_list(reports, _ACCESS_COLUMNS, output)


def _queue_columns(reports: Sequence[QueueReport]) -> list[Column]:
    columns = [
        Column("QUEUE", _indented, shrinks=True),
        Column("POLICY", lambda r: r.policy, leaves=1),
        Column("WEIGHT", lambda r: f"{r.weight:g}", right=True, leaves=2),
        Column("USED", lambda r: show_amounts(r.used), shrinks=True),
        Column("DEMAND", lambda r: show_amounts(r.demand), shrinks=True, leaves=5),
        Column("FAIR SHARE", lambda r: show_amounts(r.fair_share), shrinks=True),
    ]
    # Most trees set neither.
    if any(amount for report in reports for amount in report.min_share.values()):
        columns.append(Column("MIN", lambda r: show_amounts(r.min_share), shrinks=True, leaves=4))
    if any(report.max_share is not None for report in reports):
        columns.append(Column("MAX", lambda r: show_amounts(r.max_share), shrinks=True, leaves=3))
    if any(amount for report in reports for amount in report.opportunistic_used.values()):
        columns.append(Column("LENT", lambda r: show_amounts(r.opportunistic_used), shrinks=True, leaves=3))
    if any(report.draining or report.undeclared for report in reports):
        columns.append(Column("STATE", _state))
    columns.append(Column("RUN", lambda r: str(r.applications_running), right=True))
    columns.append(Column("WAIT", lambda r: str(r.applications_pending), right=True))
    return columns


def _indented(report: QueueReport) -> str:
    if report.parent is None:
        return report.name
    return "  " * (report.name.count(".") + 1) + report.name.rpartition(".")[2]


def _state(report: QueueReport) -> str:
    """``draining``: not in hrm.yaml any more; ``undeclared``: it never was."""
    return "draining" if report.draining else "undeclared" if report.undeclared else "-"


_ACCESS_COLUMNS = (
    Column("QUEUE", lambda r: r.name),
    Column("ME", lambda r: "admin" if r.administers else "submit" if r.may_submit else "-"),
    Column("SUBMIT", lambda r: r.submitters, shrinks=True),
    Column("ADMIN", lambda r: r.administrators, shrinks=True),
)
