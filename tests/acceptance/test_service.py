"""Server and shepherd as systemd runs them: two units, of which the one is restarted under the other.

systemd itself is not there in most test machines: the units' own commands are started here, in sessions of their own,
and what systemd does at a stop (TERM to all of a unit's processes) is done by hand.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hrm.cli.units import SERVER, SHEPHERD, Installation
from hrm.nm import shepherd as shepherd_package
from hrm.nm.shepherd import records
from hrm.testing import eventually, kill_herd
from tests.acceptance.conftest import Hrm

SHEPHERD_FOLDER = Path(shepherd_package.__file__).parent
JOBS = 100
DEADLINE_S = 180.0


class Unit:
    """A unit of Type=notify: up when its process says READY=1."""

    def __init__(self, text: str, hrm: Hrm) -> None:
        self._command = shlex.split(next(line for line in text.splitlines() if line.startswith("ExecStart="))[10:])
        self._env = {key: value for key, value in hrm.env.items() if key != "HRM_HOME"}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        # Not pytest's own: its paths are too long for a Unix socket.
        folder = tempfile.mkdtemp(prefix="hrm-notify-")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            told.bind(f"{folder}/notify")
            told.settimeout(DEADLINE_S)
            self._process = subprocess.Popen(
                self._command, start_new_session=True, env={**self._env, "NOTIFY_SOCKET": f"{folder}/notify"}
            )
            assert told.recv(100) == b"READY=1"
        os.unlink(f"{folder}/notify")
        os.rmdir(folder)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def end(self, signum: int = signal.SIGTERM) -> int:
        """Its exit code."""
        assert self._process is not None
        self._process.send_signal(signum)
        return self._process.wait(DEADLINE_S)

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None


@pytest.fixture
def units(hrm: Hrm) -> Iterator[tuple[Unit, Unit]]:
    """(server, shepherd)."""
    texts = Installation(python=Path(sys.executable), shepherd=SHEPHERD_FOLDER, home=hrm.home, user=None).units()
    server, shepherd = Unit(texts[SERVER], hrm), Unit(texts[SHEPHERD], hrm)
    try:
        yield server, shepherd
    finally:
        if server.alive:
            hrm("down", "--kill")
            server.end()
        kill_herd(hrm.home / "node")


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def running(hrm: Hrm) -> dict[str, int]:
    """Pid of each container that began, by its id."""
    found = {}
    for path in (hrm.home / "node" / records.RUNNING).iterdir():
        identity, _ = records.read(str(path))
        if identity:
            found[path.name] = identity["pid"]
    return found


def test_a_restart_of_the_server_leaves_a_hundred_running_jobs_running(hrm: Hrm, units: tuple[Unit, Unit]) -> None:
    server, shepherd = units
    hrm.configure("node: {vcores: 200, memory: 200G, isolation: none}\nserver: {port: 0}\n")
    shepherd.start()
    server.start()
    hrm(
        "submit", "--tasks", JOBS, "--cpus", 1, "--memory", "1M", "--",
        "sh", "-c", f"while ! test -e {hrm.home}/go; do sleep 0.2; done; exit 0",
    )  # fmt: skip

    eventually(lambda: len(running(hrm)) == JOBS, timeout_s=DEADLINE_S)
    before = running(hrm)
    assert {parent_of(pid) for pid in before.values()} == {shepherd.pid}

    assert server.end() == 0
    assert running(hrm) == before
    server.start()

    assert hrm("status", "-o", "json").json["containers"] == JOBS
    (hrm.home / "go").touch()
    assert hrm("wait", "1").code == 0
    history = hrm("history", "1", "-o", "json").json
    assert [one["attempt"] for one in history] == [1] * JOBS
    assert {one["exit_code"] for one in history} == {0}


def test_after_kill_9_of_the_server_its_unit_is_started_again_and_nothing_is_lost(
    hrm: Hrm, units: tuple[Unit, Unit]
) -> None:
    server, shepherd = units
    shepherd.start()
    server.start()
    hrm("submit", "--", "sh", "-c", f"while ! test -e {hrm.home}/go; do sleep 0.1; done; echo still here; exit 5")
    eventually(lambda: hrm.state("1") == "RUNNING")

    server.end(signal.SIGKILL)
    server.start()
    (hrm.home / "go").touch()

    assert hrm("wait", "1").code == 5
    assert hrm("logs", "1").out == "still here\n"


def test_a_server_that_may_not_start_a_shepherd_waits_for_one(hrm: Hrm, units: tuple[Unit, Unit]) -> None:
    server, shepherd = units
    shepherd.start()
    server.start()
    first = shepherd.pid

    assert shepherd.end(signal.SIGKILL) == -signal.SIGKILL
    shepherd.start()
    result = hrm("run", "--", "echo", "hello")

    assert (result.code, result.out) == (0, "hello\n")
    assert shepherd.pid != first
    assert json.loads((hrm.home / "node" / records.LOCK).read_text())["pid"] == shepherd.pid


def test_stopped_together_containers_end_with_their_codes_and_the_shepherd_with_the_last(
    hrm: Hrm, units: tuple[Unit, Unit]
) -> None:
    server, shepherd = units
    shepherd.start()
    server.start()
    hrm("submit", "--", "sh", "-c", "trap 'exit 9' TERM; touch $HRM_CONTAINER_DIR/ready; while :; do sleep 0.05; done")
    eventually(lambda: list((hrm.home / "node" / "containers").glob("*/ready")))
    ((name, pid),) = running(hrm).items()

    assert server.end() == 0
    os.kill(pid, signal.SIGTERM)
    assert shepherd.end() == 0

    _, ended = records.read(str(hrm.home / "node" / records.ENDED / name))
    assert ended is not None and ended["code"] == 9
