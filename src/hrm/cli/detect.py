"""`hrm detect`: find things in photographs, as a job of HRM."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hrm.cli.output import Column, Output, OutputOption, clean, note, show, show_list
from hrm.model.errors import HrmError

if TYPE_CHECKING:
    from hrm.cli.connect import Connection
    from hrm.detect.results import PhotoResult
    from hrm.model.jobs import JobSpec
    from hrm.model.reports import ApplicationReport

#: How often a running job is looked at.
_LOOK_EVERY_S = 0.25
#: How long a job that was interrupted may take to end before what it left is removed.
_END_WAIT_S = 5.0
#: Of more photos only those with boxes are in the table, at most so many.
_SHOWN_PHOTOS = 100
_SHOWN_TASKS = 3
_SHOWN_LINES = 5
_LOG_TAIL_BYTES = 1 << 16


def detect(
    photos: Annotated[list[str], typer.Argument(help="Files, directories or globs.", metavar="PHOTOS…")],
    out: Annotated[Path, typer.Option("--out", help="Directory for boxes and pictures.", metavar="DIR")],
    tasks: Annotated[
        int | None, typer.Option("--tasks", "-n", help="Tasks that share the photos [default: as many as CPUs].")
    ] = None,
    queue: Annotated[str | None, typer.Option("--queue", "-q", help="Queue to submit to.", metavar="QUEUE")] = None,
    threshold: Annotated[float, typer.Option(help="Show boxes that score above this, from 0 to 1.")] = 0.5,
    model: Annotated[str, typer.Option(help="A model's name, or a directory with its files.")] = "yolov3-tiny",
    device: Annotated[str, typer.Option(help="cpu, or cuda: one GPU for each task.")] = "cpu",
    output: OutputOption = Output.TABLE,
) -> None:
    """Find things in photographs: boxes as JSON lines, and pictures with the boxes drawn.

    \b
    Examples:
      hrm detect street.jpg --out found
      hrm detect holiday/ 'more/*.png' --out found --tasks 8 --queue research
    """
    from hrm.cli.connect import client_or_ephemeral
    from hrm.detect.extra import require_extra
    from hrm.detect.job import DETECTIONS_FILE, collect, detection_job
    from hrm.detect.photos import find_photos

    require_extra()
    found = find_photos(photos)
    _make_sure_of(model)
    with client_or_ephemeral() as connection:
        job = detection_job(
            found,
            out,
            tasks=min(len(found), _vcores(connection)) if tasks is None else tasks,
            queue=queue,
            model=model,
            threshold=threshold,
            device=device,
        )
        report = _run(connection, job, len(found))
        if report.tasks_failed or report.tasks_killed:
            _tell_failures(connection, report)
    results = collect(job)
    failed = [result for result in results if result.error]
    boxes = sum(len(result.boxes) for result in results)
    if output is Output.TABLE:
        _show_table(results)
        where = out.expanduser().absolute()
        note(f"{boxes} boxes in {len(results) - len(failed)} photos; pictures and {DETECTIONS_FILE} are in {where}")
        for result in failed:
            note(f"not done: {clean(result.path)}: {clean(result.error or '')}")
    else:
        summary = {
            "application_id": report.application_id,
            "state": report.state,
            "photos": len(results),
            "photos_failed": len(failed),
            "boxes": boxes,
            "detections": str(out.expanduser().absolute() / DETECTIONS_FILE),
            "results": results,
        }
        show(summary, output)
    if failed:
        raise typer.Exit(1)


def _make_sure_of(model: str) -> None:
    """Pull a model of the catalogue that is not here, or not whole. Raises NotFound for any other."""
    from hrm.cli.models import pull_shown
    from hrm.detect.models import CATALOGUE, find_model, list_models

    if model not in CATALOGUE:
        find_model(model)
        return
    report = next(report for report in list_models() if report.name == model)
    if report.path is None:
        note(f"model {model} is not on this machine yet: pulling it")
        pull_shown(model)
    elif report.state != "ready":
        note(f"model {model}: {report.state}: pulling it again")
        pull_shown(model)


def _vcores(connection: Connection) -> int:
    nodes = connection.call(lambda client: client.nodes())
    return max(1, sum(node.total.get("vcores_milli", 0) for node in nodes) // 1000)


def _run(connection: Connection, job: JobSpec, photo_count: int) -> ApplicationReport:
    """Submit ``job`` and stay until it has ended; Ctrl-C ends it."""
    from hrm.cli.models import bar
    from hrm.detect.job import discard

    submit_id = uuid.uuid4().hex
    application_id = ""
    try:
        submitted = connection.call(lambda client: client.submit(job, submit_id=submit_id), start=True)
        application_id = submitted.application_id
        with bar("photos") as progress:
            while True:
                report = connection.call(lambda client: client.wait(application_id, timeout_s=_LOOK_EVERY_S))
                progress(int(report.progress * photo_count), photo_count)
                if report.state.final:
                    return report
    except KeyboardInterrupt:
        if application_id:
            connection.call(lambda client: client.kill(application_id, "interrupted"))
            connection.call(lambda client: client.wait(application_id, timeout_s=_END_WAIT_S))
        discard(job)
        raise
    except HrmError:
        if not application_id:
            discard(job)
        raise


def _tell_failures(connection: Connection, report: ApplicationReport) -> None:
    """Which tasks failed and what they said last."""
    note(f"{report.tasks_failed + report.tasks_killed} of {report.tasks_total} tasks failed: {report.message}")
    tasks = connection.call(lambda client: client.tasks(report.application_id))
    for task in [task for task in tasks if task.state in ("FAILED", "KILLED")][:_SHOWN_TASKS]:
        note(f"  task {task.task_index}: {clean(task.message)}")
        for line in _last_words(connection, report.application_id, task.task_index):
            note(f"    | {clean(line)}")


def _last_words(connection: Connection, application_id: str, task_index: int) -> list[str]:
    tail = b""
    try:
        for chunk in connection.client.logs(application_id, task=task_index, stream="stderr"):
            tail = (tail + chunk)[-_LOG_TAIL_BYTES:]
    except HrmError as error:
        return [f"its log cannot be read: {error.message}"]
    return tail.decode(errors="replace").splitlines()[-_SHOWN_LINES:]


def _show_table(results: Sequence[PhotoResult]) -> None:
    from hrm.detect.results import describe

    rows = results if len(results) <= _SHOWN_PHOTOS else [result for result in results if result.boxes]
    columns = (
        Column("PHOTO", lambda row: Path(row.path).name, shrinks=True),
        Column("BOXES", describe, shrinks=True),
    )
    show_list(rows[:_SHOWN_PHOTOS], columns, Output.TABLE)
    if len(rows) > _SHOWN_PHOTOS:
        note(f"… and {len(rows) - _SHOWN_PHOTOS} photos more with boxes")
