"""Names: the hosts file, this machine's own name, and name servers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hrm.doctor.addresses import (
    HOSTS,
    LOOKUP_TIMEOUT_S,
    RESOLV_CONF,
    HostsLine,
    as_ip,
    hostname,
    hosts_lines,
    lookup,
    mistyped,
    name_servers,
    own_addresses,
)
from hrm.doctor.checks import check
from hrm.doctor.evidence import line_of
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.steps import by_hand
from hrm.doctor.system import CannotSee, System
from hrm.model.findings import Evidence, Finding, Severity, Step, Text

#: No name server has it, so that each that is asked has to answer (RFC 6761).
_NO_SUCH_NAME = "hrm-doctor.invalid"
_OF_EVERY_MACHINE = re.compile(r"^(?:localhost|ip6-|broadcasthost|local$)")

_MEND = Text("Mend the line in /etc/hosts.", "改正 /etc/hosts 中的该行。")

NAME_ON_LOOPBACK = Fault(
    code="HRM-NET-020",
    severity=Severity.WARNING,
    title=Text(
        "This machine's name {name} leads to {address}, and others are to reach it",
        "本机名 {name} 指向 {address}，而其他节点需要访问它",
    ),
    why=Text(
        "Programs that look up their own name (Mesos, Hadoop, Ray, MPI) listen at the loopback address or tell it to "
        "others, who then reach themselves.",
        "按自己的主机名监听或对外公布地址的程序（Mesos、Hadoop、Ray、MPI）会用回环地址，其他节点连到的是它们自己。",
    ),
    cure=Text("Give the name the machine's address in the network.", "让该名字指向本机在网络中的地址。"),
)
NAME_ELSEWHERE = Fault(
    code="HRM-NET-021",
    severity=Severity.ERROR,
    title=Text(
        "This machine's name {name} leads to {address}, which is another machine's",
        "本机名 {name} 指向 {address}，那不是本机地址",
    ),
    why=Text(
        "Programs cannot listen at it (Cannot assign requested address), or announce another machine as this one.",
        "程序无法在该地址监听（Cannot assign requested address），或对外公布了别的机器的地址。",
    ),
    cure=_MEND,
)
TWO_ADDRESSES = Fault(
    code="HRM-NET-022",
    severity=Severity.WARNING,
    title=Text(
        "{name} has two addresses in /etc/hosts: {one} and {other}",
        "{name} 在 /etc/hosts 中有两个地址：{one} 和 {other}",
    ),
    why=Text(
        "Which one is taken depends on the program; one of them is usually old.",
        "用哪个取决于程序，其中一个通常是旧的。",
    ),
    cure=_MEND,
)
TWO_NAMES = Fault(
    code="HRM-NET-023",
    severity=Severity.WARNING,
    title=Text(
        "{address} stands for {one} and for {other} in /etc/hosts", "/etc/hosts 中 {address} 同时是 {one} 和 {other}"
    ),
    why=Text(
        "Two nodes cannot have one address: whoever asks for one of them reaches the other.",
        "两个节点不能用同一地址：找其中一个会连到另一个。",
    ),
    cure=_MEND,
)
NO_ADDRESS = Fault(
    code="HRM-NET-024",
    severity=Severity.WARNING,
    title=Text("/etc/hosts has a line that is not read: {text}", "/etc/hosts 中有一行无法识别：{text}"),
    why=Text("It does not begin with an address, so its names lead nowhere.", "行首不是地址，其中的名字都不会生效。"),
    cure=_MEND,
)
MISTYPED = Fault(
    code="HRM-NET-025",
    severity=Severity.INFO,
    title=Text(
        "{name} has the address {address} in /etc/hosts; {meant} may be meant",
        "/etc/hosts 中 {name} 的地址是 {address}，可能想写 {meant}",
    ),
    why=Text(
        "It differs in one part from the network that this machine and the other names are in.",
        "它与本机及其他名字所在网段只差一段。",
    ),
    cure=_MEND,
)
NAME_CHANGES = Fault(
    code="HRM-NET-026",
    severity=Severity.INFO,
    title=Text(
        "This machine is called {name}, and {other} after its next start", "本机现在叫 {name}，下次启动后叫 {other}"
    ),
    why=Text(
        "HRM and others know a node by its name: after a restart it is another one.",
        "HRM 等系统按名字认节点：重启后它就成了另一个节点。",
    ),
    cure=Text("Set the name that is meant (hostnamectl set-hostname).", "用 hostnamectl set-hostname 设定想要的名字。"),
)
SERVERS_SILENT = Fault(
    code="HRM-NET-030",
    severity=Severity.WARNING,
    title=Text("Name servers do not answer within {limit} s: {servers}", "名字服务器 {limit} 秒内没有应答：{servers}"),
    why=Text(
        "Every look-up of a name that is not in /etc/hosts waits for seconds: ssh, sudo and downloads hang.",
        "查询不在 /etc/hosts 中的名字都要等数秒：ssh、sudo、下载都会卡住。",
    ),
    cure=Text(
        "Name servers that answer in resolv.conf, or bring them back.",
        "在 resolv.conf 中写上可用的服务器，或使其恢复。",
    ),
)
NOT_FOUND = Fault(
    code="HRM-NET-031",
    severity=Severity.ERROR,
    title=Text("{name} cannot be looked up", "无法解析 {name}"),
    why=Text("The configuration says that every node has to know this name.", "按配置，每个节点都必须能解析这个名字。"),
    cure=Text("Add it to /etc/hosts, or mend the name servers.", "加入 /etc/hosts，或修复名字服务器。"),
)
NO_SERVER_READ = Fault(
    code="HRM-NET-032",
    severity=Severity.WARNING,
    title=Text("resolv.conf has a line that is not read: {text}", "resolv.conf 中有一行无法识别：{text}"),
    why=Text("The server that it is to name is never asked.", "该行所写的服务器不会被使用。"),
    cure=Text("Write: nameserver ADDRESS.", "应写成：nameserver 地址。"),
)


@check("net.hostname", NAME_ON_LOOPBACK, NAME_ELSEWHERE, NAME_CHANGES, quick=True)
def the_machines_name_leads_to_it(system: System, expected: Expected) -> Iterator[Finding]:
    """This machine's own name leads to an address of it, and to one that others reach where there are others."""
    name = hostname(system)
    if not name or name.startswith("localhost"):
        return
    lines = hosts_lines(system)
    own = {one.text for one in own_addresses(system)}
    mine = [line for line in lines if name in line.names and line.address.version == 4]
    others = _other_machines(lines, name)
    for line in mine[:1]:
        if line.address.is_loopback and others:
            yield NAME_ON_LOOPBACK.found(
                name=name,
                address=line.address,
                evidence=[line.evidence, others[0].evidence],
                cure=[
                    by_hand(
                        f"In {HOSTS} write this machine's own address before {name}.",
                        f"在 {HOSTS} 中把 {name} 改为本机的网络地址。",
                    )
                ],
            )
        elif not line.address.is_loopback and str(line.address) not in own:
            yield NAME_ELSEWHERE.found(
                name=name,
                address=line.address,
                evidence=[line.evidence],
                cure=[
                    by_hand(
                        f"In {HOSTS} write this machine's own address before {name}.",
                        f"在 {HOSTS} 中把 {name} 改为本机地址。",
                    )
                ],
            )
    other = (system.read("/etc/hostname") or "").strip()
    kernels = (system.read("/proc/sys/kernel/hostname") or "").strip()
    if other and kernels and other.partition(".")[0] != kernels.partition(".")[0]:
        yield NAME_CHANGES.found(
            name=kernels,
            other=other,
            evidence=[line_of("/etc/hostname", 1, other)],
            cure=[by_hand("hostnamectl set-hostname NAME", "hostnamectl set-hostname 名字")],
        )


