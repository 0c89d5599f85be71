"""Why a target of the disk array has no session: asked of the array itself, once round and nothing changed by it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hrm.doctor.checks import Unseen, check
from hrm.doctor.evidence import said
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.steps import by_hand, run
from hrm.doctor.storage.here import disks_of_array
from hrm.doctor.storage.initiator import array_guide
from hrm.doctor.storage.iscsi import host_and_port, initiator, records, sessions, with_port
from hrm.doctor.storage.sessions import login
from hrm.doctor.system import Output, Reached, System
from hrm.model.findings import Evidence, Finding, Severity, Step, Text

PORTAL_SILENT = Fault(
    code="HRM-ISCSI-030",
    severity=Severity.ERROR,
    title=Text("The array does not answer at {portal}: {answer}", "磁盘阵列在 {portal} 没有响应：{answer}"),
    why=Text(
        "Without the portal nobody can log in: the controller is off, its address is another one, or the network "
        "between has a fault.",
        "门户不通就无法登录：控制器未开机、地址不对，或者中间的网络有故障。",
    ),
    cure=Text(
        "Check controller, cable and address; refused: the host answers, and its iSCSI service does not run.",
        "检查控制器、网线和地址；若为 refused:主机可达，但其 iSCSI 服务未运行。",
    ),
)
TARGET_ABSENT = Fault(
    code="HRM-ISCSI-031",
    severity=Severity.ERROR,
    title=Text(
        "The array at {portal} does not offer {target} to this node", "{portal} 处的磁盘阵列没有向本节点提供 {target}"
    ),
    why=Text(
        "The target has another name, or the array does not know this node's initiator.",
        "目标名称不对，或者阵列不认识本节点的启动器。",
    ),
    cure=Text(
        "Add the host with this node's initiator at the array, and its host mapping; or correct the target's name.",
        "在阵列上用本节点的启动器名称添加主机并添加主机映射；或者更正目标名称。",
    ),
)
LOGIN_REFUSED = Fault(
    code="HRM-ISCSI-032",
    severity=Severity.ERROR,
    title=Text("{target} refuses the login of this node", "{target} 拒绝本节点登录"),
    why=Text(
        "The target wants a CHAP name and password, and those of this node are missing or wrong.",
        "目标要求 CHAP 用户名和密码，而本节点没有设置或设置错误。",
    ),
    cure=Text(
        "Set node.session.auth.authmethod, username and password of the record as the array has them, and log in "
        "again.",
        "按阵列上的设置修改记录中的 node.session.auth.authmethod、username、password，然后重新登录。",
    ),
)
NOT_MAPPED = Fault(
    code="HRM-ISCSI-033",
    severity=Severity.ERROR,
    title=Text("{target} shows this node no disk", "{target} 没有向本节点提供磁盘"),
    why=Text(
        "The host was added at the array without a host mapping (it is shown there as degraded): login works, and no "
        "disk appears.",
        "在阵列上只添加了主机而没有添加主机映射（阵列上显示“已降级”）:登录成功，但不会出现磁盘。",
    ),
    cure=Text("Add the host mapping at the array, then log in.", "在阵列上添加主机映射，然后登录。"),
)
NO_DRIVER = Fault(
    code="HRM-ISCSI-034",
    severity=Severity.ERROR,
    title=Text("The kernel has no iSCSI driver", "内核没有 iSCSI 驱动"),
    why=Text(
        "iscsiadm cannot log in anywhere before module iscsi_tcp is loaded.",
        "加载模块 iscsi_tcp 之前，iscsiadm 无法登录任何目标。",
    ),
    cure=Text(
        "Load iscsi_tcp; install the kernel's extra modules if it is not there.",
        "加载 iscsi_tcp；若没有该模块，安装内核的附加模块包。",
    ),
)

#: What tools say of a login that needs a name and a password.
_REFUSED = re.compile(
    r"authori[sz]ation failure|authentication failure|failed to authenticate|CHAP|\(0?513\)|0201", re.IGNORECASE
)
_NO_TARGET = re.compile(r"target not found|\(515\)|not found \(02/03\)|does not exist", re.IGNORECASE)
_NO_DRIVER = re.compile(
    r"driver (?:tcp is not loaded|not found)|could not insert module|iscsi_transport", re.IGNORECASE
)
_LIMIT_S = 4.0


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a portal said."""

    output: Output
    #: Targets that it offers this node.
    targets: frozenset[str]
    #: Of each target the disks that it shows; empty where the tool does not ask for them.
    disks: dict[str, int]


