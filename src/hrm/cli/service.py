"""`hrm service`: have systemd run the server, and the shepherd so that containers outlive it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from hrm.cli.output import Column, Output, OutputOption, clean, note, show, show_list
from hrm.cli.units import MARK, NODE, SERVER, SHEPHERD, Installation, command_line
from hrm.model.errors import ClusterError, Conflict, InvalidInput, NotFound

SYSTEM_UNITS = Path("/etc/systemd/system")
#: There iff systemd is the service manager of this machine (see sd_booted(3)).
BOOTED = Path("/run/systemd/system")
_TIMEOUT_S = 120.0
_PROPERTIES = ("ActiveState", "SubState", "UnitFileState", "MainPID")

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)
SystemOption = Annotated[
    bool | None,
    typer.Option("--system/--user", help="Of the machine, or of whoever calls [default: --system for root]."),
]


@app.callback()
def service() -> None:
    """Have systemd run the server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitReport:
    """One line of `hrm service status`."""

    unit: str
    #: "installed", "outdated" (starts another Python than the one that asks), "foreign" or "not installed".
    file: str
    path: str
    #: As systemd says: active (running), inactive (dead), …; "" where it does not run.
    state: str
    enabled: str
    pid: int | None


@app.command()
def install(
    system: SystemOption = None,
    print_: Annotated[bool, typer.Option("--print", help="Print the units; change nothing.")] = False,
    run_as: Annotated[
        str | None, typer.Option("--run-as", metavar="USER", help="Who the server is [default: whoever calls].")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Configuration [default: hrm.yaml in the home].")
    ] = None,
    join: Annotated[
        str | None, typer.Option("--join", metavar="HOST:PORT", help="Not a server, but a node of another's.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", metavar="FILE", help="With --join: the token of the cluster.")
    ] = None,
    join_options: Annotated[
        list[str] | None, typer.Argument(metavar="[-- JOIN_OPTIONS]", help="With --join: options of `hrm join`.")
    ] = None,
    now: Annotated[bool, typer.Option("--now", help="Start it at once.")] = False,
) -> None:
    """Write the units and enable them.

    The server is hrm.service. The shepherd is hrm-shepherd.service, in hrm.slice with a cgroup of its own, so that
    `systemctl restart hrm` leaves every container running. Run it again after an update of HRM. With --join it is
    hrm-node.service instead of the server: `hrm join`, kept up over restarts of the machine. The token is copied to
    ray/token in the home (0600).

    \b
    Examples:
      hrm service install --now                   as root of the machine, else of the user who calls
      hrm service install --system --print
      hrm --home /var/lib/hrm service install --run-as hrm
      hrm service install --now --join 10.0.0.1:6379 --token-file token -- --node-id box2 --gpu-devices 0,1
    """
    system = _is_system(system)
    installation = _installation(system, run_as, config, _joining(join, token_file, join_options or [], config))
    units = installation.units()
    if print_:
        print("\n".join(f"# {name}\n{text}" for name, text in units.items()), end="")
        return
    _require_systemd()
    folder = _folder(system)
    for name in units:
        if _file_state(folder / name) == "foreign":
            raise Conflict(f"{folder / name} is not HRM's", next_step="move it away; `--print` shows what it would be")
    other = folder / (SERVER if join else NODE)
    if _file_state(other) not in ("foreign", "not installed"):
        raise Conflict(
            f"{other} is installed: a machine has a server or is a node of another's",
            next_step="`hrm service uninstall` removes it; `engine.head_runs_containers` makes a head a node as well",
        )
    if join:
        _keep_token_for(installation, token_file)
    _write(folder, units)
    _systemctl(system, "daemon-reload")
    _systemctl(system, "enable", installation.main)
    note(f"installed in {folder}: {', '.join(units)}")
    if now:
        _systemctl(system, "restart", installation.main)
        print(f"{installation.main} is up")
    else:
        print(f"start it: {_shown(system)} start {installation.main.removesuffix('.service')}")
    if not system and not (Path("/var/lib/systemd/linger") / _me()).exists():
        note(f"it begins and ends with your sessions; `loginctl enable-linger {_me()}` has it run without one")


