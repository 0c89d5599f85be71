"""`hrm shell`: a shell where there is room for it."""

from __future__ import annotations

import os
import pwd
from dataclasses import replace
from typing import Annotated

import typer

from hrm.cli.job_options import ErrorCodeOption, JobOptions, VirtualGpusOption, takes_job_options
from hrm.cli.main import fail
from hrm.cli.run import stay_with
from hrm.model.errors import HrmError

_PLAIN = "/bin/sh"


@takes_job_options(without=("tasks", "retries", "max_failures", "master"))
def shell(
    options: JobOptions,
    program: Annotated[
        str | None, typer.Option("--shell", metavar="PROGRAM", help="Another shell than your login shell.")
    ] = None,
    virtual_gpus: VirtualGpusOption = None,
    error_code: ErrorCodeOption = None,
) -> None:
    """Your shell in a container.

    As `hrm run -it -- SHELL`: it waits in the queue like any job, and then your login shell runs in a new container on
    the node that has room, where you stand, with your environment, held to what was asked for. Leaving the shell ends
    the job. Without a terminal the shell reads commands from standard input.

    \b
    Examples:
      hrm shell                            one CPU and 1 GiB
      hrm shell --gpus 1 --memory 16G      with a GPU
      hrm shell --timeout 2h -q research   for two hours at most, in the queue research
      hrm shell --shell /bin/zsh           another shell
    """
    options = replace(options, name=options.name or "shell")
    try:
        code = stay_with(options.job([program or login_shell()]), tty=True, virtual_gpus=virtual_gpus)
    except HrmError as error:
        fail(error, code=error_code)
    raise typer.Exit(code)


def login_shell() -> str:
    """The caller's by the system's list of accounts; `/bin/sh` where there is none that takes commands."""
    try:
        program = pwd.getpwuid(os.geteuid()).pw_shell
    except KeyError:
        return _PLAIN
    takes_commands = os.path.basename(program) not in ("nologin", "false", "true", "sync")
    return program if takes_commands and os.access(program, os.X_OK) else _PLAIN
