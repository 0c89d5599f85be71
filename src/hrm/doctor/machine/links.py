"""Links: speed, duplex, errors, and cables that are not in."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hrm.doctor.addresses import INTERFACES, Interface, interfaces, own_addresses, read_value
from hrm.doctor.checks import check
from hrm.doctor.evidence import said
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.steps import by_hand, run
from hrm.doctor.system import System
from hrm.model.findings import Evidence, Finding, Severity, Step, Text

_GIGABIT = 1000
#: Of all packets, and at least so many: a few errors happen as a cable is plugged in.
_BAD_PART = 0.001
_MANY_ERRORS = 1000
_ERRORS = ("rx_errors", "tx_errors", "rx_crc_errors", "rx_frame_errors", "tx_carrier_errors", "collisions")

SLOW = Fault(
    code="HRM-NET-010",
    severity=Severity.WARNING,
    title=Text(
        "{interface} has a link of {speed} Mbit/s, and could have {best}",
        "{interface} 的链路速率是 {speed} Mbit/s，本可达到 {best}",
    ),
    why=Text(
        "A cable with a broken pair, or a port of the switch that is set by hand, makes a gigabit link one of 100 "
        "Mbit/s: files and models come ten times slower.",
        "网线有一对断线或交换机端口被手工设定，千兆链路会降为 100 Mbit/s:文件和模型传输慢十倍。",
    ),
    cure=Text("Change the cable, and let both ends negotiate.", "更换网线，并让两端自动协商。"),
)
BELOW_EXPECTED = Fault(
    code="HRM-NET-011",
    severity=Severity.WARNING,
    title=Text(
        "{interface} has a link of {speed} Mbit/s, and is to have {wanted}",
        "{interface} 的链路速率是 {speed} Mbit/s，应为 {wanted}",
    ),
    why=Text(
        "What moves data is slower on this node than on others, and jobs over several nodes wait for it.",
        "本节点的数据传输比其他节点慢，跨节点作业会等待它。",
    ),
    cure=Text("Look at cable, port and negotiation.", "检查网线、端口和协商设置。"),
)
HALF_DUPLEX = Fault(
    code="HRM-NET-012",
    severity=Severity.WARNING,
    title=Text("{interface} runs at half duplex", "{interface} 工作在半双工"),
    why=Text(
        "One end was set by hand and the other negotiates: packets collide, and throughput breaks down under load.",
        "一端手工设定而另一端自动协商：会产生冲突，负载下吞吐量骤降。",
    ),
    cure=Text("Let both ends negotiate.", "让两端都自动协商。"),
)
ERRORS = Fault(
    code="HRM-NET-013",
    severity=Severity.WARNING,
    title=Text(
        "{interface} counts {errors} {kind} in {packets} packets",
        "{interface} 在 {packets} 个包中有 {errors} 个 {kind}",
    ),
    why=Text(
        "Packets are lost and sent again: everything over this link is slow, now and then very.",
        "丢包重传：经过此链路的一切都变慢，有时极慢。",
    ),
    cure=Text("Change the cable or the transceiver, then the port.", "更换网线或光模块，再换端口。"),
)
NO_CARRIER = Fault(
    code="HRM-NET-014",
    severity=Severity.WARNING,
    title=Text("{interface} has the address {address}, but no link", "{interface} 有地址 {address}，但没有链路"),
    why=Text(
        "No cable, or the other end is off: nobody reaches this machine at that address.",
        "没插网线或对端关闭：无人能通过该地址访问本机。",
    ),
    cure=Text("Look at the cable and at the port of the switch.", "检查网线和交换机端口。"),
)


@check("net.link-speed", SLOW, BELOW_EXPECTED, HALF_DUPLEX)
def links_are_as_fast_as_they_can_be(system: System, expected: Expected) -> Iterator[Finding]:
    """Links of real interfaces run at full duplex, and as fast as both ends can or the configuration says."""
    wanted = expected.machine.link_speed_mbit
    for one in _with_link(system):
        shown = Evidence(f"{INTERFACES}/{one.name}", f"speed {one.speed_mbit}, duplex {one.duplex}")
        if one.duplex == "half":
            yield HALF_DUPLEX.found(interface=one.name, evidence=[shown], cure=_negotiate(one))
        if one.speed_mbit is None or one.speed_mbit <= 0:
            continue
        if wanted is not None:
            if one.speed_mbit < wanted and _has_address(system, one):
                yield BELOW_EXPECTED.found(
                    interface=one.name, speed=one.speed_mbit, wanted=wanted, evidence=[shown], cure=_negotiate(one)
                )
            continue
        output = system.run("ethtool", one.name)
        modes = [int(mode) for mode in re.findall(r"\b(\d+)base\w+/Full", _supported(output.stdout))]
        best = max(modes, default=0)
        if best > one.speed_mbit:
            # A fast card at a slower switch is how it was bought; below a gigabit something is broken.
            yield SLOW.found(
                interface=one.name,
                speed=one.speed_mbit,
                best=best,
                evidence=[shown, said(output, r"Speed:")],
                severity=None if one.speed_mbit < _GIGABIT <= best else Severity.INFO,
                cure=_negotiate(one),
            )


@check("net.link-errors", ERRORS, quick=True)
def links_lose_nothing(system: System, expected: Expected) -> Iterator[Finding]:
    """Real interfaces count next to no errors."""
    for one in _with_link(system):
        place = f"{INTERFACES}/{one.name}/statistics"
        packets = sum(_number(system, f"{place}/{way}_packets") for way in ("rx", "tx"))
        for kind in _ERRORS:
            errors = _number(system, f"{place}/{kind}")
            if errors >= _MANY_ERRORS and errors > packets * _BAD_PART:
                yield ERRORS.found(
                    interface=one.name,
                    errors=errors,
                    kind=kind,
                    packets=packets,
                    evidence=[Evidence(f"{place}/{kind}", str(errors))],
                    cure=[
                        by_hand(
                            "Change the cable or the transceiver; then look whether the number still grows.",
                            "更换网线或光模块，再看数字是否继续增长。",
                        )
                    ],
                )
                break


@check("net.carrier", NO_CARRIER, quick=True)
def interfaces_with_addresses_have_a_link(system: System, expected: Expected) -> Iterator[Finding]:
    """Real interfaces that are up and have an address have a link."""
    for one in interfaces(system):
        if one.physical and one.up and one.carrier is False:
            for address in own_addresses(system):
                if address.interface == one.name and address.at.version == 4:
                    yield NO_CARRIER.found(
                        interface=one.name,
                        address=address.at,
                        evidence=[Evidence(f"{INTERFACES}/{one.name}/carrier", "0")],
                        cure=[by_hand("Look at the cable and at the port of the switch.", "检查网线和交换机端口。")],
                    )


def _with_link(system: System) -> list[Interface]:
    """Those of cards; what virtual ones say of their speed is made up."""
    return [one for one in interfaces(system) if one.physical and one.up and one.carrier and one.driver != "virtio_net"]


def _has_address(system: System, one: Interface) -> bool:
    return any(address.interface == one.name for address in own_addresses(system))


def _supported(text: str) -> str:
    """The modes that the card itself has: not those that it advertises, or that the other end has."""
    _, _, rest = text.partition("Supported link modes:")
    return re.split(r"\n\s*[A-Z][^:\n]*:", rest, maxsplit=1)[0]


def _number(system: System, path: str) -> int:
    value = read_value(system, path)
    return int(value) if value.isdigit() else 0


def _negotiate(one: Interface) -> list[Step]:
    return [
        run("ethtool", one.name, about=Text("See what both ends offer.", "查看两端支持的模式。")),
        by_hand(
            f"Change the cable; where a speed was set by hand: ethtool -s {one.name} autoneg on, and the same at the "
            "switch.",
            f"更换网线；若手工设定过速率：ethtool -s {one.name} autoneg on，交换机端同样处理。",
        ),
    ]
