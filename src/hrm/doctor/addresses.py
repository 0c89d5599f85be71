"""Names and addresses of a machine: its interfaces, routes, hosts file and name servers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, ip_address, ip_interface

from hrm.doctor.evidence import line_of
from hrm.doctor.system import CannotSee, System
from hrm.model.findings import Evidence

HOSTS = "/etc/hosts"
RESOLV_CONF = "/etc/resolv.conf"
ROUTES = "/proc/net/route"
INTERFACES = "/sys/class/net"
_TRIE = "/proc/net/fib_trie"
#: How long one look-up of a name may take.
LOOKUP_TIMEOUT_S = 3.0
#: Of the flags of a route in ``/proc/net/route``: it is up, it leads over a gateway, it refuses.
_ROUTE_UP, _ROUTE_GATEWAY, _ROUTE_REJECT = 0x1, 0x2, 0x200
_INTERFACE_UP = 0x1

Ip = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class OwnAddress:
    """An address of this machine."""

    interface: str
    #: With its network: ``172.19.0.200/24``.
    at: IPv4Interface | IPv6Interface

    @property
    def text(self) -> str:
        """Without the network."""
        return str(self.at.ip)


@dataclass(frozen=True, slots=True)
class Route:
    """One route of IPv4's main table."""

    interface: str
    #: ``0.0.0.0/0`` is the default route.
    to: IPv4Network
    #: None for what is reached directly.
    gateway: IPv4Address | None
    metric: int
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class HostsLine:
    """One line of a hosts file: an address and its names."""

    address: Ip
    names: tuple[str, ...]
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface, by ``/sys/class/net``."""

    name: str
    mac: str
    up: bool
    #: Whether it is a device of its own: no bridge, veth, tunnel or loopback.
    physical: bool
    #: Whether it has a link; None while it is not up.
    carrier: bool | None
    #: Of the link, in Mbit/s; None where it is not known.
    speed_mbit: int | None
    #: full, half or unknown.
    duplex: str
    #: Name of the driver of a physical one; "" where it is not known.
    driver: str


def hostname(system: System) -> str:
    """As the kernel says it; "" where it is not known."""
    return (system.read("/proc/sys/kernel/hostname") or system.read("/etc/hostname") or "").strip()


def own_addresses(system: System) -> tuple[OwnAddress, ...]:
    """All of this machine, loopback too. Raises CannotSee where neither command nor file tells."""
    try:
        output = system.run("ip", "-j", "address")
        if output.ok:
            return tuple(_by_command(output.stdout))
    except (CannotSee, ValueError):
        # ip of before 2018 knows no JSON; of a machine that does not run only files are there.
        pass
    return tuple(_by_files(system))


def own_ips(system: System) -> frozenset[str]:
    """The same as texts."""
    return frozenset(address.text for address in own_addresses(system))


def routes(system: System) -> tuple[Route, ...]:
    """Of IPv4, those that are up."""
    found = []
    for number, line in enumerate((system.read(ROUTES) or "").splitlines(), 1):
        words = line.split()
        if number == 1 or len(words) < 8:
            continue
        flags = int(words[3], 16)
        if not flags & _ROUTE_UP or flags & _ROUTE_REJECT:
            continue
        found.append(
            Route(
                interface=words[0],
                to=IPv4Network(f"{_from_hex(words[1])}/{_bits(words[7])}", strict=False),
                gateway=_from_hex(words[2]) if flags & _ROUTE_GATEWAY else None,
                metric=int(words[6]),
                evidence=line_of(ROUTES, number, _route_text(words, flags)),
            )
        )
    return tuple(found)


def hosts_lines(system: System, path: str = HOSTS) -> tuple[HostsLine, ...]:
    """Of a hosts file, comments left out; lines that are none are left out too."""
    found = []
    for number, line in enumerate((system.read(path) or "").splitlines(), 1):
        words = line.partition("#")[0].split()
        address = as_ip(words[0]) if words else None
        if address is not None and len(words) > 1:
            found.append(HostsLine(address, tuple(words[1:]), line_of(path, number, line.strip())))
    return tuple(found)


def lookup(system: System, name: str) -> tuple[str, ...]:
    """IPv4 addresses of a host by its name, as programs on this machine get them; none where there are none.

    Raises CannotSee where no answer comes in time.
    """
    if as_ip(name) is not None:
        return (name,)
    by_file = [str(line.address) for line in hosts_lines(system) if name in line.names and line.address.version == 4]
    if by_file:
        return tuple(dict.fromkeys(by_file))
    output = system.run("getent", "ahostsv4", name, timeout_s=LOOKUP_TIMEOUT_S)
    if output.timed_out:
        raise CannotSee(f"the address of {name}: no answer within {LOOKUP_TIMEOUT_S:g} s")
    return tuple(dict.fromkeys(line.split()[0] for line in output.lines))


def name_servers(system: System) -> tuple[tuple[Ip, Evidence], ...]:
    """Those that ``/etc/resolv.conf`` names, with their lines."""
    found = []
    for number, line in enumerate((system.read(RESOLV_CONF) or "").splitlines(), 1):
        words = line.split()
        if words[:1] == ["nameserver"] and len(words) > 1 and (address := as_ip(words[1])) is not None:
            found.append((address, line_of(RESOLV_CONF, number, line.strip())))
    return tuple(found)


def interfaces(system: System) -> tuple[Interface, ...]:
    """All of this machine, loopback too."""
    return tuple(_interface(system, name) for name in system.list(INTERFACES) if name != "bonding_masters")


def as_ip(text: str) -> Ip | None:
    """None where ``text`` is no address."""
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


def differs_by_one_part(one: str, other: str) -> bool:
    """Whether two IPv4 addresses are alike in three of their parts: one of them is easily typed for the other."""
    if not isinstance(as_ip(one), IPv4Address) or not isinstance(as_ip(other), IPv4Address):
        return False
    return sum(mine != theirs for mine, theirs in zip(one.split("."), other.split("."), strict=True)) == 1


def mistyped(address: str, known: Iterable[str], own: Iterable[OwnAddress]) -> str | None:
    """The known address that was probably meant by ``address``; None where that is known itself, or plausible.

    Machines of one network differ in their last part by right. So only an address outside of all networks of this
    machine is suspected, and the part that differs is not the last one: 192.19.0.205 for 172.19.0.205.
    """
    names = list(known)
    ip = as_ip(address)
    if ip is None or address in names or any(ip in one.at.network for one in own):
        return None
    alike = (name for name in names if differs_by_one_part(address, name))
    return next((name for name in alike if name.rpartition(".")[2] == address.rpartition(".")[2]), None)


def read_value(system: System, path: str) -> str:
    """One value of ``/sys``; "" where there is none, or the driver does not tell."""
    try:
        return (system.read(path) or "").strip()
    except CannotSee:
        return ""


def _interface(system: System, name: str) -> Interface:
    place = f"{INTERFACES}/{name}"
    flags = read_value(system, f"{place}/flags")
    carrier = read_value(system, f"{place}/carrier")
    speed = read_value(system, f"{place}/speed")
    return Interface(
        name=name,
        mac=read_value(system, f"{place}/address"),
        up=bool(int(flags, 16) & _INTERFACE_UP) if flags else False,
        physical=system.link(f"{place}/device") is not None or system.stat(f"{place}/device") is not None,
        carrier=carrier == "1" if carrier else None,
        speed_mbit=int(speed) if speed.isdigit() else None,
        duplex=read_value(system, f"{place}/duplex") or "unknown",
        driver=(system.link(f"{place}/device/driver") or "").rpartition("/")[2],
    )


def _by_command(said: str) -> Iterator[OwnAddress]:
    for interface in json.loads(said or "[]"):
        for info in interface.get("addr_info", ()):
            if "local" in info:
                yield OwnAddress(interface["ifname"], ip_interface(f"{info['local']}/{info['prefixlen']}"))


def _by_files(system: System) -> Iterator[OwnAddress]:
    """IPv4 only: the kernel's tree of routes has every own address, and routes have the networks."""
    said = system.read(_TRIE)
    if said is None:
        raise CannotSee("the addresses of this machine: neither `ip -j address` nor /proc/net/fib_trie")
    local: dict[str, None] = {}
    before = ""
    for line in said.splitlines():
        if found := re.search(r"\|-- (\d+\.\d+\.\d+\.\d+)", line):
            before = found[1]
        elif "/32 host LOCAL" in line:
            local[before] = None
    direct: Sequence[Route] = [route for route in routes(system) if route.gateway is None]
    for address in local:
        within = next((route for route in direct if IPv4Address(address) in route.to), None)
        prefix = within.to.prefixlen if within else 8 if address.startswith("127.") else 32
        yield OwnAddress(within.interface if within else "lo", ip_interface(f"{address}/{prefix}"))


def _from_hex(word: str) -> IPv4Address:
    """Of ``/proc/net/route``, whose numbers are in the order of the processor: little endian."""
    return IPv4Address(bytes.fromhex(word)[::-1])


def _bits(mask: str) -> int:
    return int(mask, 16).bit_count()


def _route_text(words: Sequence[str], flags: int) -> str:
    """As `ip route` shows it: the kernel's line is in hexadecimal."""
    bits = _bits(words[7])
    to = "default" if bits == 0 else f"{_from_hex(words[1])}/{bits}"
    via = f" via {_from_hex(words[2])}" if flags & _ROUTE_GATEWAY else ""
    return f"{to}{via} dev {words[0]}"
