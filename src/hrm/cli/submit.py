"""`hrm submit` and `hrm wait`."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from hrm.cli.job_options import ErrorCodeOption, JobOptions, takes_job_options, with_upload
from hrm.cli.main import fail
from hrm.cli.output import Output, OutputOption, clean, note, show
from hrm.cli.selectors import AppsArgument, select
from hrm.model.errors import HrmError, InvalidInput
from hrm.model.ids import short_id
from hrm.model.jobs import JobSpec
from hrm.model.queues import DEFAULT_QUEUE
from hrm.model.reports import ApplicationReport
from hrm.model.states import ApplicationState, TaskState

if TYPE_CHECKING:
    from hrm.cli.connect import Connection
    from hrm.sdk.client import Client

_LOOK_S = 1.0
_LONG_POLL_S = 30.0
#: As timeout(1).
TIMED_OUT = 124
_INTERRUPTED = 130


@takes_job_options()
def submit(
    command: Annotated[
        list[str], typer.Argument(metavar="COMMAND|JOB.yaml", help="A program with its arguments, or a job file.")
    ],
    options: JobOptions,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait until it has ended; exit with its code.")] = False,
    test_only: Annotated[
        bool, typer.Option("--test-only", help="Say which queue it would go to, and submit nothing.")
    ] = False,
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind", metavar="KIND", help="ray: COMMAND is a Python script, and the tasks a Ray cluster for it."
        ),
    ] = None,
    spark: Annotated[
        bool, typer.Option("--spark", help="It is an application of Spark's; cpus, memory and gpus are its executors'.")
    ] = False,
    output: OutputOption = Output.TABLE,
    error_code: ErrorCodeOption = None,
) -> None:
    """Submit a command or a job file and return.

    Prints the application's id, and on stderr which queue it went to and why. With a job file the options win over what
    it says. Ctrl-C while waiting leaves the job running.

    \b
    Examples:
      hrm submit -- python train.py
      hrm submit --tasks 100 --cpus 0.5 --wait -- ./simulate
      hrm submit --queue research -o json job.yaml
      hrm submit --upload . -- python train.py
      hrm submit --master -- python my_master.py
      hrm submit --gang --tasks 4 --tasks-per-node 1 --gang-timeout 2h -- ./train.sh
      hrm submit --kind ray --tasks 4 --memory 4G -- script.py --epochs 3
      hrm submit --test-only --queue research -- ./simulate
      hrm submit --spark --tasks 4 --memory 2G -- app.py
    """
    try:
        if spark:
            _become_spark(command, options, wait=wait, test_only=test_only, output=output)
        job, directory = _job(command, options)
        if kind is not None:
            job = _of_kind(job, kind)
        code = _place(job, output) if test_only else _submit(job, directory, wait=wait, output=output)
    except HrmError as error:
        fail(error, code=error_code)
    raise typer.Exit(code)


def wait(
    apps: AppsArgument,
    timeout: Annotated[
        str | None, typer.Option("--timeout", "-t", metavar="TIME", help="Give up after: 90s, 2h [default: never].")
    ] = None,
    output: OutputOption = Output.TABLE,
    error_code: ErrorCodeOption = None,
) -> None:
    """Wait until applications have ended.

    Exits 0 only if all succeeded, else with the highest exit code; 124 if --timeout is over first.

    \b
    Examples:
      hrm wait last
      hrm wait 17 && echo well done
      hrm wait 3,5-8 --timeout 1h
    """
    from hrm.model.units import parse_duration_s

    try:
        timeout_s = None if timeout is None else parse_duration_s(timeout, field="--timeout")
        code = _wait(apps, timeout_s, output)
    except HrmError as error:
        fail(error, code=error_code)
    raise typer.Exit(code)


def _job(command: list[str], options: JobOptions) -> tuple[JobSpec, Path | None]:
    """With the directory that is to be uploaded for it."""
    if not command[0].endswith((".yaml", ".yml")):
        return options.job(command), options.upload
    if len(command) > 1:
        raise InvalidInput(f"options stand before the job file: {command[1]!r} stands after {command[0]!r}")
    from hrm.config.jobs import load_job

    file = load_job(Path(command[0]))
    options = replace(options, upload=options.upload or file.upload)
    return options.over(file.job), options.upload


def _of_kind(job: JobSpec, kind: str) -> JobSpec:
    """Raises InvalidInput."""
    if kind != "ray":
        raise InvalidInput(
            f"not a kind: {kind!r:.40}", field="--kind", next_step="ray; masters of their own have --master"
        )
    from hrm.config.ray_jobs import PROGRAM, ray_job

    if any(PROGRAM in group.env for group in job.groups):
        raise InvalidInput("the job's file says so already", field="--kind", next_step="leave it out")
    return ray_job(job)


def _become_spark(command: list[str], options: JobOptions, *, wait: bool, test_only: bool, output: Output) -> NoReturn:
    if test_only or output is not Output.TABLE:
        raise InvalidInput("spark-submit says what it says", field="--spark", next_step="leave --test-only and -o out")
    from hrm.cli.spark import submit_to_spark

    submit_to_spark(command, options, wait=wait)


def _place(job: JobSpec, output: Output) -> int:
    from hrm.cli.connect import client

    with client() as server:
        report = server.place(job)
    if output is not Output.TABLE:
        show(report, output)
        return 0
    made = f"; it would be made: {', '.join(report.makes)}" if report.makes else ""
    print(clean(f"it would go to {report.queue} (rule {report.rule}){made}"))
    return 0


def _submit(job: JobSpec, upload: Path | None, *, wait: bool, output: Output) -> int:
    from hrm.cli.connect import client_or_ephemeral

    submit_id = str(uuid.uuid4())
    with client_or_ephemeral() as connection:
        submitted = connection.call(
            lambda client: client.submit(with_upload(job, upload, client), submit_id=submit_id), start=True
        )
        # Where one asked for it, or where all go who ask for nothing, it is no news.
        expected = ("", "specified") if job.queue not in (None, DEFAULT_QUEUE) else ("", "specified", "default")
        if submitted.rule not in expected and output is Output.TABLE:
            note(clean(f"hrm: goes to queue {submitted.queue} (rule {submitted.rule})"))
        if not wait:
            if output is Output.TABLE:
                print(submitted.application_id)
            else:
                show(submitted, output)
            return 0
        if output is Output.TABLE:
            print(submitted.application_id, flush=True)
        reports = wait_for(connection, [submitted.application_id], timeout_s=None)
        report = reports[0]
        if output is not Output.TABLE:
            show(report, output)
        if report.state is not ApplicationState.FINISHED:
            say_why(connection, report)
        return _code(report)


def _wait(apps: Sequence[str], timeout_s: float | None, output: Output) -> int:
    from hrm.cli.connect import Connection, connect

    connection = Connection(connect())
    try:
        ids = connection.call(lambda client: select(client, apps))
        reports = wait_for(connection, ids, timeout_s=timeout_s)
        if output is not Output.TABLE:
            show(reports, output)
        for report in reports:
            if report.state.final and report.state is not ApplicationState.FINISHED:
                say_why(connection, report)
    finally:
        connection.close()
    if any(not report.state.final for report in reports):
        note(f"hrm: not over after {timeout_s:g} s: " + ", ".join(_open_ids(reports)))
        return TIMED_OUT
    return max((_code(report) for report in reports), default=0)


def wait_for(connection: Connection, ids: Sequence[str], *, timeout_s: float | None) -> list[ApplicationReport]:
    """The last report of each, after all have ended or after ``timeout_s``. Shows progress on a terminal."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    reports: dict[str, ApplicationReport] = {}
    try:
        with _Progress(enabled=sys.stderr.isatty()) as progress:
            for application_id in ids:
                while True:
                    left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
                    poll_s = _LOOK_S if progress.enabled else _LONG_POLL_S
                    poll_s = poll_s if left_s is None else min(poll_s, left_s)
                    report = _look(connection, application_id, poll_s)
                    reports[application_id] = report
                    progress.update(report)
                    if report.state.final or left_s == 0.0:
                        break
    except KeyboardInterrupt:
        still = [application_id for application_id in ids if not _over(reports.get(application_id))]
        numbers = ",".join(map(short_id, still))
        note(f"\nhrm: still running: {numbers}; `hrm wait {numbers}` waits again, `hrm kill {numbers}` ends it")
        raise typer.Exit(_INTERRUPTED) from None
    return [reports[application_id] for application_id in ids]


