"""The name by which the disk array knows this node."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hrm.doctor.checks import check, fact
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.steps import by_hand, restart
from hrm.doctor.storage.here import disks_of_array
from hrm.doctor.storage.iscsi import INITIATOR, initiator, records
from hrm.doctor.system import System
from hrm.model.findings import FileContent, Finding, Risk, Severity, Step, Text

#: RFC 3721: iqn.YYYY-MM.reversed.domain[:anything], eui.HEX or naa.HEX.
_NAME = re.compile(r"iqn\.\d{4}-\d{2}\.[a-z0-9][a-z0-9.-]*(:\S+)?|eui\.[0-9A-Fa-f]{16}|naa\.[0-9A-Fa-f]{16,32}")

NO_NAME = Fault(
    code="HRM-ISCSI-001",
    severity=Severity.ERROR,
    title=Text("{file} gives this node's iSCSI initiator no usable name", "{file} 没有给出可用的 iSCSI 启动器名称"),
    why=Text(
        "iscsid does not start, or the array refuses the login: the array's disk is not there, and nothing that "
        "lies on it.",
        "iscsid 无法启动，或者磁盘阵列拒绝登录：阵列的磁盘不可用，其上的数据也都不可用。",
    ),
    cure=Text(
        "Write the name that the array knows into /etc/iscsi/initiatorname.iscsi (or make one with iscsi-iname and "
        "enter it at the array), and restart iscsid.",
        "把阵列登记的名称写入 /etc/iscsi/initiatorname.iscsi（或用 iscsi-iname 生成并登记到阵列），然后重启 iscsid。",
    ),
)
OTHER_NAME = Fault(
    code="HRM-ISCSI-002",
    severity=Severity.ERROR,
    title=Text(
        "The iSCSI initiator is {found}, but the array knows this node as {recorded}",
        "iSCSI 启动器名称是 {found}，而阵列登记的是 {recorded}",
    ),
    why=Text(
        "The name is made anew when the system is reinstalled. The array maps its disk to the recorded name: discovery "
        "still works, and after the login there is no disk.",
        "重装系统后名称会重新生成。阵列把磁盘映射给登记的名称：发现仍会成功，但登录后没有磁盘。",
    ),
    cure=Text(
        "Write the recorded name back and restart iscsid; or add the new name at the array: host, port = this name, "
        "host mapping.",
        "写回登记的名称并重启 iscsid；或者在阵列上登记新名称：添加主机、端口填此名称、添加主机映射。",
    ),
)


def array_guide(name: str) -> Step:
    """How a node becomes known to the array, in the array's own page."""
    return by_hand(
        "At the array (its page answers at the management address of a controller, from a computer in the same "
        f"network): Hosts, Add host, type iSCSI, port = {name or 'the InitiatorName of this node'}. Then Add host "
        "mapping and choose the volume. Until then the host is shown as degraded and has no disk; that discovery "
        "works proves no mapping.",
        "在磁盘阵列上操作（用同一网段的电脑打开控制器管理地址的网页）:主机 → 添加主机，类型 iSCSI，端口填 "
        f"{name or '本节点的 InitiatorName'}；然后点击“添加主机映射”并选择卷。在此之前主机状态为“已降级”，没有磁盘；"
        "发现命令成功并不代表已经映射。",
    )


@fact("iscsi.initiator-name", unique=True)
def initiator_name(system: System) -> str | None:
    """No two nodes may have one: the array takes them for the same machine and ends the other's session."""
    return initiator(system).name or None


@check("iscsi.initiator", NO_NAME, OTHER_NAME, quick=True)
def initiator_is_the_recorded_one(system: System, expected: Expected) -> Iterator[Finding]:
    """The initiator has a name, and it is the one that the array knows."""
    disks = disks_of_array(system, expected)
    here = initiator(system)
    recorded = next((disk.initiator for disk in disks if disk.initiator), "")
    if here.evidence is None and not disks:
        return
    if here.lines != 1 or not _NAME.fullmatch(here.name):
        # Debian's package makes a name when its service is first started: nobody misses one before there are targets.
        if disks or records(system):
            evidence = () if here.evidence is None else (here.evidence,)
            yield NO_NAME.found(file=INITIATOR, evidence=evidence, cure=_cure(recorded))
    elif recorded and here.name != recorded:
        yield OTHER_NAME.found(
            found=here.name,
            recorded=recorded,
            evidence=() if here.evidence is None else (here.evidence,),
            cure=(*_cure(recorded), array_guide(here.name)),
        )


def _cure(recorded: str) -> tuple[Step, ...]:
    if not recorded:
        return (
            by_hand(
                f"Write InitiatorName=NAME into {INITIATOR}, with the name that the array knows, or a new one from "
                "iscsi-iname.",
                f"把 InitiatorName=名称 写入 {INITIATOR}，名称用阵列登记的，或用 iscsi-iname 新生成。",
            ),
            restart("iscsid"),
            array_guide(""),
        )
    about = Text(f"Write {recorded} into {INITIATOR}.", f"把 {recorded} 写入 {INITIATOR}。")
    content = FileContent(INITIATOR, f"InitiatorName={recorded}\n", 0o600)
    return (Step(about=about, risk=Risk.DISRUPTIVE, writes=content), restart("iscsid"))
