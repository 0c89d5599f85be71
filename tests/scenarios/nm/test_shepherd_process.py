"""The shepherd as a process: when it comes, when it leaves, whom it listens to."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hrm.nm.shepherd
from hrm.nm.shepherd import records, wire
from hrm.testing import eventually, shepherd_pid


def start(state_dir: Path, *options: str) -> int:
    """The exit code of its launcher: 0 means that it is ready."""
    program = str(Path(hrm.nm.shepherd.__file__).parent)
    return subprocess.run([sys.executable, "-I", "-S", program, str(state_dir), *options], check=False).returncode


def is_held(state_dir: Path) -> bool:
    with (state_dir / records.LOCK).open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


class Caller:
    """A bare client, to say what no NodeManager would."""

    def __init__(self, state_dir: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(str(state_dir / records.SOCKET))
        self._lines = self.socket.makefile("rb")

    def say(self, data: bytes | dict[str, Any]) -> None:
        self.socket.sendall(data if isinstance(data, bytes) else wire.encode(data))

    def hear(self) -> dict[str, Any] | None:
        """The next message; None if it hung up."""
        try:
            line = self._lines.readline()
        except ConnectionResetError:
            return None
        return json.loads(line) if line else None

    def close(self) -> None:
        self._lines.close()
        self.socket.close()


@pytest.fixture
def call(state_dir: Path) -> Callable[[], Caller]:
    assert start(state_dir) == 0
    return lambda: Caller(state_dir)


def test_it_leaves_when_nothing_runs_and_nobody_came(state_dir: Path) -> None:
    assert start(state_dir, "--idle-s=0.05") == 0
    eventually(lambda: not is_held(state_dir))
    assert not (state_dir / records.SOCKET).exists()


def test_it_stays_while_something_runs_though_nobody_is_there(state_dir: Path) -> None:
    # Long enough to get to it before it leaves, also where there is much else to do.
    assert start(state_dir, "--idle-s=2") == 0
    # Before what reads it: else that ends at once, and writing would wait for a reader for ever.
    os.mkfifo(state_dir / "go")
    caller = Caller(state_dir)
    caller.say({"op": "hello"})
    caller.hear()
    caller.say({"op": "launch", "specs": [launch("c", "sh", "-c", "read line < go", workdir=str(state_dir))]})
    assert caller.hear()
    caller.close()
    # Longer than it would have stayed: it hears the end of what runs, and writes it down.
    (state_dir / "go").write_text("\n")
    eventually(lambda: (state_dir / records.ENDED / "c").exists())
    eventually(lambda: not is_held(state_dir))


def test_what_only_serves_containers_ends_when_none_is_left_and_nobody_is_there(state_dir: Path) -> None:
    assert start(state_dir, "--idle-s=2") == 0
    caller = Caller(state_dir)
    caller.say({"op": "hello"})
    caller.hear()
    service = records.service_id("some_service", "0f", "1")
    caller.say({"op": "launch", "specs": [launch(service, "sleep", "1000", workdir=str(state_dir))]})
    assert caller.hear()
    caller.close()
    eventually(lambda: (state_dir / records.ENDED / service).exists())
    eventually(lambda: not is_held(state_dir))


def test_a_second_one_finds_the_directory_taken(state_dir: Path) -> None:
    assert start(state_dir) == 0
    first = shepherd_pid(state_dir)
    assert start(state_dir) == 3
    assert shepherd_pid(state_dir) == first


def test_a_socket_left_by_a_dead_one_is_no_hindrance(state_dir: Path) -> None:
    state_dir.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(state_dir / records.SOCKET))
    assert start(state_dir) == 0
    Caller(state_dir).close()


def test_a_directory_it_cannot_use_is_told_at_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert start(tmp_path / "file" / "node") == 1
    assert "file/node" in capfd.readouterr().err


def test_nobody_else_can_look_into_what_it_keeps(state_dir: Path) -> None:
    assert start(state_dir) == 0
    for path in (state_dir, *state_dir.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


@pytest.mark.parametrize(
    "nonsense",
    [
        b"not json\n",
        b"[]\n",
        b'{"op": "no such"}\n',
        b'{"op": "launch"}\n',
        b'{"op": "launch", "specs": [{"id": "../x"}]}\n',
        b'{"op": "stop", "ids": 7, "grace_s": 1}\n',
        b'{"op": "signal", "id": "x", "signum": "KILL"}\n',
        b"\xff\xfe\n",
    ],
)
def test_who_talks_nonsense_is_dropped_and_nobody_else(call: Callable[[], Caller], nonsense: bytes) -> None:
    sane, mad = call(), call()
    sane.say({"op": "hello"})
    assert sane.hear()
    mad.say(nonsense)
    assert mad.hear() is None
    sane.say({"op": "launch", "specs": [launch("c", "true")]})
    assert sane.hear()
    sane.close()
    mad.close()


def test_what_was_on_its_way_when_another_came_does_not_begin_behind_its_back(call: Callable[[], Caller]) -> None:
    earlier, later = call(), call()
    for caller in (earlier, later):
        caller.say({"op": "hello"})
        assert caller.hear()
    earlier.say({"op": "launch", "specs": [launch("c", "true")]})
    assert earlier.hear() is None

    later.say({"op": "launch", "specs": [launch("d", "true")]})
    told: list[tuple[str, str]] = []
    while (news := later.hear()) is not None:
        told += [(what, one["id"]) for what in ("started", "ended") for one in news.get(what, ())]
        if "ended" in news:
            break
    assert told == [("started", "d"), ("ended", "d")]
    earlier.close()
    later.close()


@pytest.mark.parametrize(
    "flaw", [{"argv": []}, {"argv": [7]}, {"env": None}, {"env": {"A": "\0"}}, {"terminal": [0, 0]}, {"terminal": "x"}]
)
def test_a_launch_with_a_flaw_ends_not_started_and_leaves_no_process(
    call: Callable[[], Caller], flaw: dict[str, Any]
) -> None:
    caller = call()
    caller.say({"op": "hello"})
    caller.hear()
    caller.say({"op": "launch", "specs": [{**launch("c", "true"), **flaw}]})
    news = caller.hear()
    assert news is not None
    assert [(record["reason"], record["code"]) for record in news["ended"]] == [("not_started", 126)]
    caller.say({"op": "hello"})
    greeting = caller.hear()
    assert greeting is not None
    assert greeting["running"] == []
    caller.close()


def test_told_to_terminate_it_leaves_only_when_nothing_runs(call: Callable[[], Caller], state_dir: Path) -> None:
    caller = call()
    caller.say({"op": "hello"})
    caller.hear()
    caller.say({"op": "launch", "specs": [launch("c", "cat", stdin=True)]})
    assert caller.hear()
    pid = shepherd_pid(state_dir)
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    caller.say({"op": "close_input", "id": "c"})
    news = caller.hear()
    assert news is not None
    assert news["ended"][0]["code"] == 0
    eventually(lambda: not is_held(state_dir))
    caller.close()


def launch(container_id: str, *argv: str, **fields: Any) -> dict[str, Any]:
    spec = {"id": container_id, "argv": argv, "env": {"PATH": os.defpath}, "workdir": None, "stdin": False}
    return {**spec, "terminal": None, "log_limit_bytes": 1000, **fields}