@app.command()
def uninstall(system: SystemOption = None) -> None:
    """Stop the server, or the node, and remove the units; containers go on to their end.

    The shepherd leaves when the last of them has ended.

    \b
    Examples:
      hrm service uninstall
      hrm service uninstall --user
    """
    system = _is_system(system)
    folder = _folder(system)
    units = {**_installation(system, None, None).units(), NODE: ""}
    ours = [name for name in units if _file_state(folder / name) not in ("foreign", "not installed")]
    if not ours:
        raise NotFound(f"no units of HRM in {folder}", next_step="`hrm service install` writes them")
    if BOOTED.exists():
        for name in (SERVER, NODE):
            if name in ours:
                _systemctl(system, "disable", "--now", name)
        # To itself alone: what it watches over must not hear of it.
        _systemctl(system, "kill", "--kill-who=main", "--signal=TERM", SHEPHERD, check=False)
    for name in ours:
        (folder / name).unlink()
    if BOOTED.exists():
        _systemctl(system, "daemon-reload")
    print(f"removed from {folder}: {', '.join(ours)}")


@app.command()
def status(system: SystemOption = None, output: OutputOption = Output.TABLE) -> None:
    """Show the units: are they installed, up to date, running?

    Exits 3 when the server's unit, or the node's, is not running.

    \b
    Examples:
      hrm service status
      hrm service status --user -o json
    """
    system = _is_system(system)
    folder = _folder(system)
    is_node = _file_state(folder / NODE) != "not installed"
    reports = [_unit_report(system, folder, name) for name in (NODE if is_node else SERVER, SHEPHERD)]
    show_list(reports, _COLUMNS, output) if output is Output.TABLE else show(reports, output)
    if any(report.file == "outdated" for report in reports):
        note(f"a unit does not start {sys.executable}: `hrm service install` writes it anew")
    if not reports[0].state.startswith("active"):
        raise typer.Exit(3)


def _unit_report(system: bool, folder: Path, name: str) -> UnitReport:
    path = folder / name
    facts = _facts(system, name) if BOOTED.exists() and shutil.which("systemctl") else {}
    active = facts.get("ActiveState", "")
    return UnitReport(
        unit=name,
        file=_file_state(path),
        path=str(path),
        state=f"{active} ({facts.get('SubState', '')})" if active else "",
        enabled=facts.get("UnitFileState", ""),
        pid=int(facts.get("MainPID", "0")) or None,
    )


def _joining(join: str | None, token_file: Path | None, options: list[str], config: Path | None) -> tuple[str, ...]:
    """Arguments of `hrm join`. Raises InvalidInput for what that would not take."""
    if join is None:
        if token_file is not None or options:
            raise InvalidInput(
                "options of a node", next_step="--join HOST:PORT names the cluster", field="--token-file"
            )
        return ()
    if config is not None:
        raise InvalidInput("--config is for a server", field="--config", next_step="leave it out")
    from click.exceptions import UsageError

    from hrm.cli.main import build

    command = build().get_command(typer.Context(build()), "join")
    assert command is not None
    try:
        parsed = command.make_context("join", [join, *options]).params
    except UsageError as error:
        raise InvalidInput(f"`hrm join` does not take that: {error.format_message()}", field="--join") from None
    if parsed["token"] is not None or parsed["token_file"] is not None or parsed["foreground"]:
        raise InvalidInput("the token's file is an option of this command", field="--token-file")
    return (join, *options)


