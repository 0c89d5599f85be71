"""`hrm get`: what tasks left in their containers' directories."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hrm.cli.output import clean, note
from hrm.cli.selectors import AppArgument, select_one
from hrm.model.errors import NotFound
from hrm.model.ids import short_id
from hrm.model.units import format_bytes


def get(
    app: AppArgument,
    path: Annotated[str, typer.Argument(metavar="PATH", help="Below HRM_CONTAINER_DIR [default: all of it].")] = "",
    into: Annotated[
        Path | None, typer.Option("--into", "-o", metavar="DIR", help="Write below it [default: ./NUMBER of the app].")
    ] = None,
    task: Annotated[
        int | None, typer.Option("--task", "-t", metavar="NUMBER", min=0, help="Of one task only [default: all].")
    ] = None,
    attempt: Annotated[
        int | None, typer.Option("--attempt", metavar="NUMBER", min=1, help="Which attempt [default: the latest].")
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Overwrite files that are there.")] = False,
) -> None:
    """Fetch what tasks left in their directories.

    That is HRM_CONTAINER_DIR of each, where a job with --upload runs: kept until the server's retention clears it away.
    Of several tasks each has a directory of its own, task-0, task-1, ….

    \b
    Examples:
      hrm get last out/model.pt
      hrm get 17 -o results
      hrm get 17 logs --task 3 -o .
    """
    from hrm.cli.connect import client

    with client() as server:
        application_id = select_one(server, app)
        report = server.application(application_id)
        folder = into if into is not None else Path(short_id(application_id))
        several = report.tasks_total > 1 and task is None
        files = size_bytes = missing = 0
        for index in range(report.tasks_total) if task is None else (task,):
            target = folder / f"task-{index}" if several else folder
            try:
                done = server.fetch(application_id, target, task=index, path=path, attempt=attempt, overwrite=force)
            except NotFound as error:
                if not several:
                    raise
                missing += 1
                note(f"hrm: task {index}: {clean(error.message)}")
                continue
            files, size_bytes = files + done.files, size_bytes + done.size_bytes
            for words in done.left_out:
                note(f"hrm: left out: {clean(words)}")
    if missing and not files:
        raise NotFound("no task has anything there", next_step="`hrm get APP` fetches all that there is")
    print(f"{files} files, {format_bytes(size_bytes)}, in {folder}")
