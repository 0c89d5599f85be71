"""`hrm yarn`: what clients of YARN need to find the server."""

from __future__ import annotations

import os
import pwd
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hrm.model.errors import Conflict, InvalidInput
from hrm.model.resources import MEMORY

if TYPE_CHECKING:
    from hrm.config.home import Home
    from hrm.sdk.client import Client

app = typer.Typer(
    help="Let clients of YARN find the server.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)


@app.callback()
def yarn() -> None:
    """Let clients of YARN find the server."""


@app.command()
def env(
    folder: Annotated[
        Path | None,
        typer.Option("--dir", metavar="DIR", help="Where the files go [default: hadoop-conf in the home]."),
    ] = None,
    classpath: Annotated[
        str,
        typer.Option(metavar="PATHS", help="Where applications find Hadoop's classes, if they bring none (Flink)."),
    ] = "",
) -> None:
    """Write the files that Hadoop's clients read, and print the variables that point there.

    \b
    Examples:
      eval "$(hrm yarn env)" && spark-submit --master yarn app.py
      hrm yarn env --dir ./conf
    """
    from hrm.cli.connect import client

    with client() as server:
        folder = write_files(server, folder, classpath=classpath)
    for name in ("HADOOP_CONF_DIR", "YARN_CONF_DIR"):
        print(f"export {name}={shlex.quote(str(folder))}")


def write_files(server: Client, folder: Path | None = None, *, classpath: str = "") -> Path:
    """The folder that the files were written to. Raises Conflict where the server's door is shut."""
    from hrm.cli.connect import home_directory
    from hrm.config.yarn.client_files import client_files, write_client_files

    facts = server.server().yarn
    if not facts:
        raise Conflict(
            "the server lets no clients of YARN in",
            next_step="start it with `hrm up --yarn`, or set yarn.enabled in hrm.yaml and start it anew",
        )
    folder = (folder.expanduser() if folder is not None else _own_folder(home_directory())).absolute()
    largest = max((node.total.get(MEMORY, 0) for node in server.nodes()), default=0)
    files = client_files(facts, classpath=classpath, node_memory_mib=largest, homes=_homes())
    write_client_files(folder, files)
    return folder


def _homes() -> str:
    """In which folder the homes of users lie; "" where this user's is not called as the user."""
    try:
        home, user = Path("~").expanduser(), pwd.getpwuid(os.geteuid()).pw_name
    except (KeyError, RuntimeError):
        return ""
    return str(home.parent) if home.name == user else ""


def _own_folder(home: Home) -> Path:
    if home.is_anothers:
        raise InvalidInput(f"{home.path} is another user's", field="--dir", next_step="name a directory of yours")
    return home.path / "hadoop-conf"