def _keep_token_for(installation: Installation, token_file: Path | None) -> None:
    """Where the unit reads it. Raises InvalidInput where there is none."""
    from hrm.cli.membership import keep_token, token_of
    from hrm.config.home import Home

    home = Home(installation.home)
    home.create()
    keep_token(home.ray_dir, token_of(None, token_file))
    if installation.user is not None and os.geteuid() == 0:
        account = pwd.getpwnam(installation.user)
        for path in (home.ray_dir, home.ray_dir / "token"):
            os.chown(path, account.pw_uid, account.pw_gid)


def _installation(system: bool, run_as: str | None, config: Path | None, join: tuple[str, ...] = ()) -> Installation:
    """Raises InvalidInput for what cannot be."""
    import hrm.nm.shepherd
    from hrm.cli.connect import home_directory
    from hrm.config import load_config

    if run_as is not None and not system:
        raise InvalidInput("--run-as is for --system: a user's own units run as that user", next_step="leave it out")
    user = run_as or _me()
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise InvalidInput(f"no user {user!r}", field="--run-as", next_step="`getent passwd` lists them") from None
    home = home_directory().path
    if run_as is not None and "HRM_HOME" not in os.environ:
        home = Path(account.pw_dir) / ".hrm"
    if config is not None:
        load_config(config)
    return Installation(
        python=Path(sys.executable),
        shepherd=Path(hrm.nm.shepherd.__file__).parent,
        home=home,
        user=user if system else None,
        config=None if config is None else config.absolute(),
        join=join,
    )


def _is_system(system: bool | None) -> bool:
    return os.geteuid() == 0 if system is None else system


def _folder(system: bool) -> Path:
    if system:
        return SYSTEM_UNITS
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "systemd" / "user"


def _me() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def _file_state(path: Path) -> str:
    """See `UnitReport.file`. Raises ClusterError."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return "not installed"
    except OSError as error:
        raise ClusterError(f"cannot read {path}: {error.strerror}", next_step="check who you are") from None
    if not text.startswith(MARK):
        return "foreign"
    starts = f"ExecStart={command_line(sys.executable)} "
    return "outdated" if "ExecStart=" in text and starts not in text else "installed"


def _write(folder: Path, units: dict[str, str]) -> None:
    """Each file whole or not at all."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in units.items():
            temporary = folder / f".{name}.new"
            temporary.write_text(text, encoding="utf-8")
            temporary.chmod(0o644)
            temporary.replace(folder / name)
    except OSError as error:
        next_step = "try it as root, or with --user" if folder == SYSTEM_UNITS else "check the directory"
        raise ClusterError(f"cannot write to {folder}: {error.strerror}", next_step=next_step) from None


def _require_systemd() -> None:
    if not BOOTED.exists() or not shutil.which("systemctl"):
        raise Conflict(
            "systemd does not run this machine", next_step="`hrm up --detach` starts a server; --print shows the units"
        )


def _shown(system: bool) -> str:
    return "systemctl" if system else "systemctl --user"


def _systemctl(system: bool, *arguments: str, check: bool = True) -> str:
    """Raises ClusterError where it fails and ``check``; what it printed."""
    command = [*_shown(system).split(), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ClusterError(f"`{' '.join(command)}` failed: {error}", next_step="try it by hand") from None
    if check and done.returncode:
        why = clean(done.stderr.strip().replace("\n", "; ")) or f"exit code {done.returncode}"
        raise ClusterError(f"`{' '.join(command)}` failed: {why}", next_step=f"see `{_shown(system)} status hrm`")
    return done.stdout


def _facts(system: bool, name: str) -> dict[str, str]:
    shown = _systemctl(system, "show", name, f"--property={','.join(_PROPERTIES)}", check=False)
    return dict(line.partition("=")[::2] for line in shown.splitlines())


_COLUMNS = (
    Column("UNIT", lambda r: r.unit),
    Column("FILE", lambda r: r.file),
    Column("STATE", lambda r: r.state or "-"),
    Column("ENABLED", lambda r: r.enabled or "-"),
    Column("PID", lambda r: str(r.pid or "-"), right=True),
    Column("PATH", lambda r: r.path, shrinks=True),
)