@check("iscsi.targets", PORTAL_SILENT, TARGET_ABSENT, LOGIN_REFUSED, NOT_MAPPED, NO_DRIVER)
def targets_without_a_session(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """Each target that has no session is asked for at each of its portals: reached, offered, let in, mapped."""
    used = {session.target for session in sessions(system)}
    wanted: dict[str, list[str]] = {}
    for disk in disks_of_array(system, expected):
        wanted.setdefault(disk.target, []).extend(map(with_port, disk.portals))
    for record in records(system):
        if record.automatic:
            wanted.setdefault(record.target, []).append(record.portal)
    missing = {target: list(dict.fromkeys(portals)) for target, portals in wanted.items() if target not in used}
    name = initiator(system).name
    for portal in sorted({portal for portals in missing.values() for portal in portals}):
        reached = system.connect(*host_and_port(portal))
        if reached is not Reached.OPEN:
            yield PORTAL_SILENT.found(
                portal=portal, answer=reached, evidence=(Evidence(f"connect {portal}", reached),), cure=_look_at(portal)
            )
            continue
        own = [target for target, portals in missing.items() if portal in portals]
        yield from _at(system, portal, own, name)


def _at(system: System, portal: str, targets: Sequence[str], name: str) -> Iterator[Finding | Unseen]:
    asked = _ask(system, portal, name)
    if asked is None:
        yield Unseen(f"what {portal} offers: neither iscsi-ls (libiscsi-bin) nor iscsiadm (open-iscsi) is installed")
        return
    output = asked.output
    if output.timed_out:
        yield Unseen(f"what {portal} offers: {' '.join(output.argv)} did not answer in time")
        return
    if _NO_DRIVER.search(output.text):
        yield NO_DRIVER.found(evidence=(said(output, _NO_DRIVER.pattern),), cure=(run("modprobe", "iscsi_tcp"),))
        return
    for target in targets:
        if _REFUSED.search(output.text) and (target in asked.targets or not asked.targets):
            yield LOGIN_REFUSED.found(
                target=target, evidence=(said(output, f"(?i){_REFUSED.pattern}"),), cure=_chap(target, portal)
            )
        elif target not in asked.targets:
            yield TARGET_ABSENT.found(
                target=target,
                portal=portal,
                evidence=(_evidence(output, asked.targets),),
                cure=(array_guide(name), *login(target, portal)),
            )
        elif asked.disks.get(target) == 0:
            yield NOT_MAPPED.found(
                target=target,
                evidence=(said(output, re.escape(target)),),
                cure=(array_guide(name), *login(target, portal)),
            )


def _ask(system: System, portal: str, name: str) -> _Asked | None:
    """By libiscsi's tool, which needs no kernel and looks for disks too; else by open-iscsi's."""
    if system.which("iscsi-ls") is not None:
        own = ("-i", name) if name else ()
        return parse_listing(system.run("iscsi-ls", *own, "-s", f"iscsi://{portal}", timeout_s=_LIMIT_S))
    if system.which("iscsiadm") is None:
        return None
    output = system.run(
        "iscsiadm", "-m", "discovery", "-t", "st", "-p", portal, "-o", "nonpersistent", timeout_s=_LIMIT_S
    )
    # "172.19.0.208:3260,1 iqn.2004-12.com.inspur:mcs.cluster192.168.0.100.node1"
    targets = (line.split() for line in output.lines)
    return _Asked(output, frozenset(words[1] for words in targets if len(words) == 2 and "," in words[0]), {})


def parse_listing(output: Output) -> _Asked:
    """Of ``iscsi-ls -s``, which ends with 0 whether the server is there or not: only the text counts."""
    disks: dict[str, int] = {}
    target = ""
    for line in output.text.splitlines():
        if found := re.match(r"Target:(\S+) Portal:", line):
            target = found[1]
            disks.setdefault(target, 0)
        elif re.match(r"\s*Lun:\d+\s+Type:DIRECT_ACCESS", line) and target:
            disks[target] += 1
    return _Asked(output, frozenset(disks), disks)


def _evidence(output: Output, targets: frozenset[str]) -> Evidence:
    if not output.text.strip() or _NO_TARGET.search(output.text):
        return Evidence(" ".join(output.argv), "it offers this node nothing")
    return said(output, r"^Target:|iqn\.") if targets else said(output)


def _look_at(portal: str) -> tuple[Step, ...]:
    host, port = host_and_port(portal)
    return (
        by_hand(
            f"See that {host} is the address of a controller, that it answers (ping {host}), and that port {port} "
            "is open.",
            f"确认 {host} 是控制器的地址、可以 ping 通，并且端口 {port} 已打开。",
        ),
    )


def _chap(target: str, portal: str) -> tuple[Step, ...]:
    record = f"iscsiadm -m node -T {target} -p {portal} --op update"
    return (
        by_hand(
            f"Set what the array has for this host (passwords have at least 12 characters): "
            f"{record} -n node.session.auth.authmethod -v CHAP; {record} -n node.session.auth.username -v NAME; "
            f"{record} -n node.session.auth.password -v PASSWORD",
            f"按阵列上该主机的设置填写（密码至少 12 个字符）:"
            f"{record} -n node.session.auth.authmethod -v CHAP; {record} -n node.session.auth.username -v 用户名； "
            f"{record} -n node.session.auth.password -v 密码",
        ),
        *login(target, portal)[1:],
    )
