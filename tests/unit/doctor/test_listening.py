"""Ports that are listened on, and by whom."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from hrm.doctor.listening import listeners, owner
from hrm.doctor.system import CannotSee, LocalSystem
from hrm.testing.machines import Machine

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
TCP = (
    HEAD
    + "   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0     0 111 1 0 100\n"
    + "   1: C80013AC:13BA 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0     0 222 1 0 100\n"
    + "   2: C80013AC:13BB C90013AC:13BA 01 00000000:00000000 00:00000000 00000000     0     0 333 1 0 100\n"
)
TCP6 = (
    HEAD
    + "   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 0:0 00:0 0     0 0 444\n"
)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path).file("/proc/net/tcp", TCP).file("/proc/net/tcp6", TCP6)


def test_sockets_that_listen_are_told_with_their_addresses(machine: Machine) -> None:
    found = listeners(machine.system())

    assert [(one.address, one.port, one.at_all_addresses) for one in found] == [
        ("0.0.0.0", 22, True),
        ("172.19.0.200", 5050, False),
        ("::1", 8080, False),
    ]


def test_a_port_is_taken_at_the_address_that_is_listened_at_and_at_all(machine: Machine) -> None:
    (everywhere,) = listeners(machine.system(), 22)
    (at_one,) = listeners(machine.system(), 5050)

    assert everywhere.takes("172.19.0.200")
    assert at_one.takes("172.19.0.200")
    assert at_one.takes("0.0.0.0")
    assert not at_one.takes("127.0.0.1")


def test_the_process_that_listens_is_found_by_its_socket(machine: Machine) -> None:
    machine.process(7, "/usr/sbin/mesos-master --port=5050", holds=["socket:[222]"])
    (listener,) = listeners(machine.system(), 5050)

    found = owner(machine.system(), listener)

    assert found is not None
    assert (found.pid, found.command_line) == (7, "/usr/sbin/mesos-master --port=5050")


def test_who_listens_cannot_be_seen_where_open_files_are_hidden(machine: Machine) -> None:
    machine.process(7, "/usr/sbin/mesos-master").denied("/proc/7/fd")
    (listener,) = listeners(machine.system(), 5050)

    with pytest.raises(CannotSee, match="port 5050"):
        owner(machine.system(), listener)


def test_a_listener_of_this_machine_is_found_with_its_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        (listener,) = listeners(LocalSystem(), server.getsockname()[1])
        found = owner(LocalSystem(), listener)

    assert (listener.address, found is not None and found.pid) == ("127.0.0.1", os.getpid())
