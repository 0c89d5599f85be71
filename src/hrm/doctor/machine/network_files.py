"""Addresses and gateways as files of the network say them, of Debian, netplan, systemd-networkd and Red Hat.

Files are read line by line, without a parser of YAML: only addresses and gateways are looked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, ip_interface

from hrm.doctor.addresses import Ip, as_ip
from hrm.doctor.evidence import line_of
from hrm.doctor.system import CannotSee, System
from hrm.model.findings import Evidence

INTERFACES = "/etc/network/interfaces"
_ADDRESS = re.compile(r"(\d+\.\d+\.\d+\.\d+/\d+)")
_GATEWAY = re.compile(r"\b(?:gateway4|via)\s*:\s*[\"']?(\d+\.\d+\.\d+\.\d+)")


@dataclass(slots=True)
class PlannedInterface:
    """One interface in a file."""

    name: str
    addresses: list[tuple[IPv4Interface, Evidence]] = field(default_factory=list)
    gateways: list[tuple[Ip, Evidence]] = field(default_factory=list)


def planned_interfaces(system: System) -> list[PlannedInterface]:
    """All that files plan. Files that cannot be read are left out."""
    found: list[PlannedInterface] = []
    for read in (_debian, _netplan, _networkd, _red_hat):
        try:
            found += read(system)
        except CannotSee:
            continue
    return found


def _debian(system: System) -> Iterator[PlannedInterface]:
    paths = [INTERFACES, *(f"{INTERFACES}.d/{name}" for name in system.list(f"{INTERFACES}.d"))]
    for path in paths:
        one: PlannedInterface | None = None
        address: tuple[str, Evidence] | None = None
        for number, line in enumerate((system.read(path) or "").splitlines(), 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            evidence = line_of(path, number, line.strip())
            if words[0] == "iface" and len(words) > 1:
                if one is not None:
                    yield one
                one, address = PlannedInterface(words[1]), None
            elif one is not None and len(words) > 1:
                if words[0] == "address":
                    address = (words[1], evidence)
                    _add(one, words[1] if "/" in words[1] else "", evidence)
                elif words[0] == "netmask" and address is not None:
                    _add(one, f"{address[0].partition('/')[0]}/{words[1]}", evidence)
                elif words[0] == "gateway" and (gateway := as_ip(words[1])) is not None:
                    one.gateways.append((gateway, evidence))
        if one is not None:
            yield one


def _netplan(system: System) -> Iterator[PlannedInterface]:
    for name in system.list("/etc/netplan"):
        path = f"/etc/netplan/{name}"
        one: PlannedInterface | None = None
        indent = 0
        for number, line in enumerate((system.read(path) or "").splitlines(), 1):
            text = line.partition("#")[0].rstrip()
            evidence = line_of(path, number, text.strip())
            depth = len(text) - len(text.lstrip())
            # An interface is a key that stands two levels below network, above its addresses.
            if (key := re.fullmatch(r"\s+([A-Za-z0-9_.-]+):", text)) and (one is None or depth <= indent):
                if one is not None:
                    yield one
                one, indent = PlannedInterface(key[1]), depth
            elif one is not None and (key := re.fullmatch(r"\s+([A-Za-z0-9_.-]+):", text)) and not one.addresses:
                # Of "ethernets:" and then "eth0:" the inner one is the interface, until it has an address.
                if key[1] not in ("addresses", "nameservers", "routes", "match", "dhcp4-overrides", "interfaces"):
                    one, indent = PlannedInterface(key[1]), depth
            elif one is not None:
                if found := _GATEWAY.search(text):
                    one.gateways.append((_certain_ip(found[1]), evidence))
                else:
                    for found in _ADDRESS.finditer(text) if not re.search(r"\bto\s*:", text) else ():
                        _add(one, found[1], evidence)
        if one is not None:
            yield one


def _networkd(system: System) -> Iterator[PlannedInterface]:
    for name in system.list("/etc/systemd/network"):
        if name.endswith(".network"):
            yield _of_assignments(system, f"/etc/systemd/network/{name}", "Name", "Address", "Gateway")


def _red_hat(system: System) -> Iterator[PlannedInterface]:
    place = "/etc/sysconfig/network-scripts"
    for name in system.list(place):
        if not name.startswith("ifcfg-") or name == "ifcfg-lo":
            continue
        one = PlannedInterface(name.removeprefix("ifcfg-"))
        said: dict[str, tuple[str, Evidence]] = {}
        for number, line in enumerate((system.read(f"{place}/{name}") or "").splitlines(), 1):
            key, _, value = line.strip().partition("=")
            said[key] = (value.strip("\"'"), line_of(f"{place}/{name}", number, line.strip()))
        if "IPADDR" in said and (mask := said.get("PREFIX") or said.get("NETMASK")):
            _add(one, f"{said['IPADDR'][0]}/{mask[0]}", mask[1])
        if "GATEWAY" in said and (gateway := as_ip(said["GATEWAY"][0])) is not None:
            one.gateways.append((gateway, said["GATEWAY"][1]))
        yield one


def _of_assignments(system: System, path: str, name: str, address: str, gateway: str) -> PlannedInterface:
    one = PlannedInterface(path.rpartition("/")[2].removesuffix(".network"))
    for number, line in enumerate((system.read(path) or "").splitlines(), 1):
        key, _, value = line.strip().partition("=")
        evidence = line_of(path, number, line.strip())
        if key.strip() == name:
            one.name = value.strip()
        elif key.strip() == address:
            _add(one, value.strip(), evidence)
        elif key.strip() == gateway and (ip := as_ip(value.strip())) is not None:
            one.gateways.append((ip, evidence))
    return one


def _add(one: PlannedInterface, text: str, evidence: Evidence) -> None:
    try:
        address = ip_interface(text)
    except ValueError:
        return
    if isinstance(address, IPv4Interface):
        one.addresses.append((address, evidence))


def _certain_ip(text: str) -> Ip:
    found = as_ip(text)
    # Four numbers with dots; 999.1.1.1 is no address, and reaches nobody.
    return found if found is not None else IPv4Interface("0.0.0.0/32").ip
