"""`hrm suspend` and `hrm resume`."""

from __future__ import annotations

from hrm.cli.move import change_each
from hrm.cli.output import Output, OutputOption
from hrm.cli.selectors import AppsArgument


def suspend(apps: AppsArgument, output: OutputOption = Output.TABLE) -> None:
    """Halt applications that run; what they hold stays theirs.

    All processes of all their containers stop where they are, and nothing new of them begins. The time counts for no
    time limit. You may suspend what you may kill.

    \b
    Examples:
      hrm suspend 17
      hrm suspend 3,5-8
      hrm resume 17
    """
    change_each(apps, lambda server, app: server.suspend(app), output, lambda report: "is suspended")


def resume(apps: AppsArgument, output: OutputOption = Output.TABLE) -> None:
    """Let suspended applications go on.

    \b
    Examples:
      hrm resume last
      hrm resume 3,5-8
    """
    change_each(apps, lambda server, app: server.resume(app), output, lambda report: "goes on")
