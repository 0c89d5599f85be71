"""`hrm up`, `hrm down` and `hrm status`."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hrm.cli.job_options import IsolationOption, VirtualGpusOption, isolation_arguments, virtual_gpu_arguments
from hrm.cli.output import Output, OutputOption, clean, note, show
from hrm.model.engine import EngineKind
from hrm.model.errors import ClusterError, Conflict, InvalidInput, NoServer
from hrm.model.states import ApplicationState
from hrm.model.units import format_duration

if TYPE_CHECKING:
    from hrm.config.home import Home
    from hrm.sdk.client import Client

DOWN_DEADLINE_S = 60.0
_POLL_S = 0.02
_DRAIN_POLL_S = 0.5


def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when it is ready; it goes on.")] = False,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Configuration [default: hrm.yaml in the home].")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", "-p", metavar="PORT", min=0, max=65535, help="Port; 0 for any free one.")
    ] = None,
    virtual_gpus: VirtualGpusOption = None,
    isolation: IsolationOption = None,
    engine: Annotated[
        EngineKind | None, typer.Option("--engine", help="What runs containers [default: engine.kind].")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="HOST:PORT", help="A Ray cluster that this machine is in [default: own]."),
    ] = None,
    yarn: Annotated[
        bool, typer.Option("--yarn", help="Let clients of YARN in: Spark, Hadoop's tools [default: yarn.enabled].")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Start the server.

    Stays in the foreground until Ctrl-C, unless --detach. Containers of an earlier server that still run are adopted.

    \b
    Examples:
      hrm up --detach
      hrm up --config cluster.yaml --port 9000
      hrm up --virtual-gpus 2                     try GPU scheduling without a GPU
      hrm up --isolation full                     only if this machine can enforce all limits
      hrm up --detach --engine ray                the head of a cluster: others `hrm join` it
      hrm up --detach --yarn                      Spark finds it by `hrm yarn env`
      hrm --home /tmp/try up                      one beside the usual one
    """
    from hrm.cli.connect import home_directory

    home = home_directory()
    _make_room(home)
    arguments: list[str] = []
    if config is not None:
        arguments += ["--config", str(config.absolute())]
    if port is not None:
        arguments += ["--port", str(port)]
    arguments += virtual_gpu_arguments(virtual_gpus)
    arguments += isolation_arguments(isolation)
    if engine is not None:
        arguments += ["--engine", str(engine)]
    if address is not None:
        if engine is not EngineKind.RAY:
            raise InvalidInput("--address is for --engine ray", next_step="give both, or neither")
        arguments += ["--address", address]
    if yarn:
        arguments.append("--yarn")
    if not detach:
        from hrm.server import main

        raise typer.Exit(main(["--home", str(home.path), *arguments]))
    from hrm.cli.connect import start_server
    from hrm.config import load_config

    # Findings are shown here and now, not in a log.
    loaded = load_config(config or (home.config_file if home.config_file.exists() else None))
    with start_server(home, arguments, keep=(engine or loaded.engine.kind) is EngineKind.RAY) as server:
        report = server.server()
    if output is Output.TABLE:
        print(f"hrm {report.version} is up at {report.address} (pid {report.pid}, home {report.home})")
        _say_how_to_join(report.engine)
    else:
        show(report, output)


def _say_how_to_join(engine: str) -> None:
    """To whoever started the head, and may read its token."""
    if engine != EngineKind.RAY or (cluster := _cluster()) is None:
        return
    address, token_file = cluster
    try:
        token = Path(token_file).read_text()
    except OSError:
        return
    print(f"other machines join it by: hrm join {address} --token {token}")


def _cluster() -> tuple[str, str] | None:
    """Address of the Ray cluster that this machine is in, and the file with its token; None iff others started it."""
    from hrm.cli.connect import home_directory

    folder = home_directory().ray_dir
    try:
        member = json.loads((folder / "member.json").read_text())
    except (OSError, ValueError):
        return None
    host, _, port = member["address"].rpartition(":")
    return f"{host or member['node_address']}:{port}", str(folder / "token")


