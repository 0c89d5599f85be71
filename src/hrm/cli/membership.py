"""`hrm join` and `hrm leave`: this machine's place in the cluster of a server on another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from hrm.config.values import MAX_VIRTUAL_GPUS
from hrm.model.errors import Conflict, InvalidInput
from hrm.model.units import parse_memory_mib

_PROGRAM = "hrm.engines.ray.member"
_TOKEN_VARIABLE = "HRM_JOIN_TOKEN"


def join(
    address: Annotated[str, typer.Argument(metavar="HOST:PORT", help="Of the head, as `hrm up` shows it.")],
    token: Annotated[
        str | None, typer.Option("--token", metavar="TOKEN", help=f"Of the cluster [default: ${_TOKEN_VARIABLE}].")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", metavar="FILE", help="Where it stands, instead.")
    ] = None,
    node_id: Annotated[
        str | None, typer.Option("--node-id", metavar="NAME", help="Name of this machine [default: its host name].")
    ] = None,
    node_address: Annotated[
        str | None, typer.Option("--node-address", metavar="IP", help="Under which others reach it [default: found].")
    ] = None,
    cpus: Annotated[int | None, typer.Option("--cpus", "-c", min=1, help="CPUs that it lends [default: all].")] = None,
    memory: Annotated[
        str | None, typer.Option("--memory", "-m", metavar="SIZE", help="Memory that it lends [default: nearly all].")
    ] = None,
    gpu_devices: Annotated[
        str | None,
        typer.Option("--gpu-devices", metavar="LIST", help="GPUs that it lends: 0,2 or UUIDs; '' none [default: all]."),
    ] = None,
    virtual_gpus: Annotated[
        int, typer.Option("--virtual-gpus", min=0, max=MAX_VIRTUAL_GPUS, help="GPUs that do no arithmetic, instead.")
    ] = 0,
    state_dir: Annotated[
        Path | None, typer.Option("--state-dir", metavar="DIR", help="Of its containers [default: node in the home].")
    ] = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay, for a service manager, instead of going on by itself.")
    ] = False,
    external_shepherd: Annotated[
        bool, typer.Option("--external-shepherd", help="A service manager starts the shepherd.", hidden=True)
    ] = False,
) -> None:
    """Make this machine a node of another's server.

    Returns when the machine is in the cluster, and keeps it there until `hrm leave`, also over outages of the network;
    not over a restart of the machine. The token gives whoever has it all rights on all machines of the cluster.

    \b
    Examples:
      hrm join 10.0.0.1:6379 --token-file token
      hrm join 10.0.0.1:6379 --node-id box2 --gpu-devices 0,1
      HRM_JOIN_TOKEN=$(ssh head cat .hrm/ray/token) hrm join head:6379
    """
    from hrm.cli.connect import home_directory
    from hrm.config.machine import usable_memory_mib, usable_vcores_milli

    home = home_directory()
    home.create()
    if os.geteuid() == 0:
        # Containers run as their users, and have their directories in it.
        home.admit_others()
    if token is not None and token_file is not None:
        raise InvalidInput("--token and --token-file exclude each other", next_step="choose one of them")
    if gpu_devices and virtual_gpus:
        raise InvalidInput("--gpu-devices and --virtual-gpus exclude each other", next_step="choose one of them")
    keep_token(home.ray_dir, token_of(token, token_file))
    arguments = [
        f"--address={address}",
        f"--cpus={cpus or max(1, usable_vcores_milli() // 1000)}",
        f"--memory-mib={usable_memory_mib() if memory is None else parse_memory_mib(memory, field='--memory')}",
        f"--virtual-gpus={virtual_gpus}",
    ]
    for name, value in (
        ("node-id", node_id),
        ("node-address", node_address),
        ("gpu-devices", gpu_devices),
        ("state-dir", state_dir),
    ):
        if value is not None:
            arguments.append(f"--{name}={value}")
    if external_shepherd:
        arguments.append("--external-shepherd")
    _run(home.ray_dir, *arguments, *([] if foreground else ["--detach"]), instead=foreground)
    if not foreground:
        print(f"this machine is in the cluster at {address}; `hrm leave` takes it out")


def leave(
    kill: Annotated[bool, typer.Option("--kill", help="End the containers that run here.")] = False,
) -> None:
    """Take this machine out of the cluster.

    Refused while containers run here, unless --kill. On the head it ends the cluster; `hrm down` comes first there.

    \b
    Examples:
      hrm nodes drain box2 && hrm leave           (the first on the server's machine)
      hrm leave --kill
    """
    from hrm.cli.connect import home_directory, is_alive

    home = home_directory()
    if _is_head(home.ray_dir) and ((home.server_pid and is_alive(home.server_pid)) or home.away()):
        raise Conflict(
            "this is the head, and its server would start another one", next_step="`hrm down` ends the server first"
        )
    _run(home.ray_dir, "--leave", *(["--kill"] if kill else []))


def _is_head(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / "member.json").read_text()).get("head"))
    except (OSError, ValueError):
        return False


def token_of(token: str | None, token_file: Path | None) -> str:
    """The token itself. Raises InvalidInput where there is none."""
    if token_file is not None:
        try:
            token = token_file.read_text()
        except OSError as error:
            raise InvalidInput(f"cannot read {token_file}: {error.strerror}", field="--token-file") from None
    token = (token or os.environ.get(_TOKEN_VARIABLE) or "").strip()
    if not token:
        raise InvalidInput(
            "a token is needed to join", next_step="it stands on the head, in ray/token in the server's home"
        )
    return token


def keep_token(folder: Path, token: str) -> None:
    """Ray's processes read it there. One that is in use stays; then `_run` says what is wrong."""
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    if (folder / "member.json").exists():
        return
    descriptor = os.open(folder / "token", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w") as file:
        file.write(token)


def _run(folder: Path, *arguments: str, instead: bool = False) -> None:
    """Its errors are on stderr already, and its exit code is ours. ``instead``: it takes the place of this process."""
    command = [sys.executable, "-P", "-m", _PROGRAM, f"--dir={folder}", *arguments]
    if instead:
        os.execv(command[0], command)
    if status := subprocess.run(command, check=False).returncode:
        raise typer.Exit(status)
