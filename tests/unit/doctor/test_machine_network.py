"""The network of a machine: routes, netmasks, links, its hosts file and name servers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hrm.doctor.checks import Check
from hrm.doctor.expected import Expected
from hrm.doctor.expected.machine import MachineExpected
from hrm.doctor.machine import facts, links, names, routes
from hrm.testing.machines import Machine

HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
DIRECT = "eth0\t000013AC\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
DEFAULT = "eth0\t00000000\t010013AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
#: Over 172.18.0.1, which is in no network of this machine ("onlink").
ONLINK = "eth0\t00000000\t010012AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
HOSTS = "127.0.0.1 localhost\n172.19.0.200 master00\n172.19.0.206 slave06\n172.19.0.207 slave07\n"
DEBIAN_HOSTS = (
    "127.0.0.1\tlocalhost\n127.0.1.1\tslave06\n\n# The following lines are desirable for IPv6 capable hosts\n"
    "::1     localhost ip6-localhost ip6-loopback\nff02::1 ip6-allnodes\n"
)


def addresses(machine: Machine, *given: str) -> Machine:
    """What `ip -j address` says of ``interface=address/prefix``."""
    said = []
    for one in ("lo=127.0.0.1/8", *given):
        name, _, address = one.partition("=")
        local, _, prefix = address.partition("/")
        said.append({"ifname": name, "addr_info": [{"local": local, "prefixlen": int(prefix)}]})
    return machine.command("ip", "-j", "address", stdout=json.dumps(said))


def card(machine: Machine, name: str = "eth0", **values: str) -> Machine:
    """A real interface that is up and has a link."""
    said = {"flags": "0x1003", "carrier": "1", "speed": "1000", "duplex": "full", "address": "02:00:00:00:00:01"}
    for key, value in {**said, **values}.items():
        machine.file(f"/sys/class/net/{name}/{key.replace('__', '/')}", f"{value}\n")
    machine.directory(f"/sys/class/net/{name}/device")
    return machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """slave06, all well."""
    machine = Machine(tmp_path).file("/proc/sys/kernel/hostname", "slave06\n")
    return card(machine).file("/proc/net/route", HEAD + DEFAULT + DIRECT)


def codes(machine: Machine, check: Check, expected: Expected | None = None) -> list[str]:
    return [found.code for found in machine.findings(check, expected)]


def wanted(**values: object) -> Expected:
    return Expected(machine=MachineExpected(**values))  # type: ignore[arg-type]


NETWORK_CHECKS = (
    routes.there_is_a_way_out,
    routes.gateways_lie_in_their_networks,
    routes.netmasks_fit_the_networks,
    routes.nobody_else_has_this_address,
    links.links_are_as_fast_as_they_can_be,
    links.links_lose_nothing,
    links.interfaces_with_addresses_have_a_link,
    names.the_machines_name_leads_to_it,
    names.the_hosts_file_is_unambiguous,
    names.names_can_be_looked_up,
)


@pytest.mark.parametrize("check", NETWORK_CHECKS, ids=lambda check: check.name)
def test_a_plain_debian_machine_is_well(machine: Machine, check: Check) -> None:
    addresses(machine, "eth0=172.19.0.206/24").file("/etc/hosts", DEBIAN_HOSTS).file("/etc/hostname", "slave06\n")
    machine.file("/etc/network/interfaces", "auto lo\niface lo inet loopback\nauto eth0\niface eth0 inet dhcp\n")
    machine.file("/etc/resolv.conf", "search lab\nnameserver 172.19.0.1\noptions edns0\n")
    machine.command("getent", "ahostsv4", "hrm-doctor.invalid", status=2)

    assert codes(machine, check) == []


@pytest.mark.parametrize("check", NETWORK_CHECKS, ids=lambda check: check.name)
def test_a_container_without_a_network_is_well(tmp_path: Path, check: Check) -> None:
    machine = addresses(Machine(tmp_path)).file("/proc/sys/kernel/hostname", "5c08fbad98ad\n")

    assert codes(machine.file("/proc/net/route", HEAD), check) == []


def test_a_machine_without_a_default_route_is_found(machine: Machine) -> None:
    addresses(machine, "eth0=172.19.0.206/24").file("/proc/net/route", HEAD + DIRECT)

    (found,) = machine.findings(routes.there_is_a_way_out, wanted(gateway="172.19.0.1"))

    assert (found.code, found.severity) == ("HRM-NET-001", "warning")
    assert "ip route add default via 172.19.0.1" in found.cure[0].about.en


@pytest.mark.parametrize("case", ["nobody wants one", "over IPv6"])
def test_a_machine_that_needs_no_default_route_of_ipv4_is_well(machine: Machine, case: str) -> None:
    addresses(machine, "eth0=172.19.0.206/24").file("/proc/net/route", HEAD + DIRECT)
    if case == "over IPv6":
        zero = "0" * 32
        machine.file("/proc/net/ipv6_route", f"{zero} 00 {zero} 00 fe80{'0' * 27}1 00000400 1 0 00000003     eth0\n")

    expected = wanted(gateway="none") if case == "nobody wants one" else None
    assert codes(machine, routes.there_is_a_way_out, expected) == []


def test_another_gateway_than_is_expected_is_found(machine: Machine) -> None:
    addresses(machine, "eth0=172.19.0.206/24")

    (found,) = machine.findings(routes.there_is_a_way_out, wanted(gateway="172.19.0.254"))

    assert found.title.en == "The default route leads over 172.19.0.1, and is to lead over 172.19.0.254"


def test_a_gateway_outside_of_the_network_is_found_of_the_route(machine: Machine) -> None:
    addresses(machine, "eth0=172.19.0.206/24").file("/proc/net/route", HEAD + ONLINK + DIRECT)

    (found,) = machine.findings(routes.gateways_lie_in_their_networks)

    assert found.title.en == "The gateway 172.18.0.1 of eth0 lies outside of its network 172.19.0.0/24"
    assert found.evidence[0].text == "default via 172.18.0.1 dev eth0"


def test_a_gateway_that_a_route_of_its_own_leads_to_is_well(machine: Machine) -> None:
    # As cloud providers have it: one address alone, and a route to the gateway.
    to_gateway = "eth0\t010012AC\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\t0\t0\n"
    addresses(machine, "eth0=172.19.0.206/32").file("/proc/net/route", HEAD + ONLINK + to_gateway)

    assert codes(machine, routes.gateways_lie_in_their_networks) == []


IFUPDOWN = "auto eth0\niface eth0 inet static\n  address 172.19.0.206\n  netmask 255.255.255.0\n  gateway 172.18.0.1\n"
IFUPDOWN_NEW = "iface eth0 inet static\n  address 172.19.0.206/24\n  gateway 172.18.0.1\n"
NETPLAN = """network:
  version: 2
  ethernets:
    eth0:
      addresses: [172.19.0.206/24]
      gateway4: 172.18.0.1
      nameservers:
        addresses: [8.8.8.8]
