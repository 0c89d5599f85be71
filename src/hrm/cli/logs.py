"""`hrm logs` and `hrm events`."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from hrm.cli.output import Column, Output, OutputOption, clean, note, show_list, show_time
from hrm.cli.selectors import AppArgument, select_one
from hrm.model.errors import InvalidInput
from hrm.model.ids import short_id
from hrm.model.units import format_bytes


def logs(
    app: AppArgument,
    task: Annotated[
        int | None, typer.Option("--task", "-t", metavar="NUMBER", min=0, help="Number of the task [default: 0].")
    ] = None,
    stderr: Annotated[bool, typer.Option("--stderr", "-e", help="Its stderr instead of its stdout.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the task has ended.")] = False,
    attempt: Annotated[
        int | None, typer.Option("--attempt", metavar="NUMBER", min=1, help="Which attempt [default: the latest].")
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", metavar="NAME", help="A file that it wrote beside stdout and stderr.")
    ] = None,
    list_files: Annotated[bool, typer.Option("--list", help="Which files there are, and no output.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what a task printed.

    \b
    Examples:
      hrm logs -f last
      hrm logs 17 --task 3 --stderr
      hrm logs 17 --list
      hrm logs 17 --file taskmanager.out
    """
    if list_files and (stderr or follow or file is not None):
        raise InvalidInput("--list shows no output: leave --stderr, --follow and --file out", field="--list")
    if stderr and file is not None:
        raise InvalidInput("either stderr or a file", field="--file")
    from hrm.cli.connect import client
    from hrm.cli.writer import write_all

    with client() as server:
        application_id = select_one(server, app)
        if task is None:
            total = server.application(application_id).tasks_total
            if total > 1:
                note(f"hrm: task 0 of {total}; --task I shows another")
        if list_files:
            files = server.log_files(application_id, task=task or 0, attempt=attempt)
            columns = [
                Column("FILE", lambda one: one.name),
                Column("SIZE", lambda one: format_bytes(one.size_bytes), right=True),
                Column("CHANGED", lambda one: show_time(one.modified_at)),
            ]
            show_list(files, columns, output)
            return
        stream = "stderr" if stderr else "stdout"
        for data in server.logs(
            application_id, task=task or 0, stream=stream, follow=follow, attempt=attempt, file=file
        ):
            write_all(1, data)


def events(
    app: Annotated[str | None, typer.Argument(metavar="APP", help="Only those of one application.")] = None,
    after: Annotated[int, typer.Option("--after", metavar="NUMBER", min=0, help="Only those after this number.")] = 0,
    count: Annotated[
        int | None, typer.Option("--count", "-n", metavar="NUMBER", min=1, help="Stop after so many.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Follow the event log.

    Shows what is kept, then each event as it happens, until Ctrl-C. JSON comes as one object per line.

    \b
    Examples:
      hrm events 17
      hrm events -o json -n 100 | jq .kind
    """
    import msgspec

    from hrm.cli.connect import client

    if output is Output.YAML:
        raise InvalidInput("events come as table or json", field="--output")
    with client() as server:
        application_id = None if app is None else select_one(server, app)
        for event in islice(server.events(after_seq=after, application_id=application_id), count):
            if output is Output.JSON:
                print(msgspec.json.encode(event).decode(), flush=True)
                continue
            detail = " ".join(f"{key}={value}" for key, value in event.detail.items())
            about = short_id(event.application_id) if event.application_id else event.node_id or ""
            text = f"{event.seq:>8}  {show_time(event.at)}  {event.kind:<24} {about:<8} {detail}"
            print(clean(text).rstrip(), flush=True)
