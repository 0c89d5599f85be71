"""`hrm run`: a command runs as if it ran here."""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hrm.cli.job_options import (
    ErrorCodeOption,
    JobOptions,
    VirtualGpusOption,
    attached,
    takes_job_options,
    virtual_gpu_arguments,
    with_upload,
)
from hrm.cli.main import fail
from hrm.cli.output import clean, note
from hrm.cli.terminal import in_background, stdin_fd, terminal_size
from hrm.model.errors import Conflict, HrmError, InvalidInput
from hrm.model.ids import short_id
from hrm.model.jobs import JobSpec
from hrm.model.reports import ApplicationReport
from hrm.model.states import ApplicationState
from hrm.model.units import parse_duration_s

if TYPE_CHECKING:
    from hrm.sdk.client import Client


@takes_job_options(without=("master",))
def run(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND", help="The program to run, with its arguments.")],
    options: JobOptions,
    interactive: Annotated[
        bool, typer.Option("--interactive", "-i", help="Pass standard input on; so it is anyway.")
    ] = False,
    tty: Annotated[
        bool, typer.Option("--tty", "-t", help="A terminal for the command; where that cannot be, it is said.")
    ] = False,
    no_stdin: Annotated[bool, typer.Option("--no-stdin", help="Leave standard input alone (for loops).")] = False,
    label: Annotated[bool, typer.Option("--label", "-l", help="Begin each line with its task's number.")] = False,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Print the id and return at once.")] = False,
    virtual_gpus: VirtualGpusOption = None,
    error_code: ErrorCodeOption = None,
) -> None:
    """Run a command and wait for it, as if it ran here.

    Where you stand is its working directory, your environment is its environment. Input, output, signals and the
    terminal pass through, and its exit code is the exit code: 127 for a command not found, 128+N where signal N ended
    it, the highest of several tasks. Ctrl-C twice kills it; losing this process ends it, unless --detach. Without a
    server, one is started in the background, which others join and which leaves when idle.

    \b
    Examples:
      hrm run -- python train.py --epochs 3
      hrm run -it --gpus 1 --memory 16G -- bash   a shell with a GPU, as `hrm shell`
      hrm run --virtual-gpus 2 --gpus 1 -- env    what a job with a GPU finds, without one
      cat photos.txt | hrm run -- sort -u
      hrm run --upload src -- python main.py      a copy of src is where it runs, on whatever node
      hrm run --tasks 4 --label -- sh -c 'echo I am $HRM_TASK_INDEX'
      hrm run --gang --tasks 4 --gpus 1 -- ./train.sh   all four at once, or none
    """
    try:
        _check_streams(
            command, interactive=interactive, tty=tty, no_stdin=no_stdin, detach=detach, tasks=options.tasks or 1
        )
        job = options.job(command)
        code = stay_with(
            job,
            feed=not no_stdin,
            tty=tty,
            label=label,
            detach=detach,
            virtual_gpus=virtual_gpus,
            upload=options.upload,
        )
    except HrmError as error:
        fail(error, code=error_code)
    raise typer.Exit(code)


def _check_streams(
    command: list[str], *, interactive: bool, tty: bool, no_stdin: bool, detach: bool, tasks: int
) -> None:
    """Raises InvalidInput for what contradicts itself."""
    if tty and _is_duration(command[0]):
        raise InvalidInput(
            f"-t asks for a terminal, and {command[0]!r} is no program",
            next_step=f"a time limit is --timeout {command[0]}",
        )
    wanted = "--tty" if tty else "--interactive" if interactive else None
    if wanted is None:
        return
    if no_stdin:
        raise InvalidInput("--no-stdin leaves standard input alone", field=wanted, next_step="leave one of them out")
    if detach:
        raise InvalidInput("--detach leaves nobody to type", field=wanted, next_step="leave one of them out")
    if tasks > 1:
        raise InvalidInput(f"{tasks} tasks cannot read one input", field=wanted, next_step="run a single task")


def _is_duration(word: str) -> bool:
    if shutil.which(word):
        return False
    try:
        parse_duration_s(word, field="")
    except InvalidInput:
        return False
    return True


def stay_with(
    job: JobSpec,
    *,
    feed: bool = True,
    tty: bool = False,
    label: bool = False,
    detach: bool = False,
    virtual_gpus: int | None = None,
    upload: Path | None = None,
) -> int:
    """Submit it, be there until it ends, and return its exit code; with ``detach`` print its id and return.

    ``feed``: it reads our standard input. It has a terminal where our input and output are one; ``tty`` says so where
    they are not. ``upload`` is a directory that it finds a copy of.
    """
    from hrm.cli.connect import client_or_ephemeral

    submit_id = str(uuid.uuid4())
    stdin = stdin_fd() if not detach and feed and job.task_count == 1 else None
    if stdin is not None and in_background(stdin):
        stdin = None
    terminal = stdin if stdin is not None and os.isatty(stdin) and sys.stdout.isatty() else None
    if tty and terminal is None:
        note(f"hrm: the command gets no terminal: standard {_no_terminal(stdin)}")
    if not detach:
        size = terminal_size(terminal) if terminal is not None else None
        job = attached(job, stdin=stdin is not None, terminal=size)
    with client_or_ephemeral(virtual_gpu_arguments(virtual_gpus)) as connection:
        if virtual_gpus is not None:
            connection.call(lambda client: check_virtual_gpus(client, virtual_gpus), start=True)
        submitted = connection.call(
            lambda client: client.submit(with_upload(job, upload, client), submit_id=submit_id), start=True
        )
        if detach:
            print(submitted.application_id)
            return 0
        from hrm.cli.session import Session
        from hrm.cli.writer import LineWriter, Writer

        several = job.task_count > 1
        writer = LineWriter(label=label, digits=len(str(job.task_count - 1))) if several or label else Writer()
        session = Session(connection, submitted.application_id, writer, stdin=stdin, terminal=terminal)
        report = session.run()
    return exit_code(report)


def _no_terminal(stdin: int | None) -> str:
    if stdin is None:
        return "input is closed, or in the background"
    return "output is none" if os.isatty(stdin) else "input is none"


def check_virtual_gpus(client: Client, count: int) -> None:
    """Raises Conflict where the server that is up was not started with so many."""
    there = sum(device.virtual for node in client.nodes() for device in node.devices)
    if there != count:
        raise Conflict(
            f"a server is up already, and it has {there} virtual GPUs, not {count}",
            next_step="leave --virtual-gpus out to use it, or stop it with `hrm down` first",
        )


def exit_code(report: ApplicationReport) -> int:
    """The application's own; what its output does not say for itself is said on stderr."""
    code = report.exit_code
    if report.state is not ApplicationState.FINISHED:
        # A command's own exit code needs no words, as in a shell.
        if report.message and report.message != f"exit code {code}":
            note(f"hrm: {clean(report.message)}")
        elif code is None:
            note(f"hrm: {short_id(report.application_id)} is {report.state}")
        return code or 1
    return code or 0
