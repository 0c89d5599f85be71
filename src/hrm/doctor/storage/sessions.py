"""iSCSI sessions of this node, and the disks that they bring."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hrm.doctor.checks import check
from hrm.doctor.expected import Expected
from hrm.doctor.expected.storage import IscsiExpected
from hrm.doctor.faults import Fault
from hrm.doctor.steps import by_hand, run
from hrm.doctor.storage.here import disks_of_array
from hrm.doctor.storage.initiator import array_guide
from hrm.doctor.storage.iscsi import Record, Session, initiator, records, sessions, with_port
from hrm.doctor.system import System
from hrm.doctor.units import systemd_runs, unit
from hrm.model.findings import Evidence, Finding, Risk, Severity, Step, Text
from hrm.model.units import format_bytes

#: Disks are sold and shown in units that differ by a tenth at a terabyte; an other disk differs by more.
_SAME_SIZE_PART = 0.12
_LOGGED_IN = "LOGGED_IN"
_MIB = 1 << 20
#: What iscsiadm says of a login that has been done.
_THERE = ("session exists", "already present", "already exists")

NO_SESSION = Fault(
    code="HRM-ISCSI-010",
    severity=Severity.ERROR,
    title=Text("This node is not logged in to {target}", "本节点没有登录 {target}"),
    why=Text(
        "The array's disk is not there: what is mounted from it is missing here, and on all nodes that this one "
        "exports "
        "it to.",
        "阵列的磁盘不存在：本节点上由它挂载的目录缺失，由本节点导出给其他节点的目录也一样。",
    ),
    cure=Text("Discover the target and log in.", "发现目标并登录。"),
)
BROKEN_SESSION = Fault(
    code="HRM-ISCSI-011",
    severity=Severity.ERROR,
    title=Text("The session with {target} at {portal} is {state}", "与 {target}({portal})的会话状态为 {state}"),
    why=Text(
        "The connection to the array is gone. What reads or writes its disk waits, then fails; the filesystem turns "
        "read-only.",
        "与磁盘阵列的连接已断开。读写该磁盘的程序先等待、然后失败；文件系统会变为只读。",
    ),
    cure=Text(
        "Mend the way to the controller; the session comes back by itself. Else log out and in, with nothing mounted.",
        "恢复到控制器的网络，会话会自动恢复；否则在卸载文件系统后注销并重新登录。",
    ),
)
ONE_CONTROLLER = Fault(
    code="HRM-ISCSI-012",
    severity=Severity.WARNING,
    title=Text(
        "{target} is used by one way only: no session at {portal}", "{target} 只使用了一条路径：{portal} 没有会话"
    ),
    why=Text(
        "When that one controller, cable or switch fails, the disk is gone, though the array has a second way.",
        "一旦这个控制器、网线或交换机出故障，磁盘就会丢失，尽管阵列还有第二条路径。",
    ),
    cure=Text(
        "Install multipath-tools, so that both ways are one device, and then log in at the other portal too.",
        "安装 multipath-tools（使两条路径成为一个设备），然后也登录另一个门户。",
    ),
)
MANUAL = Fault(
    code="HRM-ISCSI-013",
    severity=Severity.WARNING,
    title=Text(
        "{target} is not logged in to at boot: node.startup is {startup}",
        "{target} 开机时不会登录：node.startup 为 {startup}",
    ),
    why=Text(
        "After the next restart the array's disk is missing until somebody logs in by hand.",
        "下次重启后，在有人手动登录之前，阵列的磁盘都不可用。",
    ),
    cure=Text("Set node.startup to automatic.", "把 node.startup 设为 automatic。"),
)
SERVICE_NOT_ENABLED = Fault(
    code="HRM-ISCSI-014",
    severity=Severity.WARNING,
    title=Text("{service} does not start with the machine", "{service} 不会随系统启动"),
    why=Text(
        "Nothing logs in to the array after the next restart, though node.startup is automatic.",
        "尽管 node.startup 为 automatic，下次重启后也不会登录阵列。",
    ),
    cure=Text("Enable it.", "设为开机启动。"),
)
NO_DISK = Fault(
    code="HRM-ISCSI-015",
    severity=Severity.ERROR,
    title=Text("Logged in to {target}, and there is no disk", "已登录 {target}，但没有磁盘"),
    why=Text(
        "The array maps no volume to this node's initiator: the host is there without a host mapping, or the initiator "
        "has another name since a reinstall. That discovery and login work proves no mapping.",
        "阵列没有把任何卷映射给本节点的启动器：只添加了主机而没有添加主机映射（主机状态“已降级”），或重装后启动器名称变了。"
        "发现和登录成功并不代表已经映射。",
    ),
    cure=Text(
        "Add the host mapping at the array, then look for disks again.", "在阵列上添加主机映射，然后重新扫描磁盘。"
    ),
)
DISK_OFFLINE = Fault(
    code="HRM-ISCSI-016",
    severity=Severity.ERROR,
    title=Text("/dev/{disk} of {target} is {state}", "{target} 的 /dev/{disk} 状态为 {state}"),
    why=Text(
        "The kernel has given the disk up: every read and write of it fails.",
        "内核已放弃该磁盘：对它的所有读写都会失败。",
    ),
    cure=Text(
        "When the session is well again, set the disk running, check the filesystem, and mount it again.",
        "会话恢复后，把磁盘置为 running，检查文件系统并重新挂载。",
    ),
)
OTHER_SIZE = Fault(
    code="HRM-ISCSI-017",
    severity=Severity.WARNING,
    title=Text(
        "The disk of {target} has {found}, expected are {expected}", "{target} 的磁盘大小为 {found}，预期为 {expected}"
    ),
    why=Text(
        "Another volume is mapped to this node than the one that is meant, or the volume was changed at the array.",
        "映射给本节点的可能是另一个卷，或者该卷在阵列上被改动过。",
    ),
    cure=Text(
        "Look at the array which volume is mapped. After it was enlarged: iscsiadm -m session --rescan, then grow the "
        "filesystem.",
        "在阵列上检查映射的是哪个卷。若卷已扩容：执行 iscsiadm -m session --rescan，再扩展文件系统。",
    ),
)


@check("iscsi.sessions", NO_SESSION, BROKEN_SESSION, ONE_CONTROLLER, MANUAL, SERVICE_NOT_ENABLED, quick=True)
def sessions_are_there(system: System, expected: Expected) -> Iterator[Finding]:
    """Every target that this node is to have has a session that works, and will have one after the next boot."""
    wanted, found, known = disks_of_array(system, expected), sessions(system), records(system)
    for session in found:
        if session.state != _LOGGED_IN:
            yield BROKEN_SESSION.found(
                target=session.target,
                portal=session.portal,
                state=session.state or "unknown",
                evidence=(session.evidence,),
                cure=_reconnect(session),
            )
    targets = {disk.target for disk in wanted} | {record.target for record in known if record.automatic}
    for target in sorted(targets):
        if not any(session.target == target for session in found):
            yield _no_session(target, wanted, known)
    for target in sorted({session.target for session in found}):
        yield from _second_way(target, wanted, found, known)
        yield from _at_boot(target, known)
    if found or targets:
        yield from _service(system, known)


@check("iscsi.disks", NO_DISK, DISK_OFFLINE, OTHER_SIZE, quick=True)
def sessions_bring_disks(system: System, expected: Expected) -> Iterator[Finding]:
    """Every session has disks, of the size that is expected, and they work."""
    found = [session for session in sessions(system) if session.disks is not None and session.state == _LOGGED_IN]
    for target in sorted({session.target for session in found}):
        own = [session for session in found if session.target == target]
        disks = [disk for session in own for disk in session.disks or ()]
        if not disks:
            name = initiator(system).name
            yield NO_DISK.found(
                target=target,
                evidence=(
                    own[0].evidence,
                    Evidence(f"{own[0].evidence.source.rpartition('/')[0]}/device", "no block device"),
                ),
                cure=(array_guide(name), _rescan()),
            )
            continue
        for disk in disks:
            if disk.state not in ("running", ""):
                yield DISK_OFFLINE.found(
                    target=target,
                    disk=disk.name,
                    state=disk.state,
                    evidence=(Evidence(f"{disk.place}/state", disk.state),),
                    cure=_set_running(disk.place, disk.name),
                )
        sizes = [disk.size_bytes for disk in disks]
        for one in disks_of_array(system, expected):
            if one.target == target and one.size_mib and not any(_alike(size, one.size_mib * _MIB) for size in sizes):
                yield OTHER_SIZE.found(
                    target=target,
                    found=", ".join(map(format_bytes, sizes)),
                    expected=format_bytes(one.size_mib * _MIB),
                    evidence=tuple(
                        Evidence(f"/sys/block/{disk.name}/size", str(disk.size_bytes // 512)) for disk in disks
                    ),
                    cure=(
                        by_hand(
                            "See at the array which volume is mapped to this node.", "在阵列上查看映射给本节点的卷。"
                        ),
                        _rescan(),
                    ),
                )


def login(target: str, portal: str) -> tuple[Step, ...]:
    """Discover and log in; nothing happens where that is done already."""
    return (
        _iscsiadm(f"-m discovery -t st -p {portal}", Text("Ask the array for its targets.", "向阵列查询目标。")),
        _iscsiadm(f"-m node -T {target} -p {portal} --login", Text("Log in.", "登录。"), done_if=_THERE),
    )


def _no_session(target: str, wanted: Sequence[IscsiExpected], known: Sequence[Record]) -> Finding:
    own = [record for record in known if record.target == target]
    portals = [with_port(portal) for disk in wanted if disk.target == target for portal in disk.portals]
    portals = portals or [record.portal for record in own]
    evidence = tuple(record.evidence for record in own[:2]) or (
        Evidence("iscsiadm -m session", f"no session of {target}"),
    )
    ask = by_hand("Log in to the target at a portal of the array.", "在阵列的一个门户上登录该目标。")
    return NO_SESSION.found(target=target, evidence=evidence, cure=login(target, portals[0]) if portals else (ask,))


def _second_way(
    target: str, wanted: Sequence[IscsiExpected], found: Sequence[Session], known: Sequence[Record]
) -> Iterator[Finding]:
    used = {session.portal for session in found if session.target == target}
    portals = {
        with_port(portal): Evidence("hrm.yaml", portal) for d in wanted if d.target == target for portal in d.portals
    }
    portals |= {record.portal: record.evidence for record in known if record.target == target}
    if len(used) != 1:
        return
    for portal in sorted(set(portals) - used):
        yield ONE_CONTROLLER.found(
            target=target,
            portal=portal,
            evidence=(portals[portal], *(session.evidence for session in found if session.target == target)),
            cure=(
                run("apt-get", "install", "-y", "multipath-tools"),
                run("systemctl", "enable", "--now", "multipathd"),
                *login(target, portal),
            ),
        )


def _at_boot(target: str, known: Sequence[Record]) -> Iterator[Finding]:
    own = [record for record in known if record.target == target]
    if own and not any(record.automatic for record in own):
        update = "--op update -n node.startup -v automatic"
        about = Text("Log in to it at boot.", "开机时登录。")
        yield MANUAL.found(
            target=target,
            startup=own[0].startup,
            evidence=(own[0].evidence,),
            cure=tuple(_iscsiadm(f"-m node -T {target} -p {one.portal} {update}", about) for one in own),
        )


def _service(system: System, known: Sequence[Record]) -> Iterator[Finding]:
    """Debian logs in by open-iscsi.service, Red Hat's family by iscsi.service."""
    if not systemd_runs(system) or not any(record.automatic for record in known):
        return
    found = [one for name in ("open-iscsi", "iscsi") if (one := unit(system, name)).installed]
    if found and not any(one.enabled for one in found):
        name = found[0].name
        yield SERVICE_NOT_ENABLED.found(
            service=name,
            evidence=(Evidence(f"systemctl is-enabled {name}", "disabled"),),
            cure=(run("systemctl", "enable", "iscsid", name.removesuffix(".service")),),
        )


