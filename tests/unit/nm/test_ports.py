"""Whose a port is, by the kernel's own tables."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hrm.model.errors import ClusterError, Conflict
from hrm.nm.ports import Lender, connect, listeners_on, listening_ports
from hrm.testing import eventually

LISTEN = """
import socket, sys, time
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
server = socket.socket(family)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
server.bind((sys.argv[1], 0))
server.listen()
print(server.getsockname()[1], flush=True)
time.sleep(600)
"""


@contextmanager
def container(address: str, *, through: str = "") -> Iterator[tuple[int, int]]:
    """Its first process, a session's leader as in a container, and the port that it or a child of it listens on."""
    command = [sys.executable, "-c", LISTEN, address]
    if through:
        command = ["sh", "-c", through, *command]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
    finally:
        subprocess.run(["kill", "-KILL", "--", f"-{process.pid}"], check=False)
        process.communicate(timeout=60)


@pytest.mark.parametrize(
    ("address", "leads_there"),
    [
        ("127.0.0.1", ["127.0.0.1"]),
        ("0.0.0.0", ["127.0.0.1"]),
        ("::1", ["::1"]),
        ("::", ["127.0.0.1", "::1"]),
        ("127.0.0.2", None),
    ],
)
def test_a_port_counts_by_the_loopback_addresses_that_lead_to_it(address: str, leads_there: list[str] | None) -> None:
    with container(address) as (pid, port):
        assert listening_ports(pid).get(port) == leads_there


@pytest.mark.parametrize("through", ['"$0" "$@"; true', '("$0" "$@" &) ; sleep 600'], ids=["child", "orphan"])
def test_a_child_listens_for_its_container_and_so_does_one_whose_parent_has_ended(through: str) -> None:
    with container("127.0.0.1", through=through) as (pid, port):
        assert [*listening_ports(pid)] == [port]


def test_another_container_does_not_have_it() -> None:
    with container("127.0.0.1") as (_, port), container("127.0.0.1") as (other, _):
        assert port not in listening_ports(other)


async def test_a_port_that_somebody_else_listens_on_too_is_nobodys() -> None:
    with container("0.0.0.0") as (pid, port), socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", port))
        assert port in listening_ports(pid)
        other.listen()

        assert port not in listening_ports(pid)
        with pytest.raises(Conflict):
            await connect(pid, port)


# ---- ports that are lent


def test_a_port_that_is_lent_can_be_listened_on_and_is_none_that_the_kernel_gives_out() -> None:
    port = Lender().lend()

    lowest, _ = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert port < max(lowest, 16_000)
    with socket.create_server(("", port)):
        pass


def test_each_port_is_lent_once() -> None:
    lender = Lender(range(15_000, 15_200))

    ports = [lender.lend() for _ in range(50)]

    assert len(set(ports)) == 50


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_port_on_which_somebody_listens_on_any_address_is_not_lent(address: str) -> None:
    with container(address) as (_, port), pytest.raises(ClusterError, match="no TCP port is free"):
        Lender([port]).lend()


def test_where_all_are_lent_it_says_so() -> None:
    port = Lender().lend()
    lender = Lender([port])
    assert lender.lend() == port

    with pytest.raises(ClusterError, match="no TCP port is free"):
        lender.lend()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_who_listens_on_a_port_is_told_by_user(address: str) -> None:
    with container(address) as (_, port):
        assert listeners_on(port) == {os.geteuid()}
    eventually(lambda: listeners_on(port) == set())
