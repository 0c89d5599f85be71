"""The server: the only place that puts the parts together.

``python -m hrm.server --home DIR`` runs one: store, scheduler, ResourceManager, embedded engine and REST in one
process on one event loop. `hrm up` and `hrm run` start it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
import uvicorn
from structlog.typing import Processor

import hrm
from hrm.api.accounts import ROOT_UID, Accounts
from hrm.api.native import create_app
from hrm.api.settings import ApiSettings
from hrm.api.streams import StreamGate
from hrm.api.tokens import TokenAuthority
from hrm.api.tracing import traced
from hrm.config import HrmConfig, load_config, sockets
from hrm.config.documents import BadDocument, Document
from hrm.config.extensions import own_placement_strategy
from hrm.config.home import Home, HomeLock
from hrm.config.plain import changed_keys, plain_scheduling
from hrm.config.values import LogFormat
from hrm.core.scheduler import Scheduler
from hrm.core.strategies import BUILT_IN, Strategies
from hrm.core.tree import QueuesInUse
from hrm.engines.base import Engine
from hrm.engines.embedded import EmbeddedEngine
from hrm.model.engine import EngineKind
from hrm.model.errors import ClusterError, Conflict, EngineAway, HrmError, InvalidInput
from hrm.model.ids import AttemptId
from hrm.model.isolation import IsolationMode
from hrm.model.nodes import NodeSpec
from hrm.model.reports import ReloadReport
from hrm.nm.gpus.allow_list import NoSuchGpu
from hrm.nm.gpus.discovery import choose_probe, discover
from hrm.nm.shepherd import faults
from hrm.nm.shepherd.notify import tell_service_manager
from hrm.rm.draining import Drains
from hrm.rm.event_log import EventLog
from hrm.rm.health import Health
from hrm.rm.listener import PATIENCE_S, Listener
from hrm.rm.manager import ResourceManager
from hrm.rm.queues import Queues
from hrm.rm.recovery import restore
from hrm.rm.retention import Retention
from hrm.rm.service import Service
from hrm.rm.store import Store, open_store
from hrm.rm.uploads import Uploads
from hrm.serving import served
from hrm.web.desk import Desk
from hrm.web.door import Door, create_site
from hrm.web.weights import Weights

if TYPE_CHECKING:
    from hrm.yarn.front import FrontDoor

log = structlog.get_logger(__name__)

#: How long the engine may take to name its first node before the server opens its door without one.
FIRST_NODE_S = 5.0
IDLE_LOOK_S = 1.0
#: Sections, besides `queues`, that `hrm queues reload` takes, and their keys that it does not.
_RELOADED = ("scheduler.", "nodes.", "node_labels.")
_FIXED_SCHEDULER_KEYS = ("scheduler.master_timeout",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says; None leaves it to the configuration."""

    home: Path | None = None
    config: Path | None = None
    port: int | None = None
    #: Leave after ``server.idle_exit`` without work.
    ephemeral: bool = False
    #: Wins over ``node.virtual_gpus``; where it is not 0, ``node.gpu_devices`` does not count.
    virtual_gpus: int | None = None
    #: Wins over ``node.isolation``.
    isolation: IsolationMode | None = None
    #: Win over ``engine.kind`` and ``engine.address``.
    engine: EngineKind | None = None
    address: str | None = None
    #: Clients of YARN may come in, whatever ``yarn.enabled`` says.
    yarn: bool = False
    #: A service manager starts the shepherd, in a place where it outlives this server: it is waited for.
    external_shepherd: bool = False


async def serve(options: Options) -> None:
    """Run until a signal, `hrm down` or idleness ends it. Raises HrmError where it cannot begin or go on."""
    home = Home.locate(options.home)
    home.create()
    home.check_filesystem()
    config_path = options.config or (home.config_file if home.config_file.exists() else None)
    config = _read(config_path, options)
    configure_log(config.server.log_format)
    with home.lock() as lock:
        listening = _listen(config, options.port)
        try:
            address = f"http://{_host_in_url(config.server.host)}:{listening.getsockname()[1]}"
            lock.note(address=address)
            store = open_store(home.database, now=time.time(), fault=faults.within("store"))
            try:
                await _serve(options, home, config_path, config, store, listening, address, lock)
            finally:
                await store.close()
        finally:
            listening.close()