def down(
    kill: Annotated[bool, typer.Option("--kill", help="End all applications first.")] = False,
    drain: Annotated[
        bool, typer.Option("--drain", help="Start nothing new, and stop when all that runs has ended.")
    ] = False,
) -> None:
    """Stop the server; containers go on.

    What runs goes on and is adopted by the next `hrm up`; what waits is kept. With --drain the server stops when
    nothing runs any more; Ctrl-C ends the waiting, and the server goes on as before.

    \b
    Examples:
      hrm down
      hrm down --kill                             leave nothing running
      hrm down --drain                            let what runs come to its end first
    """
    from hrm.cli.connect import client, end_waiting, home_directory

    if kill and drain:
        raise InvalidInput("--kill and --drain exclude each other", next_step="choose one of them")
    if not os.environ.get("HRM_ADDRESS") and end_waiting(home_directory()):
        print("the server that waited for its engine is not started again; containers go on")
        return
    with client() as server:
        report = server.server()
        pid = report.pid
        if kill:
            _kill_all(server)
        running = 0
        if drain:
            _drain(server)
        else:
            running = len(server.containers())
            server.shutdown()
    _wait_gone(home_directory(), pid)
    if running:
        note(f"{running} containers go on running; the next `hrm up` adopts them (`hrm down --kill` ends them)")
    print(f"the server has ended (pid {pid})")
    if report.engine == EngineKind.RAY:
        note("its machines stay in the cluster (`hrm leave` on each takes it out, on the head it ends the cluster)")


def status(output: OutputOption = Output.TABLE) -> None:
    """Show the server.

    Exits 3 when none is up.

    \b
    Examples:
      hrm status
      hrm status -o json | jq -r .address
    """
    from hrm.cli.connect import client

    with client() as server:
        report = server.server()
    if output is not Output.TABLE:
        show(report, output)
        return
    leaves = ", leaves when idle" if report.ephemeral else ""
    print(f"address       {report.address}")
    print(f"pid           {report.pid}, up {format_duration(max(0.0, time.time() - report.started_at))}{leaves}")
    print(f"home          {clean(report.home)}")
    print(f"version       {report.version}")
    print(f"engine        {report.engine}, {report.nodes} nodes")
    if report.engine == EngineKind.RAY and (cluster := _cluster()):
        print(f"cluster       {cluster[0]}, token in {clean(cluster[1])}")
    print(f"applications  {report.applications_running} running, {report.applications_pending} waiting")
    if report.drained_by:
        print(f"drained       by {clean(report.drained_by)}; it ends when its {report.containers} containers have")
    if report.store_trouble:
        print(f"trouble       {clean(report.store_trouble)}; it is tried again until it works")
    if report.strategy_trouble:
        print(f"trouble       placement strategy {clean(report.strategy_trouble)}; containers go where there is room")
    print(f"loop lag      {report.loop_lag_max_ms:.1f} ms at most")


def _make_room(home: Home) -> None:
    """An ephemeral server gives way to one that stays; its containers are adopted. Another is a Conflict."""
    from hrm.cli.connect import connect, end_waiting

    if os.environ.get("HRM_ADDRESS"):
        raise Conflict(
            "HRM_ADDRESS names a server that runs elsewhere", next_step="unset HRM_ADDRESS to start one here"
        )
    try:
        server = connect()
    except NoServer:
        end_waiting(home)
        return
    with server:
        report = server.server()
        if not report.ephemeral:
            raise Conflict(
                f"a server is up already: {report.address} (pid {report.pid}) holds {report.home}",
                next_step="`hrm down` stops it; `hrm --home DIR up` starts another beside it",
            )
        server.shutdown()
    _wait_gone(home, report.pid)


def _kill_all(server: Client) -> None:
    active = tuple(state for state in ApplicationState if not state.final)
    while reports := server.applications(states=active):
        for report in reports:
            server.kill(report.application_id, "the server is being stopped")
        for report in reports:
            server.wait(report.application_id, timeout_s=DOWN_DEADLINE_S)


def _drain(server: Client) -> None:
    """Have it start nothing new, and wait until it has left. Raises Conflict if somebody ends the drain."""
    said = -1
    try:
        report = server.drain_server()
        while report.drained_by:
            if report.containers not in (0, said):
                said = report.containers
                note(f"{said} containers run; the server ends with the last of them (Ctrl-C: it goes on as before)")
            time.sleep(_DRAIN_POLL_S)
            report = server.server()
        raise Conflict("somebody had the server go on", next_step="`hrm events` says who")
    except NoServer:
        return
    except KeyboardInterrupt:
        server.undrain_server()
        note("the server goes on as before")
        raise


def _wait_gone(home: Home, pid: int) -> None:
    """Raises ClusterError where the process does not end in time."""
    from hrm.cli.connect import is_alive

    deadline = time.monotonic() + DOWN_DEADLINE_S
    while is_alive(pid):
        if time.monotonic() > deadline:
            raise ClusterError(
                f"the server (pid {pid}) has not ended after {DOWN_DEADLINE_S:.0f} s", next_step=f"see {home.log_file}"
            )
        time.sleep(_POLL_S)
