"""Addresses of this machine, their networks, and the way out of them."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, ip_network

from hrm.doctor.addresses import OwnAddress, Route, interfaces, own_addresses, routes
from hrm.doctor.checks import Unseen, check
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.machine.network_files import planned_interfaces
from hrm.doctor.steps import by_hand
from hrm.doctor.system import System
from hrm.model.findings import Evidence, Finding, Severity, Text

_ROUTES_6 = "/proc/net/ipv6_route"
_NO_GATEWAY = "none"
_MASK = Text(
    "Write the network's own netmask, and bring the interface up anew.", "改为该网段正确的掩码，并重新启用接口。"
)

NO_DEFAULT_ROUTE = Fault(
    code="HRM-NET-001",
    severity=Severity.WARNING,
    title=Text("There is no default route", "没有默认路由"),
    why=Text(
        "Nothing beyond the machine's own networks can be reached: Network is unreachable.",
        "无法访问本机网段以外的任何地址：Network is unreachable。",
    ),
    cure=Text("Name the gateway in the network's configuration.", "在网络配置中写上网关。"),
)
GATEWAY_OUTSIDE = Fault(
    code="HRM-NET-002",
    severity=Severity.ERROR,
    title=Text(
        "The gateway {gateway} of {interface} lies outside of its network {network}",
        "{interface} 的网关 {gateway} 不在它的网段 {network} 内",
    ),
    why=Text(
        "The kernel refuses such a route (Nexthop has invalid gateway), or packets for elsewhere reach nobody.",
        "内核会拒绝这条路由（Nexthop has invalid gateway），或者发往外部的包无人接收。",
    ),
    cure=Text("Mend the gateway, or the netmask if that is what is wrong.", "改正网关；若是掩码写错则改正掩码。"),
)
WRONG_GATEWAY = Fault(
    code="HRM-NET-003",
    severity=Severity.ERROR,
    title=Text(
        "The default route leads over {gateway}, and is to lead over {wanted}", "默认路由经过 {gateway}，应为 {wanted}"
    ),
    why=Text(
        "What is not in the machine's own networks goes another way than meant, or nowhere.",
        "发往外部的流量走错路或不通。",
    ),
    cure=Text("Name the right gateway in the network's configuration.", "在网络配置中写上正确的网关。"),
)
WRONG_NETMASK = Fault(
    code="HRM-NET-004",
    severity=Severity.ERROR,
    title=Text(
        "{interface} has {address}, but the network is {network}", "{interface} 的地址是 {address}，而网段是 {network}"
    ),
    why=Text(
        "With another netmask some machines of the network are looked for behind the gateway, or strangers beside it.",
        "掩码不对时，本网段的一些机器会被当作在网关之后，或把外面的机器当作在本网段。",
    ),
    cure=_MASK,
)
OVERLAPPING = Fault(
    code="HRM-NET-005",
    severity=Severity.WARNING,
    title=Text(
        "The networks of {one} ({first}) and {other} ({second}) overlap", "{one}({first})与 {other}({second})的网段重叠"
    ),
    why=Text(
        "Packets for the smaller network leave by one of them only; machines behind the other cannot be reached.",
        "发往较小网段的包只会从其中一个接口出去，另一边的机器就无法访问。",
    ),
    cure=Text("Give one of them another network, or its right netmask.", "给其中一个换网段，或改正掩码。"),
)
DUPLICATE = Fault(
    code="HRM-NET-006",
    severity=Severity.ERROR,
    title=Text(
        "Another machine has this one's address {address} ({mac})", "另一台机器也在使用本机地址 {address}({mac})"
    ),
    why=Text(
        "Connections reach now this machine and now the other; both lose them at random.",
        "连接有时到本机，有时到另一台，两边都会随机断线。",
    ),
    cure=Text(
        "Find the other machine by its MAC address, and give one of them another address.",
        "按 MAC 地址找到那台机器，并更换其中一台的地址。",
    ),
)


@check("net.default-route", NO_DEFAULT_ROUTE, WRONG_GATEWAY, quick=True)
def there_is_a_way_out(system: System, expected: Expected) -> Iterator[Finding]:
    """A machine with a network has a default route, over the gateway that is expected."""
    wanted = expected.machine.gateway
    default = [route for route in routes(system) if route.to.prefixlen == 0]
    if not default and wanted != _NO_GATEWAY and not _default_of_ipv6(system) and _is_in_a_network(system):
        yield NO_DEFAULT_ROUTE.found(
            evidence=[Evidence("/proc/net/route", "no line with destination 00000000")],
            cure=[
                by_hand(
                    f"ip route add default via {wanted or 'GATEWAY'}; and write it into the network's configuration.",
                    f"ip route add default via {wanted or '网关'}；并写入网络配置。",
                )
            ],
        )
    for route in default:
        if wanted not in (None, _NO_GATEWAY) and route.gateway is not None and str(route.gateway) != wanted:
            yield WRONG_GATEWAY.found(
                gateway=route.gateway,
                wanted=wanted,
                evidence=[route.evidence],
                cure=[
                    by_hand(
                        f"ip route replace default via {wanted}; mend the configuration.",
                        f"ip route replace default via {wanted}；并改正配置。",
                    )
                ],
            )


@check("net.gateways", GATEWAY_OUTSIDE, quick=True)
def gateways_lie_in_their_networks(system: System, expected: Expected) -> Iterator[Finding]:
    """Every gateway can be reached directly, of routes and in files."""
    known = routes(system)
    own = own_addresses(system)
    for route in known:
        if route.gateway is not None and not _is_direct(route, known, own):
            networks = [str(one.at.network) for one in own if one.interface == route.interface]
            yield _outside(str(route.gateway), route.interface, ", ".join(networks) or "-", [route.evidence])
    for one in planned_interfaces(system):
        for gateway, evidence in one.gateways:
            if one.addresses and not any(gateway in address.network for address, _ in one.addresses):
                # An address of one machine alone (cloud providers) has its gateway elsewhere by design.
                if all(address.network.prefixlen == 32 for address, _ in one.addresses):
                    continue
                network = ", ".join(str(address.network) for address, _ in one.addresses)
                yield _outside(str(gateway), one.name, network, [evidence, one.addresses[0][1]])


@check("net.netmask", WRONG_NETMASK, OVERLAPPING, quick=True)
def netmasks_fit_the_networks(system: System, expected: Expected) -> Iterator[Finding]:
    """Addresses have the netmask of the cluster's networks, and networks of several interfaces are apart."""
    own = [one for one in own_addresses(system) if one.at.version == 4 and not one.at.ip.is_loopback]
    for text in expected.machine.networks:
        network = ip_network(text, strict=False)
        for one in own:
            if one.at.ip in network and one.at.network != network:
                yield WRONG_NETMASK.found(
                    interface=one.interface,
                    address=one.at,
                    network=network,
                    evidence=[Evidence("ip address", f"{one.at} dev {one.interface}")],
                    cure=[
                        by_hand(
                            f"Give {one.interface} the address {one.text}/{network.prefixlen}.",
                            f"把 {one.interface} 的地址改为 {one.text}/{network.prefixlen}。",
                        )
                    ],
                )
    real = [one for one in own if one.at.network.prefixlen < 31]
    for index, one in enumerate(real):
        for other in real[index + 1 :]:
            # The same network on two interfaces is a way to have two links; another size of it is a mistake.
            if one.interface != other.interface and one.at.network != other.at.network and _overlap(one, other):
                yield OVERLAPPING.found(
                    one=one.interface,
                    first=one.at.network,
                    other=other.interface,
                    second=other.at.network,
                    evidence=[Evidence("ip address", f"{each.at} dev {each.interface}") for each in (one, other)],
                    cure=[
                        by_hand(
                            "Look which netmask is wrong, and mend it in the configuration.",
                            "查出哪个掩码写错，并在配置中改正。",
                        )
                    ],
                )


