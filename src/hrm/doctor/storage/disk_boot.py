"""Whether what is mounted now will be mounted after the next restart: fstab, mount units, rc.local."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hrm.doctor.checks import check
from hrm.doctor.evidence import line_of
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.mounts import (
    FSTAB,
    RC_LOCAL,
    PlannedMount,
    device_of,
    evidence_of,
    fstab,
    is_real,
    mount_units,
    mounts,
    planned,
    rc_local_mounts,
    topmost,
    unit_name,
)
from hrm.doctor.steps import by_hand, run
from hrm.doctor.storage.iscsi import devices, sessions
from hrm.doctor.storage.mounting import by_unit
from hrm.doctor.system import System
from hrm.doctor.units import DIRECTORIES, drop_ins, is_enabled, unit_file
from hrm.model.findings import Evidence, Finding, Severity, Step, Text

_GENERATORS = ("/usr/lib/systemd/system-generators", "/lib/systemd/system-generators")
_BY_NAME = ("/dev/sd", "/dev/hd", "/dev/vd", "/dev/xvd")
_BY_UNIT = Text(
    "Better: a systemd mount unit, which waits for the network; the cure writes one. Then take the line out of "
    "rc.local.",
    "更好的办法：使用会等待网络的 systemd mount 单元（处理步骤会写好）；然后从 rc.local 中删除该行。",
)

NO_SHEBANG = Fault(
    code="HRM-DISK-010",
    severity=Severity.WARNING,
    title=Text("/etc/rc.local mounts {points} and has no #! line", "/etc/rc.local 挂载 {points}，但没有 #! 行"),
    why=Text(
        "systemd cannot run it (Exec format error): after the next restart nothing of it is mounted.",
        "systemd 无法执行它（Exec format error）:下次重启后不会挂载。",
    ),
    cure=_BY_UNIT,
)
NOT_EXECUTABLE = Fault(
    code="HRM-DISK-011",
    severity=Severity.WARNING,
    title=Text("/etc/rc.local mounts {points} and is not executable", "/etc/rc.local 挂载 {points}，但没有执行权限"),
    why=Text(
        "systemd runs it only with its run bit: after the next restart nothing of it is mounted.",
        "没有执行权限 systemd 不会运行它：下次重启后不会挂载。",
    ),
    cure=_BY_UNIT,
)
NOT_STARTED = Fault(
    code="HRM-DISK-012",
    severity=Severity.WARNING,
    title=Text(
        "rc-local.service, which mounts {points}, is not started at boot",
        "挂载 {points} 的 rc-local.service 开机时不会启动",
    ),
    why=Text(
        "Its file has no [Install], or it was not enabled, and no generator of systemd starts it.",
        "其单元文件没有 [Install]，或没有 enable，也没有 systemd generator 启动它。",
    ),
    cure=_BY_UNIT,
)
BEFORE_NETWORK = Fault(
    code="HRM-DISK-013",
    severity=Severity.WARNING,
    title=Text(
        "rc.local mounts {points} and does not wait for the network", "rc.local 挂载 {points}，但不等待网络就绪"
    ),
    why=Text(
        "After=network.target does not mean that the network is up: whether the mount succeeds at boot is chance.",
        "After=network.target 并不表示网络已就绪：开机时能否挂载成功全凭运气。",
    ),
    cure=_BY_UNIT,
)
MISTYPED = Fault(
    code="HRM-DISK-014",
    severity=Severity.WARNING,
    title=Text("rc.local has a mount that cannot succeed: {command}", "rc.local 中的挂载命令不可能成功：{command}"),
    why=Text(
        "It names a device and no mount point (a blank is missing), or is written with a capital letter.",
        "它只有设备而没有挂载点（缺少空格），或者命令写成了大写。",
    ),
    cure=Text("Correct it, or use a mount unit.", "更正它，或改用 mount 单元。"),
)
NOT_AT_BOOT = Fault(
    code="HRM-DISK-015",
    severity=Severity.WARNING,
    title=Text("Nothing mounts {point} ({source}) at boot", "开机时不会挂载 {point}({source})"),
    why=Text("It was mounted by hand: after the next restart it is missing.", "它是手动挂载的：下次重启后就没有了。"),
    cure=Text("Write a mount unit, or a line of fstab.", "编写 mount 单元，或在 fstab 中加一行。"),
)
UNIT_OFF = Fault(
    code="HRM-DISK-016",
    severity=Severity.WARNING,
    title=Text("{unit} for {point} is not enabled", "{point} 的 {unit} 没有 enable"),
    why=Text("After the next restart it is not mounted.", "下次重启后不会挂载。"),
    cure=Text("Enable it.", "设为开机启动。"),
)
UNIT_MISNAMED = Fault(
    code="HRM-DISK-017",
    severity=Severity.WARNING,
    title=Text("{unit} is for {point} and must be called {name}", "{unit} 对应 {point}，必须命名为 {name}"),
    why=Text(
        "systemd refuses it: Where= setting doesn't match unit name.",
        "systemd 拒绝它：Where= setting doesn't match unit name。",
    ),
    cure=Text("Give it the name that systemd wants.", "改成 systemd 要求的名称。"),
)
BY_DEVICE_NAME = Fault(
    code="HRM-DISK-018",
    severity=Severity.WARNING,
    title=Text("{point} is mounted by the name {source}, not by UUID", "{point} 按名称 {source} 挂载，而不是按 UUID"),
    why=Text(
        "The name depends on the order in which disks are found: after a restart it may be another disk.",
        "名称取决于发现磁盘的顺序：重启后可能是另一块盘。",
    ),
    cure=Text("Use UUID=… (blkid shows it).", "改用 UUID=…（用 blkid 查看）。"),
)
NO_NETDEV = Fault(
    code="HRM-DISK-019",
    severity=Severity.WARNING,
    title=Text(
        "{point} lies on an iSCSI disk and is mounted without _netdev",
        "{point} 位于 iSCSI 磁盘上，但挂载选项没有 _netdev",
    ),
    why=Text(
        "It is mounted before the network is there: the boot waits, then drops to emergency mode.",
        "网络就绪之前就会尝试挂载：开机会等待，然后进入 emergency mode。",
    ),
    cure=Text("Add _netdev to its options.", "在挂载选项中加入 _netdev。"),
)
UUID_ABSENT = Fault(
    code="HRM-DISK-020",
    severity=Severity.WARNING,
    title=Text("{source} of {file} is no disk of this machine", "{file} 中的 {source} 不是本机的任何磁盘"),
    why=Text(
        "It cannot be mounted: the disk is missing, or was formatted anew. The boot waits for it.",
        "无法挂载：磁盘缺失，或被重新格式化过。开机时会等待它。",
    ),
    cure=Text("See blkid; bring the disk back, or correct the line.", "查看 blkid；恢复磁盘，或更正该行。"),
)


@check("disk.boot", NO_SHEBANG, NOT_EXECUTABLE, NOT_STARTED, BEFORE_NETWORK, MISTYPED, quick=True)
def rc_local_works_at_boot(system: System, expected: Expected) -> Iterator[Finding]:
    """What rc.local mounts is mounted at boot, after the network."""
    commands = rc_local_mounts(system)
    for one in commands:
        word = one.evidence.text.split()[0].rpartition("/")[2]
        if (one.source.startswith("/dev/") and not one.point) or word != "mount":
            yield MISTYPED.found(
                command=one.evidence.text,
                evidence=(one.evidence,),
                cure=(
                    by_hand(
                        f"Correct line {one.evidence.line}: mount DEVICE DIRECTORY",
                        f"更正第 {one.evidence.line} 行：mount 设备 目录",
                    ),
                ),
            )
    mounted = [one for one in commands if one.point and one.source]
    if not mounted:
        return
    points = ", ".join(one.point for one in mounted)
    cure = _units_for(system, mounted)
    evidence = mounted[0].evidence
    first = (system.read(RC_LOCAL) or "").partition("\n")[0]
    about = system.stat(RC_LOCAL)
    if not first.startswith("#!"):
        yield NO_SHEBANG.found(points=points, evidence=(line_of(RC_LOCAL, 1, first), evidence), cure=cure)
    if about is not None and not about.executable:
        mode = Evidence(RC_LOCAL, f"mode {about.mode & 0o777:04o}")
        yield NOT_EXECUTABLE.found(points=points, evidence=(mode, evidence), cure=cure)
    unit = unit_file(system, "rc-local")
    if unit is None:
        return
    generated = any("systemd-rc-local-generator" in system.list(place) for place in _GENERATORS)
    if not generated and not is_enabled(system, "rc-local"):
        yield NOT_STARTED.found(
            points=points, evidence=(Evidence(unit, _install_of(system, unit)), evidence), cure=cure
        )
    texts = [system.read(path) or "" for path in (unit, *drop_ins(system, "rc-local"))]
    if any(one.network for one in mounted) and not any("network-online.target" in text for text in texts):
        after = next((line for line in texts[0].splitlines() if line.startswith("After=")), "no After= line")
        yield BEFORE_NETWORK.found(points=points, evidence=(Evidence(unit, after), evidence), cure=cure)


@check("disk.persistence", NOT_AT_BOOT, UNIT_OFF, UNIT_MISNAMED, quick=True)
def mounts_come_back(system: System, expected: Expected) -> Iterator[Finding]:
    """What is mounted over NFS and iSCSI is mounted at boot too; mount units are enabled and rightly named."""
    plans = planned(system)
    array = devices(sessions(system))
    if any(system.list(place) for place in DIRECTORIES):
        for mount in topmost(mounts(system)).values():
            on_array = _disk(mount.source) in array
            if not is_real(mount) or mount.root != "/" or not (mount.nfs or on_array):
                continue
            if not any(plan.point == mount.point for plan in plans):
                yield NOT_AT_BOOT.found(
                    point=mount.point,
                    source=mount.source,
                    evidence=(evidence_of(mount),),
                    cure=by_unit(mount.source, mount.point, "nfs" if mount.nfs else mount.kind, iscsi=on_array),
                )
    for unit in mount_units(system):
        name = unit.evidence.source.rpartition("/")[2]
        if unit.point and name != unit_name(unit.point):
            yield UNIT_MISNAMED.found(
                unit=name,
                point=unit.point,
                name=unit_name(unit.point),
                evidence=(unit.evidence,),
                cure=(
                    run("mv", unit.evidence.source, f"{DIRECTORIES[0]}/{unit_name(unit.point)}"),
                    run("systemctl", "daemon-reload"),
                    run("systemctl", "enable", unit_name(unit.point)),
                ),
            )
        elif not unit.at_boot and not any(plan.point == unit.point and plan.at_boot for plan in plans):
            yield UNIT_OFF.found(
                unit=name, point=unit.point, evidence=(unit.evidence,), cure=(run("systemctl", "enable", name),)
            )


@check("disk.fstab", BY_DEVICE_NAME, NO_NETDEV, UUID_ABSENT, quick=True)
def fstab_names_disks_that_stay(system: System, expected: Expected) -> Iterator[Finding]:
    """fstab names disks by UUID, those of the array with _netdev, and all of them are there."""
    array = devices(sessions(system))
    known = system.list("/dev/disk/by-uuid")
    for line in fstab(system):
        device = device_of(system, line.source)
        on_array = _disk(device) in array
        if on_array and line.source.startswith(_BY_NAME):
            yield BY_DEVICE_NAME.found(
                point=line.point, source=line.source, evidence=(line.evidence,), cure=_correct(system, line, device)
            )
        if on_array and line.at_boot and "_netdev" not in line.options:
            yield NO_NETDEV.found(point=line.point, evidence=(line.evidence,), cure=_correct(system, line, device))
        uuid = line.source.removeprefix("UUID=").strip('"')
        if known and line.at_boot and line.source.startswith("UUID=") and uuid.lower() not in map(str.lower, known):
            yield UUID_ABSENT.found(
                source=line.source, file=FSTAB, evidence=(line.evidence,), cure=(run("blkid"), _correct_by_hand(line))
            )


def _units_for(system: System, commands: Sequence[PlannedMount]) -> tuple[Step, ...]:
    array = devices(sessions(system))
    steps = [
        step
        for one in commands
        for step in by_unit(one.source, one.point, "nfs" if one.nfs else one.kind, iscsi=_disk(one.source) in array)
    ]
    out = by_hand(f"Take the mounts out of {RC_LOCAL}.", f"从 {RC_LOCAL} 中删除这些挂载命令。")
    return (*steps, out)


def _install_of(system: System, unit: str) -> str:
    return "it is not enabled" if "[Install]" in (system.read(unit) or "") else "it has no [Install]"


def _correct(system: System, line: PlannedMount, device: str) -> tuple[Step, ...]:
    uuid = next((name for name in system.list("/dev/disk/by-uuid") if device_of(system, f"UUID={name}") == device), "")
    source = f"UUID={uuid}" if uuid else line.source
    options = [option for option in line.options if option not in ("defaults", "_netdev")]
    meant = f"{source} {line.point} {line.kind} {','.join([*options, '_netdev'])} 0 2"
    return (
        by_hand(
            f"Write in {FSTAB}, line {line.evidence.line}: {meant}",
            f"把 {FSTAB} 第 {line.evidence.line} 行改为：{meant}",
        ),
        run("systemctl", "daemon-reload", about=Text("Have systemd read it.", "让 systemd 重新读取。")),
    )


def _correct_by_hand(line: PlannedMount) -> Step:
    return by_hand(
        f"Bring the disk back, or correct line {line.evidence.line} of {FSTAB}.",
        f"恢复该磁盘，或更正 {FSTAB} 第 {line.evidence.line} 行。",
    )


def _disk(device: str) -> str:
    """``sdb`` of ``/dev/sdb1``."""
    return device.removeprefix("/dev/").rstrip("0123456789") if device.startswith("/dev/sd") else device
