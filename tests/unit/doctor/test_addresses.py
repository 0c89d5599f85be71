"""Names and addresses of a machine, as commands and files tell them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hrm.doctor import addresses
from hrm.doctor.system import CannotSee, LocalSystem
from hrm.testing.machines import Machine

ROUTE_TABLE = (
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
    "eth0\t00000000\t010013AC\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
    "eth0\t000013AC\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    "eth1\t0000640A\t00000000\t0000\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
)
TRIE = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 127.0.0.1
        /32 host LOCAL
     |-- 172.19.0.200
        /32 host LOCAL
     |-- 172.19.0.255
        /32 link BROADCAST
"""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def ip_address_of(machine: Machine, *addresses_by_interface: tuple[str, str]) -> Machine:
    """What `ip -j address` says of ``(interface, address/prefix)``."""
    said = []
    for name, address in addresses_by_interface:
        local, _, prefix = address.partition("/")
        said.append({"ifname": name, "addr_info": [{"local": local, "prefixlen": int(prefix)}]})
    return machine.command("ip", "-j", "address", stdout=json.dumps(said))


def test_own_addresses_are_told_by_ip(machine: Machine) -> None:
    system = ip_address_of(machine, ("lo", "127.0.0.1/8"), ("eth0", "172.19.0.200/24"), ("eth0", "fe80::1/64")).system()

    found = addresses.own_addresses(system)

    assert [(one.interface, str(one.at)) for one in found] == [
        ("lo", "127.0.0.1/8"),
        ("eth0", "172.19.0.200/24"),
        ("eth0", "fe80::1/64"),
    ]


def test_where_ip_knows_no_json_the_kernels_files_tell_the_same(machine: Machine) -> None:
    machine.command("ip", "-j", "address", stderr='Option "-j" is unknown, try "ip -help".', status=255)
    system = machine.file("/proc/net/fib_trie", TRIE).file("/proc/net/route", ROUTE_TABLE).system()

    found = addresses.own_addresses(system)

    assert [(one.interface, str(one.at)) for one in found] == [("lo", "127.0.0.1/8"), ("eth0", "172.19.0.200/24")]


def test_a_machine_that_tells_no_addresses_cannot_be_seen(machine: Machine) -> None:
    with pytest.raises(CannotSee):
        addresses.own_addresses(machine.system())


def test_routes_that_are_up_are_read_with_network_and_gateway(machine: Machine) -> None:
    found = addresses.routes(machine.file("/proc/net/route", ROUTE_TABLE).system())

    assert [(route.interface, str(route.to), str(route.gateway)) for route in found] == [
        ("eth0", "0.0.0.0/0", "172.19.0.1"),
        ("eth0", "172.19.0.0/24", "None"),
    ]
    assert str(found[0].evidence) == "/proc/net/route:2: default via 172.19.0.1 dev eth0"


def test_lines_of_a_hosts_file_are_read_without_comments(machine: Machine) -> None:
    machine.file("/etc/hosts", "127.0.0.1 localhost\n# 10.0.0.1 old\n172.19.0.206 slave06 s6 # the sixth\nslave07\n")

    found = addresses.hosts_lines(machine.system())

    assert [(str(line.address), line.names, line.evidence.line) for line in found] == [
        ("127.0.0.1", ("localhost",), 1),
        ("172.19.0.206", ("slave06", "s6"), 3),
    ]


def test_a_name_is_looked_up_in_the_hosts_file_and_then_by_getent(machine: Machine) -> None:
    machine.file("/etc/hosts", "172.19.0.206 slave06\n")
    machine.command("getent", "ahostsv4", "slave07", stdout="172.19.0.207    STREAM slave07\n172.19.0.207    DGRAM\n")
    machine.command("getent", "ahostsv4", "slave08", status=2)
    machine.command("getent", "ahostsv4", "slave09", hangs=True)
    system = machine.system()

    assert addresses.lookup(system, "172.19.0.1") == ("172.19.0.1",)
    assert addresses.lookup(system, "slave06") == ("172.19.0.206",)
    assert addresses.lookup(system, "slave07") == ("172.19.0.207",)
    assert addresses.lookup(system, "slave08") == ()
    with pytest.raises(CannotSee, match="slave09"):
        addresses.lookup(system, "slave09")


def test_name_servers_are_read_with_their_lines(machine: Machine) -> None:
    machine.file("/etc/resolv.conf", "# made by hand\nsearch lab\nnameserver 10.0.0.53\nnameserver fe80::1%eth0\n")

    found = addresses.name_servers(machine.system())

    assert [(str(address), evidence.line) for address, evidence in found] == [("10.0.0.53", 3), ("fe80::1", 4)]


def test_an_interface_is_read_also_where_its_driver_does_not_tell_all(machine: Machine) -> None:
    for name, value in {"flags": "0x1003", "address": "02:fc:00:00:00:01", "carrier": "1", "speed": "-1"}.items():
        machine.file(f"/sys/class/net/eth0/{name}", f"{value}\n")
    machine.directory("/sys/class/net/eth0/device").link("/sys/class/net/eth0/device/driver", "../../drivers/e1000e")
    machine.file("/sys/class/net/eth1/flags", "0x1002\n").denied("/sys/class/net/eth1/speed")

    first, second = addresses.interfaces(machine.system())

    assert (first.up, first.physical, first.carrier, first.speed_mbit, first.driver) == (
        True,
        True,
        True,
        None,
        "e1000e",
    )
    assert (second.up, second.physical, second.carrier, second.duplex) == (False, False, None, "unknown")


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("192.19.0.205", "172.19.0.205", True),
        ("192.168.20.11", "192.168.70.11", True),
        ("172.19.0.205", "172.19.0.205", False),
        ("192.168.0.205", "172.19.0.205", False),
        ("master00", "172.19.0.205", False),
        ("fe80::1", "172.19.0.205", False),
    ],
)
def test_addresses_that_differ_in_one_part_are_told(one: str, other: str, alike: bool) -> None:
    assert addresses.differs_by_one_part(one, other) is alike


def test_this_machine_has_its_loopback_and_a_name() -> None:
    system = LocalSystem()

    assert "127.0.0.1" in addresses.own_ips(system)
    assert addresses.hostname(system)
    assert "lo" in [interface.name for interface in addresses.interfaces(system)]


def test_an_address_is_taken_for_a_typing_error_only_outside_of_the_machines_networks(machine: Machine) -> None:
    own = addresses.own_addresses(ip_address_of(machine, ("eth0", "172.19.0.206/24")).system())
    known = ["172.19.0.205", "172.19.0.200", "192.168.70.11"]

    assert addresses.mistyped("192.19.0.205", known, own) == "172.19.0.205"
    assert addresses.mistyped("192.168.20.11", known, own) == "192.168.70.11"
    assert addresses.mistyped("172.19.0.209", known, own) is None
    assert addresses.mistyped("172.19.0.205", known, own) is None
    assert addresses.mistyped("192.168.70.12", known, own) is None
    assert addresses.mistyped("8.8.8.8", known, own) is None


def test_an_address_in_a_large_network_of_the_machine_is_no_typing_error(machine: Machine) -> None:
    own = addresses.own_addresses(ip_address_of(machine, ("eth0", "172.19.0.206/16")).system())

    assert addresses.mistyped("172.19.5.205", ["172.19.0.205"], own) is None
