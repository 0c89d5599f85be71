"""Where masters and agents are to be found: address, host name, port, and the master that an agent looks for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from hrm.doctor.addresses import (
    OwnAddress,
    as_ip,
    hostname,
    hosts_lines,
    lookup,
    mistyped,
    own_addresses,
)
from hrm.doctor.checks import Unseen, check
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.listening import Listener, listeners, owner
from hrm.doctor.mesos.lists import entries
from hrm.doctor.mesos.settings import AGENT, MASTER, Mesos, Setting, mesos
from hrm.doctor.mesos.spelling import restart_by_hand
from hrm.doctor.steps import by_hand, end_process
from hrm.doctor.system import CannotSee, Reached, System
from hrm.model.findings import Finding, Severity, Step, Text

_ENDPOINT = re.compile(r"^(?:[a-z]+@)?(\[[^\]]+\]|[^:/,\s]+)(?::(\d+))?$")

FOREIGN_ADDRESS = Fault(
    code="HRM-MESOS-010",
    severity=Severity.ERROR,
    title=Text(
        "The Mesos {role} is to listen at {ip}, which is no address of this machine",
        "Mesos {role} 设定的 ip {ip} 不是本机地址",
    ),
    why=Text(
        "It ends at once: Failed to bind, Cannot assign requested address. A copied file still has the other machine's "
        "address.",
        "它会立即退出：Failed to bind, Cannot assign requested address。多半是拷贝来的文件仍写着别的机器的地址。",
    ),
    cure=Text("Write this machine's own address, and restart the daemon.", "改为本机自己的地址，并重启守护进程。"),
)
FOREIGN_NAME = Fault(
    code="HRM-MESOS-011",
    severity=Severity.WARNING,
    title=Text(
        "The Mesos {role} calls itself {name}, but this machine is {own}", "Mesos {role} 自称 {name}，而本机是 {own}"
    ),
    why=Text(
        "Others look for its sandboxes and its page at that name, and find another machine or none.",
        "其他机器会按这个名字访问它的 sandbox 和页面，结果找到别的机器或找不到。",
    ),
    cure=Text("Write this machine's own name, and restart the daemon.", "改为本机自己的主机名，并重启守护进程。"),
)
MISTYPED = Fault(
    code="HRM-MESOS-012",
    severity=Severity.ERROR,
    title=Text(
        "{flag} of the Mesos {role} has the address {address}; {meant} was probably meant",
        "Mesos {role} 的 {flag} 写的是 {address}，可能想写 {meant}",
    ),
    why=Text(
        "The address differs in one part from one that is known here, and lies in no network of this machine: the "
        "daemon waits for a master that is not there.",
        "该地址与一个已知地址只差一段，并且不在本机的任何网段内：守护进程会一直等待不存在的 master。",
    ),
    cure=Text("Write the right address, and restart the daemon.", "改为正确的地址，并重启守护进程。"),
)
PORT_TAKEN = Fault(
    code="HRM-MESOS-013",
    severity=Severity.ERROR,
    title=Text("Port {port} of the Mesos {role} is taken by {holder}", "Mesos {role} 的端口 {port} 被 {holder} 占用"),
    why=Text(
        "It cannot start: Failed to bind, Address already in use.", "无法启动：Failed to bind, Address already in use。"
    ),
    cure=Text("End the program that has the port, or choose another one.", "结束占用端口的程序，或改用别的端口。"),
)
SAME_PORT = Fault(
    code="HRM-MESOS-014",
    severity=Severity.ERROR,
    title=Text("Master and agent of this machine both want port {port}", "本机的 master 和 agent 都要用端口 {port}"),
    why=Text(
        "Whoever starts second cannot bind. Masters usually have 5050, agents 5051.",
        "后启动的无法绑定端口。通常 master 用 5050,agent 用 5051。",
    ),
    cure=Text("Give the agent port 5051.", "把 agent 的端口改为 5051。"),
)
NO_MASTER = Fault(
    code="HRM-MESOS-015",
    severity=Severity.ERROR,
    title=Text("The Mesos master {master} does not answer ({how})", "Mesos master {master} 没有应答（{how}）"),
    why=Text(
        "The agent of this machine cannot register, and nothing that Mesos runs comes here.",
        "本机的 agent 无法注册，Mesos 不会把任务派到这里。",
    ),
    cure=Text(
        "Start the master (mesos-start-cluster.sh on its machine), or mend its address.",
        "在 master 机器上执行 mesos-start-cluster.sh 启动 master，或改正它的地址。",
    ),
)
NO_SUCH_HOST = Fault(
    code="HRM-MESOS-016",
    severity=Severity.ERROR,
    title=Text(
        "{flag} of the Mesos {role} names {host}, which no machine is called",
        "Mesos {role} 的 {flag} 指向 {host}，没有这个主机名",
    ),
    why=Text(
        "The name leads to no address, so the daemon reaches nobody.", "该名字解析不到地址，守护进程连不上任何机器。"
    ),
    cure=Text("Add the name to /etc/hosts, or mend it.", "在 /etc/hosts 中加上该名字，或改正它。"),
)


@check("mesos.identity", FOREIGN_ADDRESS, FOREIGN_NAME)
def address_and_name_are_this_machines(system: System, expected: Expected) -> Iterator[Finding]:
    """What a daemon calls itself, and where it listens, is this machine."""
    told = mesos(system, expected)
    for role in told.roles:
        own = own_addresses(system)
        for flag in ("ip", "advertise_ip"):
            ip = told.get(role, flag)
            if ip is not None and as_ip(ip.value) is not None and ip.value not in (*_texts(own), "0.0.0.0", "::"):
                if flag == "advertise_ip":
                    # A public address that is translated on the way is right, and cannot be seen from here.
                    continue
                yield FOREIGN_ADDRESS.found(
                    role=role, ip=ip.value, evidence=[ip.evidence], cure=_own_address(ip, own, told)
                )
        name = told.get(role, "hostname")
        if name is not None and name.value and not _is_own_name(system, name.value, _texts(own)):
            yield FOREIGN_NAME.found(
                role=role,
                name=name.value,
                own=hostname(system),
                evidence=[name.evidence],
                cure=[_write(name, hostname(system)), restart_by_hand(role)],
            )


@check("mesos.addresses", MISTYPED, NO_SUCH_HOST)
def addresses_are_those_that_are_known(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """Addresses and names in settings are such as the rest of this machine knows."""
    told = mesos(system, expected)
    if not told.roles:
        return
    own = own_addresses(system)
    listed = [entry.host for directory in told.directories for entry in entries(system, directory)]
    known = {*_texts(own), *(str(line.address) for line in hosts_lines(system)), *listed}
    for setting in _unique(told):
        for host, _ in endpoints(setting.value):
            if as_ip(host) is not None:
                meant = mistyped(host, sorted(known), own)
                if meant is not None:
                    yield MISTYPED.found(
                        flag=setting.flag,
                        role=setting.role,
                        address=host,
                        meant=meant,
                        evidence=[setting.evidence],
                        cure=[_write(setting, setting.value.replace(host, meant)), restart_by_hand(setting.role)],
                    )
                continue
            try:
                found = lookup(system, host)
            except CannotSee as error:
                yield Unseen(str(error))
                continue
            if not found:
                yield NO_SUCH_HOST.found(
                    flag=setting.flag,
                    role=setting.role,
                    host=host,
                    evidence=[setting.evidence],
                    cure=[
                        by_hand(
                            f"Add {host} to /etc/hosts, or mend the name.",
                            f"在 /etc/hosts 中加上 {host}，或改正该名字。",
                        )
                    ],
                )


@check("mesos.ports", PORT_TAKEN, SAME_PORT, quick=True)
def ports_are_free_or_mesos(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """Nobody else listens where a daemon of Mesos is to listen."""
    told = mesos(system, expected)
    if len(told.roles) == 2 and told.port(MASTER) == told.port(AGENT):
        settings = [found for role in told.roles if (found := told.get(role, "port")) is not None]
        yield SAME_PORT.found(
            port=told.port(AGENT),
            evidence=[setting.evidence for setting in settings],
            cure=[by_hand("Give the agent port 5051 and restart it.", "把 agent 的端口改为 5051 并重启。")],
        )
    for role in told.roles:
        # Settings of a role are on many a machine that never has it: only what somebody meant to start can be kept out.
        if told.runs(role):
            continue
        port = told.port(role)
        for listener in listeners(system, port):
            if not listener.takes(told.value(role, "ip")):
                continue
            try:
                yield from _taken(system, told, role, listener)
            except CannotSee as error:
                yield Unseen(str(error))
            break


@check("mesos.master-answers", NO_MASTER)
def the_master_answers(system: System, expected: Expected) -> Iterator[Finding]:
    """The master that the agent of this machine looks for takes connections."""
    told = mesos(system, expected)
    setting = told.get(AGENT, "master")
    if setting is None or setting.value.startswith(("zk://", "file://")):
        return
    for host, port in endpoints(setting.value):
        reached = system.connect(host, port or 5050)
        if reached is not Reached.OPEN:
            yield NO_MASTER.found(
                master=f"{host}:{port or 5050}",
                how=str(reached),
                evidence=[setting.evidence],
                cure=[
                    by_hand(
                        "On the master's machine: mesos-start-cluster.sh (or systemctl start mesos-master).",
                        "在 master 机器上执行：mesos-start-cluster.sh（或 systemctl start mesos-master）。",
                    )
                ],
            )


def endpoints(value: str) -> list[tuple[str, int | None]]:
    """Hosts and ports in the value of a setting: ``host:port``, or several as in ``zk://a:2181,b:2181/mesos``."""
    inside = re.sub(r"^zk://(?:[^@/]*@)?", "", value).partition("/")[0] if value.startswith("zk://") else value
    found = (_ENDPOINT.match(word.strip()) for word in inside.split(","))
    return [(one[1].strip("[]"), int(one[2]) if one[2] else None) for one in found if one]


