"""Unix sockets at paths of any length, with the mode they are to have."""

from __future__ import annotations

import os
import socket
import stat
import time
from pathlib import Path

import pytest

from hrm.config import sockets
from hrm.model.errors import ClusterError, Conflict

LENGTHS = [30, sockets.MAX_NAME_BYTES, sockets.MAX_NAME_BYTES + 1, 600]


@pytest.fixture(params=LENGTHS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """One of as many bytes (é has two), or a longer one where the temporary directory lies deeper."""
    folder = tmp_path
    while len(os.fsencode(folder)) < request.param - 100:
        folder = folder / ("é" * 20)
    folder.mkdir(parents=True, exist_ok=True)
    return folder / ("s" * max(1, request.param - len(os.fsencode(folder)) - 1))


def test_both_sides_meet_there(path: Path) -> None:
    with sockets.listen(path, mode=0o600) as listening, sockets.connect(path, timeout_s=5) as client:
        accepted, _ = listening.accept()
        with accepted:
            client.sendall(b"hello")

            assert accepted.recv(5) == b"hello"
            assert client.gettimeout() == 5
            assert stat.S_ISSOCK(path.lstat().st_mode)


@pytest.mark.parametrize("mode", [0o600, 0o666])
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_it_has_the_mode_asked_for_whatever_the_umask(tmp_path: Path, mode: int, umask: int) -> None:
    before = os.umask(umask)
    try:
        with sockets.listen(tmp_path / "s", mode=mode):
            assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == mode
    finally:
        os.umask(before)


def test_what_a_dead_server_left_is_replaced_and_until_then_refuses(tmp_path: Path) -> None:
    path = tmp_path / "s"
    sockets.listen(path, mode=0o600).close()

    with pytest.raises(ConnectionRefusedError):
        sockets.connect(path, timeout_s=1)
    with sockets.listen(path, mode=0o600), sockets.connect(path, timeout_s=1):
        pass


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_what_is_no_socket_is_left_alone_and_named(tmp_path: Path, kind: str) -> None:
    path, victim = tmp_path / "s", tmp_path / "victim"
    victim.write_text("precious")
    {"file": path.touch, "directory": path.mkdir, "link": lambda: path.symlink_to(victim)}[kind]()

    with pytest.raises(Conflict, match="is no socket"):
        sockets.listen(path, mode=0o666)

    assert victim.read_text() == "precious"
    assert path.is_symlink() == (kind == "link")


def test_a_place_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"cannot listen at .*/nowhere/s: No such file"):
        sockets.listen(tmp_path / "nowhere" / "s", mode=0o600)
    with pytest.raises(FileNotFoundError):
        sockets.connect(tmp_path / "s", timeout_s=1)


def test_a_busy_server_is_waited_for_as_long_as_was_said(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with sockets.listen(path, mode=0o600, backlog=0) as listening, sockets.connect(path, timeout_s=1):
        began = time.monotonic()
        with pytest.raises(BlockingIOError):
            sockets.connect(path, timeout_s=0.15)
        waited_s = time.monotonic() - began
        listening.accept()[0].close()

        with sockets.connect(path, timeout_s=1) as third:
            assert isinstance(third, socket.socket)
    assert 0.14 < waited_s < 60