"""
NETPLAN_NEW = """network:
  ethernets:
    eth0:
      dhcp4: false
      addresses:
        - 172.19.0.206/24
      routes:
        - to: default
          via: 172.18.0.1
"""
NETWORKD = "[Match]\nName=eth0\n\n[Network]\nAddress=172.19.0.206/24\nGateway=172.18.0.1\n"
IFCFG = "DEVICE=eth0\nBOOTPROTO=none\nIPADDR=172.19.0.206\nNETMASK=255.255.255.0\nGATEWAY=172.18.0.1\n"


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/etc/network/interfaces", IFUPDOWN),
        ("/etc/network/interfaces.d/eth0", IFUPDOWN_NEW),
        ("/etc/netplan/01-netcfg.yaml", NETPLAN),
        ("/etc/netplan/50-cloud-init.yaml", NETPLAN_NEW),
        ("/etc/systemd/network/10-eth0.network", NETWORKD),
        ("/etc/sysconfig/network-scripts/ifcfg-eth0", IFCFG),
    ],
)
def test_a_gateway_outside_of_the_network_is_found_in_every_kind_of_file(
    machine: Machine, path: str, content: str
) -> None:
    addresses(machine, "eth0=172.19.0.206/24").file(path, content)

    (found,) = machine.findings(routes.gateways_lie_in_their_networks)

    assert found.title.en == "The gateway 172.18.0.1 of eth0 lies outside of its network 172.19.0.0/24"
    assert found.evidence[0].source == path


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/etc/network/interfaces", IFUPDOWN),
        ("/etc/netplan/01-netcfg.yaml", NETPLAN),
        ("/etc/netplan/50-cloud-init.yaml", NETPLAN_NEW),
        ("/etc/systemd/network/10-eth0.network", NETWORKD),
        ("/etc/sysconfig/network-scripts/ifcfg-eth0", IFCFG),
    ],
)
def test_a_gateway_within_the_network_is_well_in_every_kind_of_file(machine: Machine, path: str, content: str) -> None:
    addresses(machine, "eth0=172.19.0.206/24").file(path, content.replace("172.18.0.1", "172.19.0.1"))

    assert codes(machine, routes.gateways_lie_in_their_networks) == []


def test_a_netmask_that_is_not_the_networks_is_found(machine: Machine) -> None:
    addresses(machine, "eth0=172.19.0.206/16")

    (found,) = machine.findings(routes.netmasks_fit_the_networks, wanted(networks=("172.19.0.0/24",)))

    assert found.title.en == "eth0 has 172.19.0.206/16, but the network is 172.19.0.0/24"
    assert "172.19.0.206/24" in found.cure[0].about.en


@pytest.mark.parametrize(
    ("other", "found"),
    [
        ("eth1=172.19.5.1/24", ["HRM-NET-005"]),
        ("eth1=172.19.0.7/16", []),
        ("flannel.1=172.19.3.0/32", []),
        ("docker0=172.17.0.1/16", []),
    ],
)
def test_networks_of_different_size_that_overlap_are_found(machine: Machine, other: str, found: list[str]) -> None:
    addresses(machine, "eth0=172.19.0.206/16", other)

    assert codes(machine, routes.netmasks_fit_the_networks) == found


@pytest.mark.parametrize(
    "reply",
    [
        "Unicast reply from 172.19.0.206 [02:FC:00:00:00:99]  0.812ms",
        "Unicast reply from 172.19.0.206 [02:FC:00:00:00:99] for 172.19.0.206 [02:FC:00:00:00:99] 0.8ms",
    ],
)
def test_an_address_that_another_machine_answers_for_is_found(machine: Machine, reply: str) -> None:
    addresses(machine, "eth0=172.19.0.206/24")
    said = f"ARPING 172.19.0.206 from 0.0.0.0 eth0\n{reply}\nSent 1 probes (1 broadcast(s))\nReceived 1 response(s)\n"
    machine.command("arping", "-D", "-c", "2", "-w", "2", "-I", "eth0", "172.19.0.206", stdout=said, status=1)

    (found,) = machine.findings(routes.nobody_else_has_this_address)

    assert found.title.en == "Another machine has this one's address 172.19.0.206 (02:FC:00:00:00:99)"


def test_an_address_that_nobody_answers_for_is_well(machine: Machine) -> None:
    addresses(machine, "eth0=172.19.0.206/24")
    said = "ARPING 172.19.0.206 from 0.0.0.0 eth0\nSent 2 probes (2 broadcast(s))\nReceived 0 response(s)\n"
    machine.command("arping", "-D", "-c", "2", "-w", "2", "-I", "eth0", "172.19.0.206", stdout=said)

    assert codes(machine, routes.nobody_else_has_this_address) == []


def test_without_arping_duplicate_addresses_are_said_to_be_unseen(machine: Machine) -> None:
    addresses(machine, "eth0=172.19.0.206/24")

    report = machine.report([routes.nobody_else_has_this_address])

    assert report.checks_run[0].unseen == ("duplicate addresses: there is no arping (apt-get install iputils-arping)",)


ETHTOOL = """Settings for eth0:
\tSupported ports: [ TP ]
\tSupported link modes:   10baseT/Half 10baseT/Full
\t                        100baseT/Half 100baseT/Full
\t                        {best}baseT/Full
\tSupported pause frame use: No
\tAdvertised link modes:  40000baseCR4/Full
\tSpeed: {speed}Mb/s
\tDuplex: Full
"""


@pytest.mark.parametrize(
    ("speed", "best", "severity"), [(100, 1000, "warning"), (1000, 10000, "info"), (1000, 1000, None)]
)
def test_a_link_that_is_slower_than_the_card_is_found(
    machine: Machine, speed: int, best: int, severity: str | None
) -> None:
    card(machine, speed=str(speed)).command("ethtool", "eth0", stdout=ETHTOOL.format(best=best, speed=speed))

    found = machine.findings(links.links_are_as_fast_as_they_can_be)

    assert [(one.code, one.severity) for one in found] == ([("HRM-NET-010", severity)] if severity else [])


def test_a_link_that_is_slower_than_the_configuration_says_is_found(machine: Machine) -> None:
    addresses(card(machine), "eth0=172.19.0.206/24")

    (found,) = machine.findings(links.links_are_as_fast_as_they_can_be, wanted(link_speed_mbit=10000))

    assert found.title.en == "eth0 has a link of 1000 Mbit/s, and is to have 10000"


def test_half_duplex_is_found(machine: Machine) -> None:
    assert codes(card(machine, duplex="half"), links.links_are_as_fast_as_they_can_be) == ["HRM-NET-012"]


@pytest.mark.parametrize(("errors", "found"), [("90000", ["HRM-NET-013"]), ("40", []), ("1500", [])])
def test_a_link_that_loses_packets_is_found(machine: Machine, errors: str, found: list[str]) -> None:
    card(machine, statistics__rx_packets="5000000", statistics__rx_crc_errors=errors)

    assert codes(machine, links.links_lose_nothing) == found


def test_an_interface_with_an_address_and_without_a_link_is_found(machine: Machine) -> None:
    addresses(card(machine, carrier="0"), "eth0=172.19.0.206/24")

    assert codes(machine, links.interfaces_with_addresses_have_a_link) == ["HRM-NET-014"]


def test_the_machines_name_on_loopback_is_found_where_other_nodes_are_known(machine: Machine) -> None:
    addresses(machine, "eth0=172.19.0.206/24")
    machine.file("/etc/hosts", DEBIAN_HOSTS + "172.19.0.200 master00\n")

    (found,) = machine.findings(names.the_machines_name_leads_to_it)

    assert found.title.en == "This machine's name slave06 leads to 127.0.1.1, and others are to reach it"
    assert [evidence.line for evidence in found.evidence] == [2, 7]


def test_the_machines_name_at_anothers_address_is_found(machine: Machine) -> None:
    addresses(machine, "eth0=172.19.0.206/24").file("/etc/hosts", HOSTS.replace(".206", ".205"))

    assert codes(machine, names.the_machines_name_leads_to_it) == ["HRM-NET-021"]


def test_a_name_that_changes_at_the_next_start_is_told(machine: Machine) -> None:
    addresses(machine, "eth0=172.19.0.206/24").file("/etc/hosts", HOSTS).file("/etc/hostname", "slave07\n")

    assert codes(machine, names.the_machines_name_leads_to_it) == ["HRM-NET-026"]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("172.19.0.209 slave07", "HRM-NET-022"),
        ("172.19.0.207 slave08", "HRM-NET-023"),
        ("172.19.0.2O8 slave08", "HRM-NET-024"),
        ("172.19..208 slave08", "HRM-NET-024"),
        ("slave08 172.19.0.208", "HRM-NET-024"),
        ("192.19.0.205 slave05", "HRM-NET-025"),
    ],
)
def test_a_hosts_file_that_is_ambiguous_is_found(machine: Machine, line: str, code: str) -> None:
    addresses(machine, "eth0=172.19.0.206/24").file("/etc/hosts", HOSTS + line + "\n")

    (found,) = machine.findings(names.the_hosts_file_is_unambiguous)

    assert found.code == code
    assert str(found.evidence[-1]) == f"/etc/hosts:5: {line}"


@pytest.mark.parametrize("line", ["172.19.0.207 gpu-box", "10.1.1.9 storage", "127.0.1.1 slave06", "::1 localhost"])
def test_other_names_and_networks_in_the_hosts_file_are_well(machine: Machine, line: str) -> None:
    addresses(machine, "eth0=172.19.0.206/24").file("/etc/hosts", HOSTS + line + "\n")

    assert codes(machine, names.the_hosts_file_is_unambiguous) == []


def test_name_servers_that_do_not_answer_are_found(machine: Machine) -> None:
    machine.file("/etc/resolv.conf", "nameserver 172.19.0.53\n")
    machine.command("getent", "ahostsv4", "hrm-doctor.invalid", hangs=True)

    (found,) = machine.findings(names.names_can_be_looked_up)

    assert found.title.en == "Name servers do not answer within 3 s: 172.19.0.53"


@pytest.mark.parametrize("line", ["nameserver 172.19.0.2O0", "nameservers 172.19.0.53", "nameserver"])
def test_a_line_that_names_no_server_is_found(machine: Machine, line: str) -> None:
    assert codes(machine.file("/etc/resolv.conf", line + "\n"), names.names_can_be_looked_up) == ["HRM-NET-032"]


def test_names_that_every_node_has_to_know_are_looked_up(machine: Machine) -> None:
    machine.file("/etc/hosts", HOSTS).command("getent", "ahostsv4", "slave08", status=2)

    (found,) = machine.findings(names.names_can_be_looked_up, wanted(names=("master00", "slave08")))

    assert found.title.en == "slave08 cannot be looked up"


def test_nodes_are_compared_by_gateway_network_and_system(machine: Machine) -> None:
    addresses(machine, "eth0=172.19.0.206/24").file("/proc/sys/kernel/osrelease", "4.15.0-122-generic\n")
    machine.file("/etc/os-release", 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 18.04.5 LTS"\n')
    machine.link("/etc/localtime", "/usr/share/zoneinfo/Asia/Shanghai").file(
        "/etc/resolv.conf", "nameserver 10.0.0.1\n"
    )
    system = machine.system()

    assert facts.gateway.tell(system) == "172.19.0.1"
    assert facts.network.tell(system) == "172.19.0.0/24"
    assert facts.distribution.tell(system) == "Ubuntu 18.04.5 LTS"
    assert facts.kernel.tell(system) == "4.15.0-122-generic"
    assert facts.servers.tell(system) == "10.0.0.1"
    assert facts.time_zone.tell(system) == "Asia/Shanghai"
