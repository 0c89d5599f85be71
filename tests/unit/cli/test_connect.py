"""Finding and starting a server: `hrm.cli.connect`. The server here is a small program that only says it is ready."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hrm.cli import connect
from hrm.config.home import Home
from hrm.model.errors import CallerError, ClusterError, Forbidden, HrmError, NoServer
from hrm.testing import eventually

READY = """\
import json, os, sys, time, pathlib
home = pathlib.Path(sys.argv[sys.argv.index("--home") + 1])
with (home / "starts").open("a") as file:
    file.write(f"{os.getpid()} {' '.join(sys.argv[3:])}\\n")
print("a word in the log", flush=True)
(home / "server.tmp").write_text(json.dumps({"pid": os.getpid(), "address": "http://127.0.0.1:1", "ephemeral": True}))
(home / "server.tmp").rename(home / "server.json")
time.sleep(60)
"""
FAILS = "import sys; print('first line'); print('the port is taken'); sys.exit({code})"


class Client:
    def close(self) -> None:
        pass


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A home whose server is up as soon as its server.json is there."""
    found = Home(tmp_path / "home")
    found.create()
    monkeypatch.setenv("HRM_HOME", str(found.path))
    monkeypatch.delenv("HRM_ADDRESS", raising=False)

    def join() -> Client:
        if connect.pid_in(found.server_file) is None:
            raise NoServer("no server is up")
        return Client()

    monkeypatch.setattr(connect, "connect", join)
    yield found
    if (found.path / "starts").exists():
        for line in (found.path / "starts").read_text().splitlines():
            os.kill(int(line.split()[0]), signal.SIGKILL)


@pytest.fixture
def server_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make ``python -m hrm.server`` run another program."""
    popen = connect.subprocess.Popen

    def use(program: str) -> None:
        path = tmp_path / "server.py"
        path.write_text(textwrap.dedent(program))

        def start(command: list[str], **options: Any) -> Any:
            module = command.index("hrm.server")
            return popen([sys.executable, str(path), *command[module + 1 :]], **options)

        monkeypatch.setattr(connect.subprocess, "Popen", start)

    return use


def starts(home: Home) -> list[str]:
    return [line.partition(" ")[2] for line in (home.path / "starts").read_text().splitlines()]


def test_a_server_that_is_up_is_joined(home: Home, server_is) -> None:
    server_is(READY)
    connect.start_server(home, [])

    connect.join_or_start()

    assert len(starts(home)) == 1


def test_without_one_an_ephemeral_server_is_started_on_a_free_port(home: Home, server_is) -> None:
    server_is(READY)

    connect.join_or_start()

    (arguments,) = starts(home)
    assert arguments.endswith("--ephemeral --port 0")
    assert "a word in the log" in home.log_file.read_text()


def test_many_at_once_start_one_server_and_all_join_it(home: Home, server_is) -> None:
    server_is(READY)
    joined: list[Any] = []
    threads = [threading.Thread(target=lambda: joined.append(connect.join_or_start())) for _ in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    assert len(joined) == 8
    assert len(starts(home)) == 1


def test_the_server_is_in_a_session_of_its_own_and_its_log_is_private(home: Home, server_is) -> None:
    server_is(READY)

    connect.start_server(home, [])
    pid = connect.pid_in(home.server_file)

    assert pid is not None
    assert os.getsid(pid) == pid
    assert home.log_file.stat().st_mode & 0o077 == 0


def test_a_server_that_dies_is_reported_with_the_end_of_its_log(home: Home, server_is) -> None:
    home.log_file.write_text("an old line\n")
    server_is(FAILS.format(code=1))

    with pytest.raises(ClusterError) as caught:
        connect.start_server(home, [])

    assert "exit code 1" in str(caught.value)
    assert "the port is taken" in str(caught.value)
    assert "an old line" not in str(caught.value)
    assert str(home.log_file) in caught.value.next_step


@pytest.mark.parametrize(("code", "kind"), [(2, CallerError), (4, Forbidden)])
def test_a_server_that_refuses_its_input_is_the_callers_error(
    home: Home, server_is, code: int, kind: type[HrmError]
) -> None:
    server_is(FAILS.format(code=code))

    with pytest.raises(kind) as caught:
        connect.start_server(home, [])

    assert caught.value.exit_code == code


def test_a_server_that_takes_the_home_at_the_same_moment_is_joined_by_run_but_not_by_up(home: Home, server_is) -> None:
    server_is(READY)
    connect.start_server(home, [])
    server_is(FAILS.format(code=2))

    assert connect.start_server(home, [], join=True)
    with pytest.raises(CallerError):
        connect.start_server(home, [])


def test_a_server_that_begins_at_the_same_moment_is_waited_for(home: Home, server_is) -> None:
    server_is(FAILS.format(code=2))
    home.lock_file.write_text(f'{{"pid": {os.getpid()}, "address": ""}}')
    joined: list[Any] = []
    joining = threading.Thread(target=lambda: joined.append(connect.start_server(home, [], join=True)))

    joining.start()
    eventually(lambda: home.log_file.exists() and "taken" in home.log_file.read_text())
    home.server_file.write_text(f'{{"pid": {os.getpid()}, "address": "http://127.0.0.1:1"}}')
    joining.join(timeout=60)

    assert len(joined) == 1


def test_a_server_that_is_never_ready_is_given_up(home: Home, server_is, monkeypatch: pytest.MonkeyPatch) -> None:
    program = READY.replace('(home / "server.tmp").rename(home / "server.json")', "")
    server_is(program)
    monkeypatch.setattr(connect, "START_DEADLINE_S", 1.0)

    with pytest.raises(ClusterError, match="not ready after 1 s"):
        connect.start_server(home, [])


def test_a_server_elsewhere_is_never_started_here(home: Home, server_is, monkeypatch: pytest.MonkeyPatch) -> None:
    server_is(READY)
    monkeypatch.setenv("HRM_ADDRESS", "http://127.0.0.1:2")

    with pytest.raises(NoServer):
        connect.join_or_start()
    assert not (home.path / "starts").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pid": "x", "address": "y"}'])
def test_a_server_file_that_makes_no_sense_is_none(home: Home, text: str) -> None:
    home.server_file.write_text(text)

    assert connect.pid_in(home.server_file) is None
