"""`hrm run`: a command runs as if it ran here."""

from __future__ import annotations

import os
import sys
import uuid
from typing import TYPE_CHECKING, Annotated

import typer

from hrm.cli.job_options import (
    CleanEnvOption,
    CpusOption,
    EnvOption,
    ErrorCodeOption,
    GpuModelOption,
    GpusOption,
    JobOptions,
    MaxFailuresOption,
    MemoryOption,
    NameOption,
    PriorityOption,
    QueueOption,
    RetriesOption,
    TasksOption,
    TimeoutOption,
    VirtualGpusOption,
    WorkdirOption,
    attached,
    virtual_gpu_arguments,
)
from hrm.cli.main import fail
from hrm.cli.output import clean, note, short_id
from hrm.cli.terminal import in_background, stdin_fd, terminal_size
from hrm.model.errors import Conflict, HrmError
from hrm.model.jobs import JobSpec
from hrm.model.reports import ApplicationReport
from hrm.model.states import ApplicationState

if TYPE_CHECKING:
    from hrm.sdk.client import Client


def run(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND", help="The program to run, with its arguments.")],
    queue: QueueOption = None,
    cpus: CpusOption = None,
    memory: MemoryOption = None,
    gpus: GpusOption = None,
    gpu_model: GpuModelOption = None,
    tasks: TasksOption = None,
    name: NameOption = None,
    env: EnvOption = None,
    clean_env: CleanEnvOption = False,
    workdir: WorkdirOption = None,
    timeout: TimeoutOption = None,
    retries: RetriesOption = None,
    max_failures: MaxFailuresOption = None,
    priority: PriorityOption = None,
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
      hrm run --gpus 1 --memory 16G -- bash       a shell with a GPU
      hrm run --virtual-gpus 2 --gpus 1 -- env    what a job with a GPU finds, without one
      cat photos.txt | hrm run -- sort -u
      hrm run --tasks 4 --label -- sh -c 'echo I am $HRM_TASK_INDEX'
    """
    options = JobOptions(
        queue=queue,
        cpus=cpus,
        memory=memory,
        gpus=gpus,
        gpu_model=gpu_model,
        tasks=tasks,
        name=name,
        env=env,
        clean_env=clean_env,
        workdir=workdir,
        timeout=timeout,
        retries=retries,
        max_failures=max_failures,
        priority=priority,
    )
    try:
        code = _run(options.job(command), stay=not detach, feed=not no_stdin, label=label, virtual_gpus=virtual_gpus)
    except HrmError as error:
        fail(error, code=error_code)
    raise typer.Exit(code)


def _run(job: JobSpec, *, stay: bool, feed: bool, label: bool, virtual_gpus: int | None) -> int:
    from hrm.cli.connect import client_or_ephemeral

    submit_id = str(uuid.uuid4())
    stdin = stdin_fd() if stay and feed and job.task_count == 1 else None
    if stdin is not None and in_background(stdin):
        stdin = None
    terminal = stdin if stdin is not None and os.isatty(stdin) and sys.stdout.isatty() else None
    if stay:
        size = terminal_size(terminal) if terminal is not None else None
        job = attached(job, stdin=stdin is not None, terminal=size)
    with client_or_ephemeral(virtual_gpu_arguments(virtual_gpus)) as connection:
        if virtual_gpus is not None:
            connection.call(lambda client: check_virtual_gpus(client, virtual_gpus), start=True)
        submitted = connection.call(lambda client: client.submit(job, submit_id=submit_id), start=True)
        if not stay:
            print(submitted.application_id)
            return 0
        from hrm.cli.session import Session
        from hrm.cli.writer import LineWriter, Writer

        several = job.task_count > 1
        writer = LineWriter(label=label, digits=len(str(job.task_count - 1))) if several or label else Writer()
        session = Session(connection, submitted.application_id, writer, stdin=stdin, terminal=terminal)
        report = session.run()
    return exit_code(report)


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