def _read(path: Path | None, options: Options) -> HrmConfig:
    """The configuration, as the command line wants it. Raises InvalidInput, BadDocument with every finding."""
    config = load_config(path)
    if options.virtual_gpus is not None:
        config = replace(config, node=replace(config.node, virtual_gpus=options.virtual_gpus))
    if options.isolation is not None:
        settings = replace(config.node.isolation, mode=options.isolation)
        config = replace(config, node=replace(config.node, isolation=settings))
    if options.engine is not None:
        config = replace(config, engine=replace(config.engine, kind=options.engine))
    if options.yarn:
        config = replace(config, yarn=replace(config.yarn, enabled=True))
    if options.address is not None:
        config = replace(config, engine=replace(config.engine, address=options.address))
    return config


def _own_strategy(config: HrmConfig) -> Strategies:
    """The placement strategy that is configured, if another package brings it. Raises InvalidInput."""
    name = config.scheduler.options.placement_strategy
    if name is None or name in BUILT_IN:
        return {}
    make = own_placement_strategy(name)
    return {} if make is None else {name: make}


async def _serve(
    options: Options,
    home: Home,
    config_path: Path | None,
    config: HrmConfig,
    store: Store,
    listening: socket.socket,
    address: str,
    lock: HomeLock,
) -> None:
    uploads = Uploads(home.uploads_dir, config.files)
    stopping = asyncio.Event()
    #: Why the engine has gone away, once it has.
    away: list[str] = []

    def on_away(reason: str) -> None:
        away.append(reason)
        stopping.set()

    looking: asyncio.Task[Engine] = asyncio.create_task(
        _ray_engine(home, config, store, uploads, on_away)
        if config.engine.kind is EngineKind.RAY
        else _engine(home, config, config_path, uploads, may_start_shepherd=not options.external_shepherd)
    )
    loaded = await store.load()
    engine = await looking
    events = EventLog(cluster_timestamp=store.cluster_timestamp, next_seq=loaded.next_event_seq, read=store.events)
    strategies = {**BUILT_IN, **_own_strategy(config)}
    scheduler = Scheduler(config.queues, epoch=store.epoch, options=config.scheduler.options, strategies=strategies)
    tokens = TokenAuthority(home.ensure_secret())
    accounts = Accounts()
    yarn = _yarn(config, home, accounts)

    def credentials(attempt_id: AttemptId, user: str, node_id: str) -> dict[str, str]:
        app = manager.applications[attempt_id.application]
        if yarn is not None and app.job.yarn is not None and app.job.master is not None:
            return yarn.master_variables(
                attempt_id, node_id, submitted_at=app.row.submitted_at, max_attempts=app.job.master.max_attempts
            )
        # The socket's path holds over restarts, which the port need not.
        return {
            "HRM_ADDRESS": f"unix:{home.socket_file}",
            "HRM_ATTEMPT_ID": str(attempt_id),
            "HRM_AM_TOKEN": tokens.mint(user, attempt_id=str(attempt_id)),
        }

    manager = ResourceManager(
        scheduler,
        store,
        engine,
        events,
        on_broken=stopping.set,
        credentials=credentials,
        log_limit_bytes=config.node.log_limit_bytes,
        master_expiry_s=config.scheduler.master_timeout_s,
        local_paths=config.files.local_paths,
        queues=Queues(scheduler, config.scheduler.placement),
    )
    health = Health(manager, Drains(manager, on_empty=stopping.set), config.doctor.rounds)
    listener = Listener(manager, health)
    uploads.in_use = lambda: {
        (app.row.user, app.job.upload) for app in manager.applications.values() if app.job.upload is not None
    }
    retention = Retention(manager, config.retention, uploads)
    service = Service(
        manager,
        home=str(home.path),
        address=lambda: address,
        next_application_seq=loaded.next_application_seq,
        ephemeral=options.ephemeral,
        on_shutdown=stopping.set,
        health=health,
        retention=retention,
        uploads=uploads,
        yarn=lambda: yarn.facts if yarn is not None else {},
        file_settings=config.files,
    )

    in_force = config
    reloading = asyncio.Lock()

    async def reload() -> ReloadReport:
        # One after another: the file that was read last is the one in force.
        async with reloading:
            return await reload_now()

    async def reload_now() -> ReloadReport:
        nonlocal in_force
        # Parsed in a thread: a large file must not hold the loop.
        wanted = await asyncio.to_thread(_read, config_path, options)
        strategies.update(await asyncio.to_thread(_own_strategy, wanted))
        scheduler = wanted.scheduler
        try:
            report = await service.reload_queues(
                wanted.queues,
                options=scheduler.options,
                placement=scheduler.placement,
                inventory=wanted.inventory,
            )
        except QueuesInUse as in_use:
            raise await asyncio.to_thread(_at_their_lines, in_use, config_path) from None
        changed = changed_keys(in_force, wanted)
        waiting = [key for key in changed if not key.startswith(_RELOADED) or key in _FIXED_SCHEDULER_KEYS]
        in_force = replace(
            in_force,
            queues=wanted.queues,
            inventory=wanted.inventory,
            scheduler=replace(scheduler, master_timeout_s=in_force.scheduler.master_timeout_s),
        )
        return replace(report, options=[key for key in changed if key not in waiting], after_restart=waiting)

    manager.nodes.declare(config.inventory)
    restore(manager, listener, loaded)
    manager.open()
    await engine.start(listener)
    try:
        if config.engine.kind is EngineKind.EMBEDDED or config.engine.head_runs_containers or loaded.nodes:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(manager.nodes.arrived.wait(), FIRST_NODE_S)
        app = create_app(
            service,
            tokens=tokens,
            settings=_api_settings(config),
            reload=reload,
            configuration=lambda: plain_scheduling(in_force),
            accounts=accounts,
        )
        home.ensure_token(
            tokens.mint(accounts.own_name, admin=True),
            still_good=lambda kept: tokens.is_of(kept, accounts.own_name, admin=True),
        )
        desk = Desk(facade=service, accounts=accounts, weights=Weights(config_path, home.path, reload))
        gate: StreamGate = app.state.streams
        site = create_site(desk, tokens=tokens, settings=_api_settings(config), accounts=accounts, gate=gate)
        door = Door(app, site)
        async with (
            _http(door, gate, _api_settings(config), [listening, _listen_for_users(home)]),
            yarn.open(service, accounts.check_submitter, tokens.verify, reload) if yarn else contextlib.nullcontext(),
        ):
            _write_server_file(home, address, options, yarn.addresses if yarn else {})
            log.info("ready", address=address, home=str(home.path), pid=os.getpid())
            tell_service_manager("READY=1")
            gc.collect()
            gc.freeze()
            # A look at every object holds the loop for 50 ms and more with 10,000 containers. Cycles die young here.
            gc.set_threshold(2_000, 10, 5_000)
            beside = (retention.run(), desk.usage.keep(service.nodes, service.queues, service.history))
            keeping = [asyncio.create_task(work) for work in beside]
            try:
                await _until_told(stopping, service, manager, listener, config, ephemeral=options.ephemeral)
            finally:
                tell_service_manager("STOPPING=1")
                for task in keeping:
                    task.cancel()
                home.socket_file.unlink(missing_ok=True)
                home.server_file.unlink(missing_ok=True)
    finally:
        await manager.close()
        if not away:
            await engine.close()
        if yarn is not None:
            await yarn.close()
        log.info("ended", home=str(home.path))
    if away:
        raise EngineAway(
            f"the server ended with its engine: {away[0]}",
            next_step="containers go on; started again, the server adopts them as soon as the engine is back",
        )
    if manager.turns.broken:
        raise ClusterError(
            f"the server ended because it could not go on ({manager.turns.broken})",
            next_step="start it again: it goes on from what is on disk, and containers run on meanwhile; "
            "if this comes back, report it with the log above",
        )