@check("net.duplicate-address", DUPLICATE)
def nobody_else_has_this_address(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """No other machine answers to an address of this one (ARP, as RFC 5227 probes it)."""
    physical = {
        one.name
        for one in interfaces(system)
        if one.up and one.carrier and (one.physical or _is_veth(system, one.name))
    }
    own = [one for one in own_addresses(system) if one.at.version == 4 and one.interface in physical]
    for one in own:
        if system.which("arping") is None:
            yield Unseen("duplicate addresses: there is no arping (apt-get install iputils-arping)")
            return
        output = system.run("arping", "-D", "-c", "2", "-w", "2", "-I", one.interface, one.text)
        reply = next((line for line in output.lines if "reply from" in line.lower()), "")
        if reply:
            mac = reply.partition("[")[2].partition("]")[0]
            yield DUPLICATE.found(
                address=one.text,
                mac=mac or "?",
                evidence=[Evidence(" ".join(output.argv), reply.strip())],
                cure=[
                    by_hand(
                        f"Find the machine with {mac} (switch, ip neigh), and change one of the addresses.",
                        f"在交换机或 ip neigh 中查找 {mac}，并更换其中一个地址。",
                    )
                ],
            )
        elif not output.ok and "permitted" in output.text:
            yield Unseen("duplicate addresses: arping needs root")
            return


def _outside(gateway: str, interface: str, network: str, evidence: list[Evidence]) -> Finding:
    return GATEWAY_OUTSIDE.found(
        gateway=gateway,
        interface=interface,
        network=network,
        evidence=evidence,
        cure=[
            by_hand(
                "Mend gateway or netmask in the network's configuration, and bring the interface up anew.",
                "在网络配置中改正网关或掩码，并重新启用接口。",
            )
        ],
    )


def _is_direct(route: Route, known: tuple[Route, ...], own: tuple[OwnAddress, ...]) -> bool:
    """Whether the gateway is in a network of this machine, or another route says that it is reached directly."""
    gateway = route.gateway
    direct = (one.to for one in known if one.gateway is None and one.to.prefixlen > 0)
    return (
        gateway is None
        or any(gateway in network for network in direct)
        or any(gateway in one.at.network for one in own)
    )


def _is_in_a_network(system: System) -> bool:
    """Whether an interface that others can be reached by has an address."""
    up = {one.name for one in interfaces(system) if one.up and one.physical}
    return any(
        one.interface in up and one.at.version == 4 and not one.at.ip.is_link_local for one in own_addresses(system)
    )


def _is_veth(system: System, name: str) -> bool:
    """The machine's side of nothing: within a container its only link to others is one of a pair."""
    return name.startswith("eth") and system.stat(f"/sys/class/net/{name}/device") is None


def _default_of_ipv6(system: System) -> bool:
    for line in (system.read(_ROUTES_6) or "").splitlines():
        words = line.split()
        if len(words) > 9 and words[1] == "00" and set(words[0]) == {"0"} and words[9] != "lo":
            return True
    return False


def _overlap(one: OwnAddress, other: OwnAddress) -> bool:
    first, second = one.at.network, other.at.network
    return isinstance(first, IPv4Network) and isinstance(second, IPv4Network) and first.overlaps(second)
