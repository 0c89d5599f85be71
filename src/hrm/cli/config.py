"""`hrm config`: write, show and check ``hrm.yaml``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hrm.cli.output import Output, OutputOption, note, show
from hrm.model.errors import ClusterError, Conflict
from hrm.model.queues import QueueSpec

if TYPE_CHECKING:
    from hrm.config import HrmConfig

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

    plain = _plain(load_config(_file(file)))
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


def _plain(config: HrmConfig) -> dict[str, Any]:
    """In the keys of the file."""
    node, server, kept = config.node, config.server, config.retention
    held = node.isolation
    return {
        "scheduler": {"policy": str(config.scheduler.policy), "default_queue": config.scheduler.default_queue},
        "queues": {child.name: _plain_queue(child) for child in config.queues.children},
        "node": {
            "node_id": node.node_id,
            "vcores": node.total.vcores_milli / 1000,
            "memory": f"{node.total.memory_mib}M",
            # "all" is what leaving the key out means; there is no value for it.
            **({} if node.gpu_devices is None else {"gpu_devices": list(node.gpu_devices)}),
            "virtual_gpus": node.virtual_gpus,
            "log_limit": f"{node.log_limit_bytes >> 20}M",
            "isolation": str(held.mode),
            "strict_cpus": held.strict_cpus,
            "max_processes": held.max_processes,
            **({} if held.disk_quota_mib is None else {"disk_quota": f"{held.disk_quota_mib}M"}),
            "umask": f"{held.umask:03o}",
        },
        "server": {
            "host": server.host,
            "port": server.port,
            "allowed_hosts": list(server.allowed_hosts),
            "allowed_origins": list(server.allowed_origins),
            "check_socket_owner": server.check_socket_owner,
            "max_body": f"{server.max_body_bytes >> 20}M",
            "requests_per_s": server.requests_per_s,
            "idle_exit": f"{server.idle_exit_s:g}s",
        },
        "retention": {
            "applications_age": f"{kept.applications_age_s:.15g}s",
            "applications": kept.applications,
            "events": kept.events,
            "logs_age": f"{kept.logs_age_s:.15g}s",
            "logs_size": f"{kept.logs_bytes >> 20}M",
            "scratch_age": f"{kept.scratch_age_s:.15g}s",
            "scratch_size": f"{kept.scratch_bytes >> 20}M",
        },
    }


def _plain_queue(queue: QueueSpec) -> dict[str, Any]:
    from hrm.config.fields import show_share

    plain: dict[str, Any] = {"weight": queue.weight, "policy": str(queue.policy)}
    if queue.min_share:
        plain["min_share"] = show_share(queue.min_share)
    if queue.max_share is not None:
        plain["max_share"] = show_share(queue.max_share)
    if queue.max_running_apps is not None:
        plain["max_running_apps"] = queue.max_running_apps
    if queue.children:
        plain["queues"] = {child.name: _plain_queue(child) for child in queue.children}
    return plain
