"""`hrm kill`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from hrm.cli.output import note
from hrm.cli.selectors import AppsArgument, select
from hrm.model.errors import CallerError
from hrm.model.ids import short_id


def kill(
    apps: AppsArgument,
    message: Annotated[str, typer.Option("--message", metavar="TEXT", help="Why; kept with the application.")] = "",
) -> None:
    """End applications.

    Their tasks get TERM, and after a grace KILL. Nothing happens to those that have ended.

    \b
    Examples:
      hrm kill last
      hrm kill 3,5-8 --message 'wrong data'
      hrm kill all                                all of mine that are not over
    """
    from hrm.cli.connect import client

    worst = 0
    with client() as server:
        for application_id in select(server, apps):
            try:
                state = server.application(application_id).state
                if state.final:
                    note(f"{short_id(application_id)} is over already: {state}")
                    continue
                server.kill(application_id, message)
            except CallerError as error:  # one that is another's does not save the rest
                print(f"hrm: {error}", file=sys.stderr)
                worst = max(worst, error.exit_code)
            else:
                note(f"killed {short_id(application_id)}")
    raise typer.Exit(worst)
