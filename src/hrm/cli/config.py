"""`hrm config`: write, show and check ``hrm.yaml``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from hrm.cli.output import Output, OutputOption, note, show
from hrm.model.errors import ClusterError, Conflict

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def config() -> None:
    """Write, show or check the configuration."""


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
    if file.exists() and not force:
        raise Conflict(f"{file} exists", next_step="--force replaces it; `hrm config show` shows what it means")
    # Written beside and moved: a full disk leaves the old file as it was.
    beside = file.with_name(f"{file.name}.new")
    try:
        beside.write_text(default_text(), encoding="utf-8")
        os.replace(beside, file)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ClusterError(f"{file}: cannot be written: {error.strerror or error}") from error
    print(file)


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
