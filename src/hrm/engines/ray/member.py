"""Keeps this machine in a Ray cluster: ``python -m hrm.engines.ray.member --dir DIR (--head | --address HOST:PORT) …``.

It starts Ray's processes and starts them anew when they end: a raylet that was out of reach for too long ends itself
when it is back. ``--leave`` ends what an earlier call began. `hrm join`, `hrm leave` and `hrm up` start it.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from hrm.engines.ray.member_options import MemberOptions
from hrm.engines.ray.membership import Membership
from hrm.engines.ray.token import SERVERS_KEEPALIVE, check_token, require_ray
from hrm.model.errors import ClusterError, Conflict, HrmError, InvalidInput
from hrm.nm.shepherd.notify import tell_service_manager

_STARTED = "Ray runtime started"
_OTHER_VERSION = "Version mismatch"
_LOCAL_ADDRESS = "Local node IP: "
_RESTART_S, _RESTART_MAX_S = 1.0, 30.0
#: A run of this length was a good one: the next restart is quick again.
_GOOD_RUN_S = 60.0
_CONNECT_S = 3.0
_PR_SET_PDEATHSIG = 1
#: Containers are in no object store; Ray wants this much at least.
_OBJECT_STORE_BYTES = 80_000_000
_ERROR_LINES = 8
_ENVIRONMENT = {
    **SERVERS_KEEPALIVE,
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Whoever leaves has seen to its containers; no driver of Ray's is waited for.
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
    # A worker is one actor: none is kept ready, and none is to be poorer than what it starts.
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_worker_niceness": "0",
    "RAY_worker_oom_score_adjustment": "0",
    # A raylet without a head ends, and is started anew, before a server that is back gives its containers up.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "25",
    # The shepherd is an orphan on purpose.
    "RAY_kill_child_processes_on_worker_exit_with_raylet_subreaper": "0",
}


class Member:
    """Ray's processes on this machine, as one child that is started again and again."""

    def __init__(self, membership: Membership, arguments: Sequence[str], environment: dict[str, str]) -> None:
        self._membership = membership
        self._arguments = arguments
        self._environment = environment
        self._ending = False
        self._child: subprocess.Popen[str] | None = None

    def run(self, log: IO[str], ready_fd: int) -> int:
        """Until TERM or INT. Raises ClusterError where the first start fails."""
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._end)
        wait_s = _RESTART_S
        first = True
        while not self._ending:
            began = time.monotonic()
            complaint = self._once(log, ready_fd if first else -1)
            if self._ending:
                break
            if first and not self._membership.is_ready:
                raise ClusterError(
                    f"Ray did not start here: {complaint}",
                    next_step="install the versions of Ray and Python that the head has"
                    if _OTHER_VERSION in complaint
                    else f"see {self._membership.log}",
                )
            first = False
            wait_s = _RESTART_S if time.monotonic() - began > _GOOD_RUN_S else min(wait_s * 2, _RESTART_MAX_S)
            log.write(f"hrm: Ray's processes have ended; starting them anew in {wait_s:g} s\n")
            log.flush()
            time.sleep(wait_s)
        return 0

    def _once(self, log: IO[str], ready_fd: int) -> str:
        """Start Ray, return when it has ended: its last words."""
        with tempfile.TemporaryDirectory(prefix="hrm-ray-", ignore_cleanup_errors=True) as folder:
            self._membership.note(temp_dir=folder)
            self._child = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-c", "from ray.scripts.scripts import main; main()"),
                    *("start", "--block", f"--temp-dir={folder}", *self._arguments),
                ],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
            assert self._child.stdout is not None
            last: list[str] = []
            for line in self._child.stdout:
                log.write(line)
                log.flush()
                last = [*last[1 - _ERROR_LINES :], line.strip()] if line.strip() else last
                if _LOCAL_ADDRESS in line:
                    self._membership.note(node_address=line.rpartition(_LOCAL_ADDRESS)[2].strip())
                if _STARTED in line:
                    self._membership.note(ready=True)
                    tell_service_manager("READY=1")
                    if ready_fd >= 0:
                        os.write(ready_fd, b"\n")
                        os.close(ready_fd)
                        ready_fd = -1
            self._child.wait()
        return " | ".join(last)

    def _end(self, _signum: int, _frame: object) -> None:
        self._ending = True
        if self._child is None or self._child.poll() is not None:
            raise SystemExit(0)
        # It ends the others in order, and Ray is told that we leave.
        self._child.terminate()


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry; returns the exit code."""
    parser = argparse.ArgumentParser(prog="hrm.engines.ray.member", description="Keep this machine in a Ray cluster.")
    parser.add_argument("--dir", type=Path, required=True, help="directory of the membership")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--head", action="store_true", help="be the head of a new cluster")
    what.add_argument("--address", help="HOST:PORT of the head to join")
    what.add_argument("--leave", action="store_true", help="end what an earlier call began")
    parser.add_argument("--port", type=int, default=6379, help="of a head; 0 for any free one")
    parser.add_argument("--node-address", help="address of this machine [default: Ray finds it]")
    parser.add_argument("--node-id", help="name of this machine [default: its host name]")
    parser.add_argument("--state-dir", type=Path, help="of the node")
    parser.add_argument("--cpus", type=int, default=0, help="CPUs that it lends")
    parser.add_argument("--memory-mib", type=int, default=0, help="memory that it lends")
    parser.add_argument("--gpu-devices", help="GPUs that it lends, by index or UUID, with commas [default: all]")
    parser.add_argument("--virtual-gpus", type=int, default=0, help="so many that do no arithmetic, instead")
    parser.add_argument("--external-shepherd", action="store_true", help="wait for a shepherd that others start")
    parser.add_argument("--detach", action="store_true", help="return when it is in the cluster")
    parser.add_argument("--kill", action="store_true", help="with --leave: end the containers that run here")
    options = parser.parse_args(arguments)
    try:
        membership = Membership(options.dir)
        if options.leave:
            return membership.leave(kill=options.kill)
        return _join(membership, options)
    except HrmError as error:
        print(f"hrm: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code


def _join(membership: Membership, options: argparse.Namespace) -> int:
    if membership.pid is not None:
        raise Conflict(
            f"this machine is in a cluster already: {membership.address} (pid {membership.pid})",
            next_step="`hrm leave` takes it out",
        )
    environment = {**os.environ, **_ENVIRONMENT}
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS"):
        environment.pop(name, None)
        os.environ.pop(name, None)
    environment["RAY_AUTH_TOKEN_PATH"] = str(membership.token_file)
    if options.head:
        require_ray()
        if not membership.token_file.exists():
            membership.write_token(secrets.token_hex(32))
        port = options.port or _free_port()
        where = ["--head", f"--port={port}", "--no-monitor", "--include-dashboard=false"]
        address = f":{port}"
    else:
        address = options.address
        _check_address(address)
        # Ray reads it when it is imported.
        os.environ.update(environment)
        require_ray()
        check_token(address)
        where = [f"--address={address}"]
    member = MemberOptions.of_environment({"HRM_HOME": str(membership.folder.parent)})
    devices = (
        None if options.gpu_devices is None else tuple(_device(one) for one in options.gpu_devices.split(",") if one)
    )
    member = MemberOptions(
        node_id=options.node_id or member.node_id,
        state_dir=str(options.state_dir.absolute()) if options.state_dir else member.state_dir,
        gpu_devices=devices,
        virtual_gpus=options.virtual_gpus,
        external_shepherd=options.external_shepherd,
    )
    gpus = options.virtual_gpus or (None if devices is None else len(devices))
    ray_arguments = [
        *where,
        f"--num-cpus={options.cpus}",
        *([] if gpus is None else [f"--num-gpus={gpus}"]),
        *([f"--memory={options.memory_mib << 20}"] if options.memory_mib else []),
        *([f"--node-ip-address={options.node_address}"] if options.node_address else []),
        f"--object-store-memory={_OBJECT_STORE_BYTES}",
        "--disable-usage-stats",
    ]
    environment |= member.as_environment()
    # What is told to the service manager is our word alone.
    environment.pop("NOTIFY_SOCKET", None)
    if options.detach:
        return _in_background(membership, address, options.head, member, ray_arguments, environment)
    with (
        membership.hold(address=address, head=options.head, state_dir=member.state_dir),
        membership.log.open("a") as log,
    ):
        return Member(membership, ray_arguments, environment).run(log, -1)


def _in_background(
    membership: Membership,
    address: str,
    head: bool,
    member: MemberOptions,
    ray_arguments: list[str],
    environment: dict[str, str],
) -> int:
    """Return when Ray has started, or raise what kept it from that."""
    told_fd, ready_fd = os.pipe2(os.O_CLOEXEC)
    if os.fork():
        os.close(ready_fd)
        with open(told_fd, "rb") as told:
            words = told.read()
        if words != b"\n":
            message, _, next_step = words.decode(errors="replace").strip().partition("\n  next: ")
            raise ClusterError(message or "it ended", next_step=next_step or f"see {membership.log}")
        return 0
    os.close(told_fd)
    os.setsid()
    status = 1
    try:
        null_fd = os.open(os.devnull, os.O_RDWR)
        with membership.log.open("a") as log:
            for fd, to in ((null_fd, 0), (log.fileno(), 1), (log.fileno(), 2)):
                os.dup2(fd, to)
            with membership.hold(address=address, head=head, state_dir=member.state_dir):
                keeper = Member(membership, ray_arguments, environment)
                status = keeper.run(log, ready_fd)
    except HrmError as error:
        os.write(ready_fd, str(error).encode())
    finally:
        os._exit(status)


def _check_address(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise InvalidInput(f"not HOST:PORT: {address!r:.100}", next_step="for example 10.0.0.1:6379")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except OSError as error:
        raise ClusterError(
            f"nothing answers at {address}: {error}",
            next_step="`hrm up --engine ray` on the head shows its address; check the firewall between the two",
        ) from None


def _device(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("", 0))
        port: int = one.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
