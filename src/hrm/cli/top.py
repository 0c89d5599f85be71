"""`hrm top`: the cluster in a terminal, kept up to date."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from hrm.cli.connect import connect
from hrm.model.errors import CallerError, InvalidInput

_LEAST_S = 0.5


def top(
    interval: Annotated[float, typer.Option("--interval", "-i", metavar="SECONDS", help="How often to look.")] = 2.0,
    mine: Annotated[bool, typer.Option("--me", help="Begin with my applications alone.")] = False,
    read_only: Annotated[bool, typer.Option("--read-only", help="No key changes anything.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Print it once, and end; so it is without a terminal.")] = False,
) -> None:
    """Watch queues, GPUs and applications.

    \b
    Keys (? shows all):
      1 2 3 -    applications, queues, nodes with their GPUs; the one before
      / :        filter by a regular expression (! inverts it); jump to a name
      m a f      mine or everybody's; those that are over, too; columns
      e, Enter   why it waits, runs or ended
      l o w      what its first task prints; stdout or stderr; wrap lines
      Space      tag it: c, C and t mean all that are tagged
      c C t      end it, after a question; send a signal; a time limit from now
      q          leave

    \b
    Examples:
      hrm top
      hrm top --me -i 1
      hrm top --once | head
    """
    if interval < _LEAST_S:
        raise InvalidInput(f"must be at least {_LEAST_S:g}: {interval:g}", field="--interval")
    if once or not (sys.stdin.isatty() and sys.stdout.isatty()):
        from hrm.cli.top_view import look, plain

        with connect() as server:
            print(plain(look(server, mine=mine)))
        return
    try:
        from hrm.cli.top_app import TopApp
    except ImportError as error:
        raise CallerError(
            f"a part is not installed: {error.name}", next_step="pip install 'hrm[top]', or use --once"
        ) from None
    with connect() as server:
        TopApp(server, interval_s=interval, mine=mine, read_only=read_only).run()