@check("net.hosts", TWO_ADDRESSES, TWO_NAMES, NO_ADDRESS, MISTYPED, quick=True)
def the_hosts_file_is_unambiguous(system: System, expected: Expected) -> Iterator[Finding]:
    """Every name has one address in the hosts file, and every node an address of its own."""
    for number, text in enumerate((system.read(HOSTS) or "").splitlines(), 1):
        words = text.partition("#")[0].split()
        if words and as_ip(words[0]) is None:
            yield NO_ADDRESS.found(text=text.strip(), evidence=[line_of(HOSTS, number, text.strip())], cure=[_line()])
    lines = [line for line in hosts_lines(system) if line.address.version == 4 and not line.address.is_loopback]
    by_name: dict[str, HostsLine] = {}
    by_address: dict[str, HostsLine] = {}
    for line in lines:
        for name in line.names:
            before = by_name.setdefault(name, line)
            if before.address != line.address:
                evidence = [before.evidence, line.evidence]
                yield TWO_ADDRESSES.found(
                    name=name, one=before.address, other=line.address, evidence=evidence, cure=[_line()]
                )
        before = by_address.setdefault(str(line.address), line)
        if before is not line and _are_two_nodes(before.names[0], line.names[0]):
            evidence = [before.evidence, line.evidence]
            yield TWO_NAMES.found(
                address=line.address, one=before.names[0], other=line.names[0], evidence=evidence, cure=[_line()]
            )
    own = own_addresses(system) if lines else ()
    neighbours = [str(line.address) for line in lines if any(line.address in one.at.network for one in own)]
    for line in lines if len(neighbours) > 2 else ():
        # The same last part as nobody has yet, in the network of the others: "192.19.0.205" among 172.19.0.x.
        last = str(line.address).rpartition(".")[2]
        meant = [f"{near.rpartition('.')[0]}.{last}" for near in neighbours]
        probably = mistyped(str(line.address), dict.fromkeys(meant), own)
        if probably is not None and probably not in neighbours:
            yield MISTYPED.found(
                name=line.names[0], address=line.address, meant=probably, evidence=[line.evidence], cure=[_line()]
            )


