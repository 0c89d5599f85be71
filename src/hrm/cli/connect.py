"""Finding a server, starting one, and staying with one that restarts.

A server is found by its home directory (its Unix socket, else ``server.json``, written when it is ready), or by
``HRM_ADDRESS`` and ``HRM_TOKEN`` where it runs elsewhere. `hrm run` and `hrm submit` start an ephemeral one in the
background if there is none; a file lock sees to it that two of them at once start one and both use it.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from hrm.cli.output import note
from hrm.model.errors import CallerError, ClusterError, Forbidden, HrmError, NoServer

if TYPE_CHECKING:
    from hrm.config.home import Home
    from hrm.sdk.client import Client

#: On a busy machine Ray's head alone takes a quarter of a minute.
START_DEADLINE_S = 60.0
RECONNECT_S = 30.0
LOG_TAIL_LINES = 15
_SERVER, _KEEPER = "hrm.server", "hrm.config.keeper"
_POLL_S = 0.02
Answer = TypeVar("Answer")


def home_directory() -> Home:
    """``$HRM_HOME`` (which ``--home`` sets), else ``~/.hrm``."""
    from hrm.config.home import Home

    return Home.locate()


def pid_in(file: Path) -> int | None:
    """Whose ``server.json`` or ``lock`` it is; None iff there is none, or none that makes sense."""
    try:
        return int(json.loads(file.read_bytes())["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_alive(pid: int) -> bool:
    """Whether a process runs. One that has ended and that its parent has not asked about yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def connect() -> Client:
    """A client of the server that is up. Raises NoServer."""
    from hrm.sdk.client import Client

    return Client(os.environ.get("HRM_ADDRESS"), token=os.environ.get("HRM_TOKEN"))


@contextmanager
def client() -> Iterator[Client]:
    """`connect` for a block."""
    found = connect()
    try:
        yield found
    finally:
        found.close()


class Connection:
    """A client that outlives its server: a server that restarts is waited for.

    ``arguments`` are for an ephemeral server that it may start. Not for several threads at once, but for the reading
    of `client`.
    """

    def __init__(self, client: Client, arguments: Sequence[str] = ()) -> None:
        self.client = client
        self._arguments = arguments

    def close(self) -> None:
        self.client.close()

    def call(self, ask: Callable[[Client], Answer], *, start: bool = False) -> Answer:
        """What ``ask`` answers, asked again where the server went away meanwhile: it must bear being asked twice.

        ``start``: an ephemeral server may be started. Raises NoServer after `RECONNECT_S` without one.
        """
        deadline = None
        while True:
            try:
                return ask(self.client)
            except NoServer:
                if deadline is None:
                    deadline = time.monotonic() + RECONNECT_S
                elif time.monotonic() >= deadline:
                    raise
                self.reconnect(deadline, start=start)

    def reconnect(self, deadline: float, *, start: bool = False) -> None:
        """Raises NoServer where none answers before ``deadline`` (on the monotonic clock)."""
        self.client.close()
        wait_s, said = 0.05, start
        while True:
            try:
                self.client = join_or_start(self._arguments) if start else connect()
                return
            except NoServer:
                if time.monotonic() + wait_s > deadline:
                    raise
            if not said:
                note(f"hrm: the server has gone; waiting up to {RECONNECT_S:.0f} s for it to come back")
                said = True
            time.sleep(wait_s)
            wait_s = min(1.0, wait_s * 1.5)


@contextmanager
def client_or_ephemeral(arguments: Sequence[str] = ()) -> Iterator[Connection]:
    """A connection to the server that is up, or to an ephemeral one that is started, with ``arguments``."""
    connection = Connection(join_or_start(arguments), arguments)
    try:
        yield connection
    finally:
        connection.close()


def join_or_start(arguments: Sequence[str] = ()) -> Client:
    """Join the server that is up, or start an ephemeral one, with ``arguments``.

    Raises ClusterError where it does not come up. Never starts one where ``HRM_ADDRESS`` names another, or in a home of
    another user's.
    """
    home = home_directory()
    try:
        return connect()
    except NoServer:
        if os.environ.get("HRM_ADDRESS") or home.is_anothers or home.away():
            raise
    home.create()
    lock_file = os.open(home.path / "start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        try:
            return connect()  # whoever had the lock before us has started one
        except NoServer:
            return start_server(home, ["--ephemeral", "--port", "0", *arguments], join=True)
    finally:
        os.close(lock_file)


def start_server(home: Home, arguments: list[str], *, join: bool = False, keep: bool = False) -> Client:
    """Start a server of its own session in the background and return when it is ready.

    ``join``: another server that takes the home at the same moment (`hrm up`) will do as well. ``keep``: it is started
    again where its engine goes away and comes back (`hrm.config.keeper`). Raises ClusterError,
    with the last lines of its log, where it ends or is not ready in time.
    """
    home.create()
    log = os.open(home.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        begin = os.lseek(log, 0, os.SEEK_END)
        process = subprocess.Popen(
            # -P: what lies in the working directory must not be imported.
            [sys.executable, "-P", "-m", _KEEPER if keep else _SERVER, "--home", str(home.path), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=home.path,
        )
    finally:
        os.close(log)
    # Meanwhile, what the client needs is imported: with a cold cache that takes as long as the server's start.
    import hrm.sdk.client  # noqa: F401

    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline:
        status = process.poll()
        found = pid_in(home.server_file)
        if (
            found == process.pid
            or (keep and found and _parent(found) == process.pid)
            or (join and status is not None and found is not None)
        ):
            try:
                return connect()
            except NoServer:
                pass
        holder = pid_in(home.lock_file)
        other_begins = join and holder not in (None, process.pid) and is_alive(holder or 0)
        if status is not None and not other_begins:
            raise _start_failed(home.log_file, begin, f"it ended with exit code {status}", status)
        time.sleep(_POLL_S)
    raise _start_failed(home.log_file, begin, f"it was not ready after {START_DEADLINE_S:.0f} s", None)


def _parent(pid: int) -> int:
    """-1 where there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return -1
    return int(stat.rpartition(")")[2].split()[1])


def end_waiting(home: Home) -> bool:
    """Nobody is to start the server again when its engine is back; False iff nobody waits for that."""
    if (away := home.away()) is None:
        return False
    try:
        os.kill(away[0], signal.SIGTERM)
    except ProcessLookupError:
        return False
    deadline = time.monotonic() + START_DEADLINE_S
    while is_alive(away[0]):
        if time.monotonic() > deadline:
            raise ClusterError(f"process {away[0]} has not ended", next_step=f"see {home.log_file}")
        time.sleep(_POLL_S)
    return True


def _start_failed(log_file: Path, begin: int, problem: str, status: int | None) -> HrmError:
    with log_file.open("rb") as stream:
        stream.seek(begin)
        tail = stream.read(1 << 20).decode(errors="replace").strip().splitlines()[-LOG_TAIL_LINES:]
    lines = "".join(f"\n  | {line}" for line in tail)
    # 2: bad configuration, port taken, home held; 4: others can read a secret. The caller's to mend, as if it had run
    # in the foreground.
    kinds: dict[int | None, type[HrmError]] = {kind.exit_code: kind for kind in (CallerError, Forbidden)}
    kind = kinds.get(status, ClusterError)
    return kind(f"the server did not start: {problem}{lines}", next_step=f"see {log_file}")
