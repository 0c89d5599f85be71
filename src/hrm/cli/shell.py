"""`hrm shell`: a shell where there is room for it."""

from __future__ import annotations

import os
import pwd
from dataclasses import replace
from typing import Annotated, NoReturn

import typer

from hrm.cli.job_options import ErrorCodeOption, JobOptions, VirtualGpusOption, takes_job_options
from hrm.cli.main import fail
from hrm.cli.run import stay_with
from hrm.model.errors import HrmError, InvalidInput

_PLAIN = "/bin/sh"


@takes_job_options(without=("tasks", "retries", "max_failures", "master", "upload"))
def shell(
    options: JobOptions,
    program: Annotated[
        str | None, typer.Option("--shell", metavar="PROGRAM", help="Another shell than your login shell.")
    ] = None,
    virtual_gpus: VirtualGpusOption = None,
    app: Annotated[
        str | None, typer.Option("--app", metavar="APP", help="Not a new container, but that of a task of this one.")
    ] = None,
    task: Annotated[int, typer.Option("--task", metavar="NUMBER", min=0, help="With --app: of which task.")] = 0,
    error_code: ErrorCodeOption = None,
) -> None:
    """Your shell in a container.

    As `hrm run -it -- SHELL`: it waits in the queue like any job, and then your login shell runs in a new container on
    the node that has room, where you stand, with your environment, held to what was asked for. Leaving the shell ends
    the job. With --app it runs beside a task that is running, in its container (`hrm exec`), and the job goes on
    when you leave. Without a terminal the shell reads commands from standard input.

    \b
    Examples:
      hrm shell                            one CPU and 1 GiB
      hrm shell --gpus 1 --memory 16G      with a GPU
      hrm shell --timeout 2h -q research   for two hours at most, in the queue research
      hrm shell --shell /bin/zsh           another shell
      hrm shell --app last --task 3        inside what runs
    """
    if app is not None:
        _beside(app, task, program, error_code, plain=options == JobOptions())
    options = replace(options, name=options.name or "shell")
    try:
        code = stay_with(options.job([program or login_shell()]), tty=True, virtual_gpus=virtual_gpus)
    except HrmError as error:
        fail(error, code=error_code)
    raise typer.Exit(code)


def _beside(app: str, task: int, program: str | None, error_code: int | None, *, plain: bool) -> NoReturn:
    """A shell in a container that runs."""
    from hrm.cli.execution import stay_beside
    from hrm.model.execution import ExecSpec

    try:
        if not plain:
            raise InvalidInput(
                "--app joins a container that has its resources, environment and time",
                next_step="leave the other options out; `hrm exec` has --env and --workdir",
            )
        code = stay_beside(app, task, ExecSpec(command=(program or login_shell(),)), tty=True)
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