@check("net.dns", SERVERS_SILENT, NOT_FOUND, NO_SERVER_READ)
def names_can_be_looked_up(system: System, expected: Expected) -> Iterator[Finding]:
    """Name servers answer, and know the names that the configuration wants known."""
    for number, text in enumerate((system.read(RESOLV_CONF) or "").splitlines(), 1):
        words = re.split(r"[#;]", text)[0].split()
        if (
            words
            and words[0].startswith("nameserv")
            and (len(words) < 2 or words[0] != "nameserver" or as_ip(words[1]) is None)
        ):
            step = by_hand(f"In {RESOLV_CONF} write: nameserver ADDRESS", f"在 {RESOLV_CONF} 中写：nameserver 地址")
            yield NO_SERVER_READ.found(
                text=text.strip(), evidence=[line_of(RESOLV_CONF, number, text.strip())], cure=[step]
            )
    servers = name_servers(system)
    if servers and system.run("getent", "ahostsv4", _NO_SUCH_NAME, timeout_s=LOOKUP_TIMEOUT_S).timed_out:
        yield SERVERS_SILENT.found(
            limit=f"{LOOKUP_TIMEOUT_S:g}",
            servers=", ".join(str(address) for address, _ in servers),
            evidence=[evidence for _, evidence in servers],
            cure=[
                by_hand(
                    "Look whether they can be reached; name others in resolv.conf (or netplan, resolved.conf).",
                    "检查能否连通；在 resolv.conf（或 netplan、resolved.conf）中换成可用的。",
                )
            ],
        )
        return
    for name in expected.machine.names:
        try:
            found = lookup(system, name)
        except CannotSee:
            found = ()
        if not found:
            step = by_hand(f"Add {name} to {HOSTS}, or to the name servers.", f"把 {name} 加入 {HOSTS} 或名字服务器。")
            yield NOT_FOUND.found(name=name, evidence=[Evidence(f"getent ahostsv4 {name}", "no address")], cure=[step])


def _other_machines(lines: tuple[HostsLine, ...], name: str) -> list[HostsLine]:
    """Lines of machines besides this one: who has them in the hosts file works together with them."""
    return [
        line
        for line in lines
        if line.address.version == 4
        and not line.address.is_loopback
        and name not in line.names
        and not _OF_EVERY_MACHINE.match(line.names[0])
    ]


def _are_two_nodes(one: str, other: str) -> bool:
    """Whether two names are numbered alike: slave06, slave07. Others may be two names of one machine."""
    first, second = (re.fullmatch(r"(.*?)(\d+)((?:\..*)?)", name) for name in (one, other))
    return bool(first and second and first[1] == second[1] and first[2] != second[2] and first[3] == second[3])


def _line() -> Step:
    return by_hand(
        f"Mend the line in {HOSTS}, the same way on all nodes.", f"改正 {HOSTS} 中的该行，所有节点保持一致。"
    )