def _unique(told: Mesos) -> list[Setting]:
    """Each value once that names other machines: what runs says it again."""
    wanted = (one for one in told.settings if one.flag in ("master", "zk") and not one.value.startswith(("=", "file:")))
    return list({(one.role, one.flag, one.value): one for one in wanted if one.value}.values())


def _taken(system: System, told: Mesos, role: str, listener: Listener) -> Iterator[Finding]:
    holder = owner(system, listener)
    if holder is None or any(daemon.process.pid == holder.pid for daemon in told.daemons):
        return
    setting = told.get(role, "port")
    yield PORT_TAKEN.found(
        port=listener.port,
        role=role,
        holder=f"{holder.shown} (pid {holder.pid})",
        evidence=[listener.evidence, *([setting.evidence] if setting else [])],
        cure=[end_process(holder.pid, holder.command_line), restart_by_hand(role)],
    )


def _own_address(setting: Setting, own: Sequence[OwnAddress], told: Mesos) -> list[Step]:
    """The address of this machine that was meant: in the master's network, or the only one."""
    candidates = [one for one in own if one.at.version == 4 and not one.at.ip.is_loopback]
    master = next((as_ip(host) for host, _ in endpoints(told.value(AGENT, "master"))), None)
    in_network = [one for one in candidates if master is not None and master in one.at.network]
    best = (in_network or candidates)[:1]
    return [_write(setting, best[0].text if best else "…"), restart_by_hand(setting.role)]


def _write(setting: Setting, value: str) -> Step:
    place = f"{setting.evidence.source}:{setting.evidence.line}" if setting.evidence.line else setting.evidence.source
    text = f"{setting.spelled}={value}"
    return by_hand(f"In {place} write: {text}", f"在 {place} 中改为：{text}")


def _texts(own: Sequence[OwnAddress]) -> list[str]:
    return [one.text for one in own]


def _is_own_name(system: System, name: str, own: Sequence[str]) -> bool:
    mine = hostname(system)
    if name in (mine, mine.partition(".")[0], *own) or name.partition(".")[0] == mine.partition(".")[0]:
        return True
    try:
        return any(address in own and not address.startswith("127.") for address in lookup(system, name))
    except CannotSee:
        # A name server that does not answer is told by the checks of the network.
        return True