def _look(connection: Connection, application_id: str, timeout_s: float) -> ApplicationReport:
    return connection.call(lambda client: client.wait(application_id, timeout_s=timeout_s))


def say_why(connection: Connection, report: ApplicationReport) -> None:
    """What went wrong with an application that has ended, and the command that shows more."""
    number = short_id(report.application_id)
    note(f"hrm: {number} ({clean(report.name)}) {report.state}: {clean(report.message) or 'no reason given'}")
    failed = connection.call(lambda client: _first_failed(client, report.application_id))
    if failed is not None:
        which = f" --task {failed}" if report.tasks_total > 1 else ""
        note(f"  next: hrm logs {number}{which} --stderr")


def _first_failed(client: Client, application_id: str) -> int | None:
    offset = 0
    while tasks := client.tasks(application_id, offset=offset, limit=1000):
        for task in tasks:
            if task.state in (TaskState.FAILED, TaskState.LOST):
                return task.task_index
        offset += len(tasks)
    return None


def _code(report: ApplicationReport) -> int:
    if report.state is ApplicationState.FINISHED:
        return report.exit_code or 0
    return report.exit_code or 1


def _over(report: ApplicationReport | None) -> bool:
    return report is not None and report.state.final


def _open_ids(reports: Sequence[ApplicationReport]) -> list[str]:
    return [short_id(report.application_id) for report in reports if not report.state.final]


class _Progress:
    """One bar per application on stderr; nothing where that is no terminal."""

    def __init__(self, *, enabled: bool) -> None:
        self.enabled = enabled
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> _Progress:
        if self.enabled:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            self._bars = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[state]}", markup=False),
                console=Console(stderr=True),
            )
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def update(self, report: ApplicationReport) -> None:
        if self._bars is None:
            return
        ended = report.tasks_succeeded + report.tasks_failed + report.tasks_killed
        label = f"{short_id(report.application_id)} {clean(report.name)[:30]}"
        task = self._tasks.get(report.application_id)
        if task is None:
            task = self._tasks[report.application_id] = self._bars.add_task(label, total=report.tasks_total, state="")
        waits = report.state is not ApplicationState.RUNNING and not report.state.final
        state = clean(report.message)[:60] if waits and report.message else str(report.state)
        done = max(ended, report.progress * report.tasks_total)
        self._bars.update(task, completed=int(done), state=state)
