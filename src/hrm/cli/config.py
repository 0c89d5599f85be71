"""`hrm config`: write, import, show and check ``hrm.yaml``."""

from __future__ import annotations

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hrm.cli.output import Output, OutputOption, clean, note, show
from hrm.model.errors import ClusterError, Conflict

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


class Report(StrEnum):
    """How an import tells what became of each property."""

    TEXT = "text"
    JSON = "json"


@app.callback()
def config() -> None:
    """Write, import, show or check the configuration."""


@app.command()
def init(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Where to [default: hrm.yaml in the home].")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if there is one.")] = False,
) -> None:
    """Write a commented file with all defaults.

    \b
    Examples:
      hrm config init
      hrm config init ./cluster.yaml --force
    """
    from hrm.cli.connect import home_directory
    from hrm.config.loader import default_text

    if file is None:
        home = home_directory()
        home.create()
        file = home.config_file
    _write(file, default_text(), force=force)
    print(file)


@app.command("import")
def import_yarn(
    file: Annotated[Path, typer.Argument(metavar="FAIR_SCHEDULER_XML", help="YARN's allocation file.")],
    yarn_site: Annotated[
        Path | None, typer.Argument(metavar="[YARN_SITE_XML]", help="Its site file [default: YARN's defaults].")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to; - is stdout.")] = Path("-"),
    force: Annotated[bool, typer.Option("--force", help="Replace the file if there is one.")] = False,
    report: Annotated[
        Report, typer.Option("--report", metavar="FORM", help="What became of each property: text or json.")
    ] = Report.TEXT,
) -> None:
    """Translate YARN's Fair Scheduler files into an hrm.yaml that behaves alike.

    What became of each property is told on stderr. A bad file writes nothing.

    \b
    Examples:
      hrm config import fair-scheduler.xml > hrm.yaml
      hrm config import fair-scheduler.xml yarn-site.xml -o hrm.yaml
      hrm config import fair-scheduler.xml yarn-site.xml --report json 2> report.json
    """
    from hrm.config.yarn.importer import import_fair_scheduler

    to_stdout = str(output) == "-"
    if not to_stdout:
        _refuse_to_replace(output, force=force)
    made = import_fair_scheduler(file, yarn_site)
    if to_stdout:
        print(made.text, end="")
    else:
        _write(output, made.text, force=force)
    if report is Report.JSON:
        note(json.dumps(made.report.as_dict(), indent=2, ensure_ascii=False))
    else:
        for line in made.report.lines():
            note(clean(line))


def _refuse_to_replace(file: Path, *, force: bool) -> None:
    if file.exists() and not force:
        raise Conflict(f"{file} exists", next_step="--force replaces it; `hrm config show` shows what it means")


def _write(file: Path, text: str, *, force: bool) -> None:
    """Beside it and then moved: a full disk leaves an old file as it was."""
    _refuse_to_replace(file, force=force)
    beside = file.with_name(f"{file.name}.new")
    try:
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, file)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ClusterError(f"{file}: cannot be written: {error.strerror or error}") from error


@app.command("show")
def show_config(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="Which [default: hrm.yaml in the home].")] = None,
    output: OutputOption = Output.YAML,
) -> None:
    """Show what the configuration means, with defaults filled in.

    \b
    Examples:
      hrm config show
      hrm config show -o json | jq .node
    """
    from hrm.config import load_config
    from hrm.config.plain import plain_config

    plain = plain_config(load_config(_file(file)))
    show(plain, Output.YAML if output is Output.TABLE else output)


@app.command()
def check(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="Which [default: hrm.yaml in the home].")] = None,
) -> None:
    """Check a file as a whole: every finding at once, with line and key.

    \b
    Examples:
      hrm config check
      hrm config check ./cluster.yaml
    """
    from hrm.config import load_config

    path = _file(file)
    load_config(path)
    note(f"{path}: no findings" if path is not None else "there is no hrm.yaml; all defaults (`hrm config init`)")


def _file(file: Path | None) -> Path | None:
    from hrm.cli.connect import home_directory

    if file is not None:
        return file
    default = home_directory().config_file
    return default if default.exists() else None
