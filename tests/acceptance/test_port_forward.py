"""A web server that runs as a job is reached from here, and nothing else of its node is."""

from __future__ import annotations

import signal
import socket
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from hrm.nm.ports import Lender
from hrm.testing import eventually
from tests.acceptance.conftest import DEADLINE_S, Hrm

#: It listens on a free port and says which.
SERVE = """
import http.server, sys
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""
LISTEN_ONCE = """
import socket, time
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
server.accept()
server.close()
print("left", flush=True)
time.sleep(600)
"""
LARGE = bytes(range(256)) * 12_000
#: Longer than two rounds of the pings by which WebSockets find out who is gone (20 s each).
PAUSE_S = 45.0


@pytest.fixture(scope="module")
def website(up: Hrm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """The application that serves, and its port."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "page.txt").write_text("a page of the job\n")
    (folder / "large").write_bytes(LARGE)
    app = submitted(up, "--workdir", folder, "--", sys.executable, "-c", SERVE)
    yield app, said(up, app)
    up("kill", app)


def submitted(up: Hrm, *arguments: object) -> str:
    return up("submit", *arguments).out.split()[0]


def said(up: Hrm, app: str) -> int:
    """The number that a job prints first."""
    return int(eventually(lambda: up("logs", app).out.strip(), timeout_s=DEADLINE_S))


@contextmanager
def forwarded(up: Hrm, *arguments: object) -> Iterator[str]:
    """`hrm port-forward` while inside; the address here."""
    with up.started("port-forward", *arguments) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert " -> " in line, process.communicate(timeout=DEADLINE_S)
        yield f"http://{line.partition(' ')[0]}"


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
        body: bytes = answer.read()
        return body


def test_what_a_job_serves_is_reached_here(up: Hrm, website: tuple[str, int]) -> None:
    app, port = website
    local = Lender().lend()

    with forwarded(up, app, f"{local}:{port}") as here, ThreadPoolExecutor(8) as browsers:
        assert here == f"http://127.0.0.1:{local}"
        assert get(f"{here}/page.txt") == b"a page of the job\n"
        assert list(browsers.map(get, [f"{here}/large"] * 8)) == [LARGE] * 8


def test_without_a_port_it_is_the_only_one_that_the_task_listens_on(up: Hrm, website: tuple[str, int]) -> None:
    with forwarded(up, website[0]) as here:
        assert get(f"{here}/page.txt") == b"a page of the job\n"


def test_a_port_of_somebody_elses_on_the_same_node_is_refused(up: Hrm, website: tuple[str, int]) -> None:
    app, port = website
    with socket.create_server(("127.0.0.1", 0)) as of_another:
        of_no_container = up("port-forward", app, of_another.getsockname()[1])
    sleeper = submitted(up, "--", "sleep", "600")
    eventually(lambda: up.state(sleeper) == "RUNNING", timeout_s=DEADLINE_S)
    of_another_container = up("port-forward", sleeper, port)
    up("kill", sleeper)

    assert (of_no_container.code, of_another_container.code) == (2, 2)
    assert f"it listens on {port}" in of_no_container.err
    assert "it listens on none" in of_another_container.err


def test_who_takes_a_port_that_the_task_has_left_is_not_connected_to(up: Hrm) -> None:
    app = submitted(up, "--", sys.executable, "-c", LISTEN_ONCE)
    port = said(up, app)
    with up.started("port-forward", app, f"{Lender().lend()}:{port}") as process:
        assert process.stdout is not None
        here = "127.0.0.1", int(process.stdout.readline().partition(" ")[0].rpartition(":")[2])
        with socket.create_connection(here):
            eventually(lambda: "left" in up("logs", app).out, timeout_s=DEADLINE_S)
        with socket.create_server(("127.0.0.1", port)) as usurper:
            with socket.create_connection(here, timeout=DEADLINE_S) as mine:
                assert mine.recv(1) == b""
            usurper.setblocking(False)
            with pytest.raises(BlockingIOError):
                usurper.accept()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=DEADLINE_S)
    up("kill", app)

    assert process.returncode == 0
    assert f"no process of the container listens on port {port}" in err


def test_it_ends_with_the_application(up: Hrm) -> None:
    app = submitted(up, "--", sys.executable, "-c", SERVE)
    said(up, app)
    with up.started("port-forward", app) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        up("kill", app)
        _, err = process.communicate(timeout=DEADLINE_S)

    assert process.returncode == 0
    assert "is KILLED" in err
    assert "is over" in up("port-forward", app).err


@pytest.mark.parametrize("word", ["0", "65536", "x", "1:", ":80", "1:2:3"])
def test_what_is_no_port_is_refused(up: Hrm, website: tuple[str, int], word: str) -> None:
    result = up("port-forward", website[0], word)

    assert (result.code, result.out) == (2, "")
    assert "not [LOCAL:]PORT" in result.err


def test_a_task_that_there_is_not_is_refused(up: Hrm, website: tuple[str, int]) -> None:
    assert "has tasks 0 to 0, not 7" in up("port-forward", website[0], "80", "--task", "7").err


@pytest.mark.real
def test_a_reader_that_pauses_gets_the_rest(up: Hrm, tmp_path: Path) -> None:

    with (tmp_path / "huge").open("wb") as huge:
        huge.truncate(60 << 20)
    app = submitted(up, "--workdir", tmp_path, "--", sys.executable, "-c", SERVE)
    said(up, app)
    with forwarded(up, app) as here, urllib.request.urlopen(f"{here}/huge", timeout=DEADLINE_S) as answer:
        begin = answer.read(1000)
        time.sleep(PAUSE_S)
        size = len(begin) + len(answer.read())
    up("kill", app)

    assert size == 60 << 20