def _at_their_lines(in_use: QueuesInUse, path: Path | None) -> InvalidInput:
    """The same error as findings in the file, if there is one."""
    if path is None:
        return in_use
    # It reads YAML, which most starts of a server need not.
    from hrm.config.queue_rules import key_of

    document = Document.load(path)
    for queue, problem in in_use.problems:
        document.add(key_of(queue), problem, next_step=in_use.next_step)
    return BadDocument(document.findings)


async def _ray_engine(
    home: Home, config: HrmConfig, store: Store, uploads: Uploads, on_away: Callable[[str], None]
) -> Engine:
    """The machines of a Ray cluster. Raises ClusterError where there is none and none can be started."""
    from hrm.engines.ray.start import ray_engine

    return await ray_engine(
        config.engine,
        home.ray_dir,
        head=NodeSpec(node_id=config.node.node_id, total=config.node.total),
        gpu_devices=config.node.gpu_devices,
        virtual_gpus=config.node.virtual_gpus,
        # A home that was deleted and made anew is another server.
        server=f"{home.path}@{store.cluster_timestamp}",
        epoch=store.epoch,
        keep=config.retention.on_nodes,
        isolation=config.node.isolation,
        files=config.files,
        contents=uploads,
        expected=config.doctor,
        services=config.yarn.node_services,
        on_away=on_away,
    )