def _reconnect(session: Session) -> tuple[Step, ...]:
    host = session.portal.rpartition(":")[0].strip("[]")
    node = f"-m node -T {session.target} -p {session.portal}"
    out, back = Text("Log out.", "注销。"), Text("Log in.", "登录。")
    return (
        by_hand(
            f"See that {host} answers (ping, cable, switch, controller): the session then comes back by itself.",
            f"确认 {host} 可达（ping、网线、交换机、控制器）:随后会话会自动恢复。",
        ),
        by_hand(
            "If it does not: unmount what lies on the disk (umount -l; never rm anything at the mount point).",
            "如未恢复：卸载该磁盘上的文件系统（umount -l；绝不要在挂载点执行 rm）。",
        ),
        _iscsiadm(f"{node} --logout", out, risk=Risk.DISRUPTIVE, done_if=("No matching sessions found",)),
        _iscsiadm(f"{node} --login", back, risk=Risk.DISRUPTIVE, done_if=_THERE),
    )


def _iscsiadm(words: str, about: Text, *, risk: Risk = Risk.SAFE, done_if: tuple[str, ...] = ()) -> Step:
    return run("iscsiadm", *words.split(), about=about, risk=risk, done_if=done_if)


def _rescan() -> Step:
    return _iscsiadm("-m session --rescan", Text("Look for disks again.", "重新扫描磁盘。"))


def _set_running(place: str, disk: str) -> tuple[Step, ...]:
    return (
        run(
            "sh",
            "-c",
            f"echo running > {place}/state",
            about=Text("Use the disk again.", "重新启用磁盘。"),
            risk=Risk.DISRUPTIVE,
        ),
        by_hand(
            f"Unmount what lies on it, check it with fsck /dev/{disk}, and mount it again.",
            f"卸载其上的文件系统，用 fsck /dev/{disk} 检查，然后重新挂载。",
        ),
    )


def _alike(one: int, other: int) -> bool:
    return abs(one - other) <= _SAME_SIZE_PART * other
