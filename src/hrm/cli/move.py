"""`hrm move` and `hrm update`: another queue, another priority."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from hrm.cli.output import Output, OutputOption, clean, note, show
from hrm.cli.selectors import AppsArgument, select
from hrm.model.errors import HrmError, InvalidInput
from hrm.model.ids import short_id
from hrm.model.reports import ApplicationReport

if TYPE_CHECKING:
    from hrm.sdk.client import Client


def move(
    apps: AppsArgument,
    queue: Annotated[str, typer.Option("--queue", "-q", metavar="QUEUE", help="Where to.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Move applications to another queue, with all that they run.

    An application that would pass a limit of the new queue stays where it is. You may move what is yours or in a queue
    that you administer, to where you may submit.

    \b
    Examples:
      hrm move 17 --queue batch
      hrm move 3,5-8 --queue research.vision
    """
    change_each(apps, lambda server, app: server.move(app, queue), output, lambda report: f"is in {report.queue}")


def update(
    apps: AppsArgument,
    priority: Annotated[
        int | None, typer.Option("--priority", metavar="NUMBER", help="Higher runs first within a fifo queue.")
    ] = None,
    queue: Annotated[str | None, typer.Option("--queue", "-q", metavar="QUEUE", help="As `hrm move`.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Change applications that are not over.

    \b
    Examples:
      hrm update 17 --priority 5
      hrm update last --queue batch --priority 1
    """
    if priority is None and queue is None:
        raise InvalidInput("nothing to change", next_step="add --priority NUMBER or --queue QUEUE")

    def change(server: Client, app: str) -> ApplicationReport:
        # The one that limits may forbid comes first.
        report = None if queue is None else server.move(app, queue)
        if priority is not None:
            report = server.set_priority(app, priority)
        assert report is not None, "one of the two was given"
        return report

    change_each(apps, change, output, lambda report: f"is in {report.queue} with priority {report.priority}")


def change_each(
    apps: list[str],
    change: Callable[[Client, str], ApplicationReport],
    output: Output,
    say: Callable[[ApplicationReport], str],
) -> None:
    """One after another; what fails of several does not keep the others from it, and the exit code tells."""
    from hrm.cli.connect import client

    reports, worst = [], 0
    with client() as server:
        names = select(server, apps)
        for name in names:
            try:
                reports.append(change(server, name))
            except HrmError as error:
                if len(names) == 1:
                    raise
                note(f"hrm: {short_id(name)}: {clean(str(error))}")
                worst = max(worst, error.exit_code)
    if output is not Output.TABLE:
        show(reports, output)
    else:
        for report in reports:
            print(clean(f"{short_id(report.application_id)} {say(report)}"))
    if worst:
        raise typer.Exit(worst)