async def _engine(
    home: Home, config: HrmConfig, config_path: Path | None, uploads: Uploads, *, may_start_shepherd: bool
) -> Engine:
    """This machine with its GPUs. Raises InvalidInput where the configuration lends one that is not there."""
    node = config.node
    probe = choose_probe(node.gpu_devices, virtual=node.virtual_gpus)
    try:
        gpus = await discover(node.node_id, probe, allow=node.gpu_devices, virtual=node.virtual_gpus)
    except NoSuchGpu as error:
        if config_path is None:
            raise
        document = Document.load(config_path)
        document.add(("node", "gpu_devices", error.position), error.problem, next_step=error.next_step)
        raise BadDocument(document.findings) from None
    return EmbeddedEngine(
        # Who runs here meets here.
        NodeSpec(node_id=node.node_id, total=node.total, host="127.0.0.1"),
        home.node_dir,
        gpus=gpus,
        probe=probe,
        keep=config.retention.on_nodes,
        isolation=node.isolation,
        may_start_shepherd=may_start_shepherd,
        files=config.files,
        contents=uploads,
        expected=config.doctor,
        services=config.yarn.node_services,
    )


def _api_settings(config: HrmConfig) -> ApiSettings:
    server = config.server
    return ApiSettings(
        allowed_hosts=server.allowed_hosts,
        allowed_origins=server.allowed_origins,
        check_socket_owner=server.check_socket_owner,
        max_body_bytes=server.max_body_bytes,
        requests_per_s=server.requests_per_s,
        otlp_endpoint=server.otlp_endpoint,
    )


def _listen(config: HrmConfig, port: int | None) -> socket.socket:
    """Take the port before anything else is begun."""
    _api_settings(config).check_bind(config.server.host)
    host, port = config.server.host, config.server.port if port is None else port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio turns Nagle's delay off only where it is: else each answer takes 40 ms more.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(512)
    except OSError as error:
        listening.close()
        raise Conflict(
            f"cannot listen on {host} port {port}: {error.strerror}",
            next_step="choose another with --port, or 0 for any free one; `hrm status` shows a server that is up",
        ) from None
    return listening


def _listen_for_users(home: Home) -> socket.socket:
    """The Unix socket: for all users of the machine where the server is root's, else for the server's own user."""
    if os.geteuid() != ROOT_UID:
        return sockets.listen(home.socket_file, mode=0o600)
    home.admit_others()
    return sockets.listen(home.socket_file, mode=0o666)


def _host_in_url(host: str) -> str:
    if host in ("0.0.0.0", "::"):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


@contextlib.asynccontextmanager
async def _http(
    door: Door, gate: StreamGate, settings: ApiSettings, listening: list[socket.socket]
) -> AsyncIterator[None]:
    """API and page, open while the block runs on all the sockets that are ``listening``."""
    async with traced(door, settings.otlp_endpoint) as app:
        config = uvicorn.Config(app, log_config=None, lifespan="off", **settings.uvicorn_options())
        async with served(config, listening, name="the door"):
            try:
                yield
            finally:
                gate.end_all()


async def _until_told(
    stopping: asyncio.Event,
    service: Service,
    manager: ResourceManager,
    listener: Listener,
    config: HrmConfig,
    *,
    ephemeral: bool,
) -> None:
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stopping.set)
    give_up_at: float | None = time.monotonic() + PATIENCE_S
    while not stopping.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), IDLE_LOOK_S)
        if give_up_at is not None and time.monotonic() > give_up_at:
            give_up_at = None
            manager.post(listener.give_up_recovering)
        if ephemeral and service.idle_for_s() > config.server.idle_exit_s:
            log.info("leaving: nothing to do", idle_s=config.server.idle_exit_s)
            return


def _yarn(config: HrmConfig, home: Home, accounts: Accounts) -> FrontDoor | None:
    """YARN's front door, whose ports are taken from now on; None iff it is not wanted. Raises HrmError."""
    if not config.yarn.enabled:
        return None
    try:
        from hrm.yarn.front import FrontDoor
    except ImportError as error:
        raise InvalidInput(
            f"YARN's front door needs a package that is missing: {error.name}",
            field="yarn.enabled",
            next_step="pip install 'hrm[yarn]'",
        ) from None
    return FrontDoor(config.yarn, home, accounts)


def _write_server_file(home: Home, address: str, options: Options, yarn: Mapping[str, str]) -> None:
    home.write_private(
        home.server_file,
        json.dumps(
            {
                "pid": os.getpid(),
                "address": address,
                "version": hrm.__version__,
                "started_at": time.time(),
                "ephemeral": options.ephemeral,
                # By what each port is for.
                "yarn": yarn,
            }
        ).encode(),
    )


def configure_log(form: LogFormat) -> None:
    """To stderr."""
    lines: list[Processor] = [structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"])]
    if form is LogFormat.JSON:
        lines = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *lines,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


async def _serve_to_the_end(options: Options) -> None:
    """`serve`; where the engine went away the process ends here, as nothing of the engine's can be let go of."""
    try:
        await serve(options)
    except EngineAway as error:
        print(f"hrm: {error}", file=sys.stderr, flush=True)  # noqa: T201
        os._exit(error.exit_code)


def main(arguments: list[str] | None = None) -> int:
    """Entry of ``python -m hrm.server``; returns the exit code."""
    parser = argparse.ArgumentParser(prog="hrm.server", description="Run the HRM server in the foreground.")
    parser.add_argument("--home", type=Path, help="directory for state (default: $HRM_HOME, else ~/.hrm)")
    parser.add_argument("--config", type=Path, help="configuration (default: hrm.yaml in the home)")
    parser.add_argument("--port", type=int, help="port to listen on, 0 for any free one")
    parser.add_argument("--virtual-gpus", type=int, metavar="N", help="lend N GPUs that do no arithmetic")
    parser.add_argument("--isolation", type=IsolationMode, choices=list(IsolationMode), help="what is enforced")
    parser.add_argument("--engine", type=EngineKind, choices=list(EngineKind), help="what runs containers")
    parser.add_argument("--address", metavar="HOST:PORT", help="of a Ray cluster that this machine is in")
    parser.add_argument("--yarn", action="store_true", help="let clients of YARN in")
    parser.add_argument("--external-shepherd", action="store_true", help="wait for a shepherd that others start")
    parser.add_argument("--ephemeral", action="store_true", help="leave when there has been nothing to do for a while")
    options = Options(**vars(parser.parse_args(arguments)))
    configure_log(LogFormat.TEXT)
    try:
        asyncio.run(_serve_to_the_end(options))
    except HrmError as error:
        print(f"hrm: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
