"""What the kernel has logged of memory, disks, file systems and hardware that failed, and processes that wait in it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hrm.doctor.checks import check
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.kernel_log import KernelLine, kernel_lines
from hrm.doctor.processes import Running, process, processes, waits_in
from hrm.doctor.steps import by_hand, run
from hrm.doctor.system import CannotSee, System
from hrm.model.findings import Evidence, Finding, Risk, Severity, Step, Text

_HOUR_S = 3600.0
_DAY_S = 86400.0
_MAX_EVIDENCE = 3
#: A process that has waited in the kernel all this time, without a moment of its own, is told.
_STUCK_S = "1"
#: Drives without a medium, which answer every look with an error.
_NO_DISKS = re.compile(r"^(?:sr|fd|scd)\d")

_OUT_OF_MEMORY = re.compile(r"Out of memory: Kill(?:ed)? process (\d+) \(([^)]*)\)")
_IO_ERROR = (
    r"I/O error,? (?:on )?dev(?:ice)? (?P<io>[a-z0-9-]+)|critical (?:medium|target) error, dev (?P<medium>[a-z0-9-]+)|"
    r"(?P<ata>ata\d+(?:\.\d+)?): failed command|(?P<nvme>nvme\d+): (?:I/O \d+ .*timeout|controller is down)"
)
#: The disk came anew: what was before was of another one, or of another connection.
_DISK_IS_BACK = r"\[(?P<back>sd[a-z]+)\] Attached SCSI (?:removable )?disk|(?P<up>ata\d+): SATA link up"
_IO = re.compile(f"{_IO_ERROR}|{_DISK_IS_BACK}")
_FS = re.compile(
    r"(?P<kind>EXT[234]-fs|XFS|BTRFS|F2FS-fs)[^(]*\((?:device )?(?P<dev>[A-Za-z0-9/_-]+)\)[^:]*: "
    r"(?:.*?(?P<ro>[Rr]emounting filesystem read-only|[Ff]ilesystem has been shut ?down|[Ss]hutting down filesystem|"
    r"forced readonly|Detected aborted journal|log I/O error)|(?P<mounted>mounted filesystem|Mounting V\d Filesystem|"
    r"re-mounted|Ending clean mount))"
    r"|(?P<kind2>EXT[234]-fs) error \(device (?P<error_dev>[A-Za-z0-9/_-]+)\)"
    r"|(?P<kind3>BTRFS)(?:: | )(?:error|critical) \(device (?P<btrfs_dev>[A-Za-z0-9/_-]+)\)"
    r"|(?P<kind4>XFS) \((?P<xfs_dev>[A-Za-z0-9/_-]+)\): (?:metadata I/O error|Corruption|Internal error)"
)
_HUNG = re.compile(
    r"INFO: task (?P<name>.+?):(?P<pid>\d+) blocked for more than \d+ seconds"
    r"|(?P<lockup>soft lockup|hard LOCKUP|detected stalls? on CPUs?|self-detected stall)"
)
_HARDWARE = re.compile(
    r"(?P<uncorrected>EDAC \w+: \d+ UE\b|Uncorrected hardware (?:memory )?error|Memory failure: 0x\w+)"
    r"|(?P<corrected>EDAC \w+: \d+ CE\b|Corrected error|\[Hardware Error\]: (?:Machine check events logged|"
    r"event severity: corrected))"
    r"|(?P<fatal>\[Hardware Error\]: event severity: (?:fatal|recoverable)|mce: \[Hardware Error\]: CPU \d+: "
    r"Machine Check)"
)

OUT_OF_MEMORY = Fault(
    code="HRM-KERNEL-001",
    severity=Severity.INFO,
    title=Text(
        "The kernel ended {count} processes for want of memory, {name} last",
        "内核因内存不足结束了 {count} 个进程，最近的是 {name}",
    ),
    why=Text(
        "The machine as a whole had no memory left, so the largest program died, whosever it was. Jobs are kept to "
        "their memory only where isolation is on.",
        "整台机器的内存用完了，最大的程序被结束，不论属于谁。只有开启隔离，作业才会被限制在各自的内存内。",
    ),
    cure=Text(
        "Keep jobs to their memory (isolation), or tell HRM of less memory than the machine has.",
        "启用隔离以限制作业内存，或让 HRM 使用的内存少于机器实际内存。",
    ),
)
IO_ERRORS = Fault(
    code="HRM-KERNEL-002",
    severity=Severity.ERROR,
    title=Text("{device} has I/O errors: {count} lines of the last day", "{device} 有 I/O 错误：最近一天 {count} 条"),
    why=Text(
        "Programs that read or write there fail, or get wrong data; the file system may become read-only.",
        "在其上读写的程序会失败或得到错误数据；文件系统可能变为只读。",
    ),
    cure=Text(
        "Save what is on it; look at its health (smartctl), its cable and its controller; replace it.",
        "备份数据；检查其健康状况（smartctl）、线缆和控制器；更换磁盘。",
    ),
)
FILE_SYSTEM_ERRORS = Fault(
    code="HRM-KERNEL-003",
    severity=Severity.ERROR,
    title=Text("The file system on {device} ({kind}) has errors", "{device} 上的文件系统（{kind}）有错误"),
    why=Text(
        "What it says of its files is not right any more; more is lost with every write.",
        "文件系统的元数据已不正确，继续写入会丢失更多。",
    ),
    cure=Text("Unmount it and have it checked; never while it is mounted.", "卸载后检查修复；切勿在挂载时进行。"),
)
WENT_READ_ONLY = Fault(
    code="HRM-KERNEL-004",
    severity=Severity.ERROR,
    title=Text("The file system on {device} ({kind}) stopped taking writes", "{device} 上的文件系统（{kind}）停止写入"),
    why=Text(
        "The kernel made it read-only after an error, to save what is there. Everything that writes to it fails.",
        "内核在出错后把它改为只读以保护数据。所有写入都会失败。",
    ),
    cure=Text(
        "Find the error before it in the log; unmount, check, mount it again.",
        "查看日志中在此之前的错误；卸载、检查、重新挂载。",
    ),
)
HUNG = Fault(
    code="HRM-KERNEL-005",
    severity=Severity.WARNING,
    title=Text("The kernel complains of {what} that hangs", "内核报告 {what} 卡住"),
    why=Text(
        "It waits for a disk, a server or a driver that does not answer. It cannot be ended; what needs it waits too.",
        "它在等待没有应答的磁盘、服务器或驱动。无法结束它，依赖它的也会一直等待。",
    ),
    cure=Text(
        "Find what it waits for (its stack in the log) and bring that back.",
        "从日志的调用栈找出它在等什么，并使其恢复。",
    ),
)
UNCORRECTED = Fault(
    code="HRM-KERNEL-006",
    severity=Severity.ERROR,
    title=Text("Hardware reports an error that it could not correct", "硬件报告无法纠正的错误"),
    why=Text(
        "Memory or a processor gave wrong data: programs crash, or reckon on with it.",
        "内存或处理器给出了错误数据：程序会崩溃，或带着错误继续计算。",
    ),
    cure=Text("Find the module (ras-mc-ctl, dmidecode) and replace it.", "用 ras-mc-ctl、dmidecode 找出模块并更换。"),
)
CORRECTED = Fault(
    code="HRM-KERNEL-007",
    severity=Severity.WARNING,
    title=Text("Hardware corrected errors: {count} lines of the last day", "硬件纠正了错误：最近一天 {count} 条"),
    why=Text("A module that is corrected again and again fails in the end.", "反复被纠正的模块最终会损坏。"),
    cure=Text(
        "Find the module (ras-mc-ctl, mcelog) and plan its replacement.", "用 ras-mc-ctl、mcelog 找出模块并安排更换。"
    ),
)
BLOCKED = Fault(
    code="HRM-KERNEL-008",
    severity=Severity.WARNING,
    title=Text(
        "Process {pid} ({name}) waits in the kernel ({place}) and cannot be ended",
        "进程 {pid}({name})卡在内核中（{place}），无法结束",
    ),
    why=Text(
        "Usually a server or a disk does not answer. Its resources are not given back before that.",
        "通常是服务器或磁盘没有应答。在此之前它占用的资源不会释放。",
    ),
    cure=Text("Bring back what it waits for; only a restart helps otherwise.", "恢复它所等待的对象；否则只能重启。"),
)


@check("kernel.out-of-memory", OUT_OF_MEMORY, quick=True)
def no_memory_ran_out(system: System, expected: Expected) -> Iterator[Finding]:
    """The kernel ended no process in the last hour because the whole machine had no memory left."""
    # Of a job that went over its own limit it is "Memory cgroup out of memory", which is as it should be.
    found = list(kernel_lines(system, _OUT_OF_MEMORY.pattern, within_s=_HOUR_S))
    if found:
        yield OUT_OF_MEMORY.found(
            count=len(found),
            name=found[-1][1][2],
            evidence=_last([line for line, _ in found]),
            cure=[
                by_hand(
                    "Set isolation in hrm.yaml, or less memory for the node.",
                    "在 hrm.yaml 中启用隔离，或减小节点内存。",
                )
            ],
        )


@check("kernel.io-errors", IO_ERRORS, quick=True)
def disks_have_no_errors(system: System, expected: Expected) -> Iterator[Finding]:
    """No disk had I/O errors in the last day, unless it came anew since."""
    by_device: dict[str, list[KernelLine]] = {}
    for line, match in kernel_lines(system, _IO.pattern, within_s=_DAY_S):
        if back := match["back"] or match["up"]:
            for device in [device for device in by_device if device.startswith(back)]:
                del by_device[device]
            continue
        device = match["io"] or match["medium"] or match["ata"] or match["nvme"]
        if not _NO_DISKS.match(device):
            by_device.setdefault(device, []).append(line)
    for device, lines in by_device.items():
        disk = f"/dev/{re.sub('p?[0-9]+$', '', device) if device.startswith(('sd', 'vd', 'hd')) else device}"
        yield IO_ERRORS.found(
            device=device,
            count=len(lines),
            evidence=_last(lines),
            cure=[
                by_hand("Save what is on it to another disk.", "先把数据备份到别的磁盘。"),
                run("smartctl", "-a", disk, about=Text("Look at its health.", "查看其健康状况。")),
                by_hand(
                    "Look at cable and controller, or replace the disk.",
                    "检查线缆和控制器，或更换磁盘。",
                    risk=Risk.REBOOT,
                ),
            ],
        )


@check("kernel.file-systems", FILE_SYSTEM_ERRORS, WENT_READ_ONLY, quick=True)
def file_systems_have_no_errors(system: System, expected: Expected) -> Iterator[Finding]:
    """No file system found errors, or went read-only, since it was mounted."""
    errors: dict[str, tuple[str, list[KernelLine]]] = {}
    stopped: dict[str, tuple[str, list[KernelLine]]] = {}
    for line, match in kernel_lines(system, _FS.pattern):
        device = match["dev"] or match["error_dev"] or match["btrfs_dev"] or match["xfs_dev"]
        kind = (match["kind"] or match["kind2"] or match["kind3"] or match["kind4"]).removesuffix("-fs").lower()
        if match["mounted"]:
            errors.pop(device, None)
            stopped.pop(device, None)
            continue
        place = stopped if match["ro"] else errors
        place.setdefault(device, (kind, []))[1].append(line)
    for device, (kind, lines) in stopped.items():
        _, before = errors.pop(device, (kind, []))
        yield WENT_READ_ONLY.found(
            device=device, kind=kind, evidence=[*_last(before)[:1], *_last(lines)[-1:]], cure=_check(device, kind)
        )
    for device, (kind, lines) in errors.items():
        yield FILE_SYSTEM_ERRORS.found(device=device, kind=kind, evidence=_last(lines), cure=_check(device, kind))


@check("kernel.hung-tasks", HUNG, quick=True)
def nothing_hangs(system: System, expected: Expected) -> Iterator[Finding]:
    """The kernel complained in the last hour of no task that hangs still, and of no processor that was stuck."""
    seen: set[str] = set()
    for line, match in kernel_lines(system, _HUNG.pattern, within_s=_HOUR_S):
        what = f"{match['name']} (pid {match['pid']})" if match["pid"] else f"a processor ({match['lockup']})"
        if what in seen:
            continue
        seen.add(what)
        one = process(system, int(match["pid"])) if match["pid"] else None
        over = match["pid"] is not None and (one is None or not one.hangs)
        yield HUNG.found(
            what=what,
            evidence=[line.evidence],
            severity=Severity.INFO if over else None,
            cure=[by_hand("Find what it waits for in the lines after it.", "从其后的日志行找出它在等什么。")],
        )


@check("kernel.machine-check", UNCORRECTED, CORRECTED, quick=True)
def hardware_reports_no_errors(system: System, expected: Expected) -> Iterator[Finding]:
    """Processors and memory reported no errors in the last day."""
    corrected: list[KernelLine] = []
    others: list[KernelLine] = []
    for line, match in kernel_lines(system, _HARDWARE.pattern, within_s=_DAY_S):
        (corrected if match["corrected"] else others).append(line)
    replace = by_hand(
        "Find the module with ras-mc-ctl --errors (rasdaemon) or mcelog, and replace it.",
        "用 ras-mc-ctl --errors(rasdaemon)或 mcelog 找出模块并更换。",
        risk=Risk.REBOOT,
    )
    if others:
        yield UNCORRECTED.found(evidence=_last(others), cure=[replace])
    if corrected:
        yield CORRECTED.found(count=len(corrected), evidence=_last(corrected), cure=[replace])


@check("kernel.blocked-processes", BLOCKED)
def no_process_waits_in_the_kernel(system: System, expected: Expected) -> Iterator[Finding]:
    """No process waits in the kernel for a whole second without a moment of its own."""
    before = {one.pid: _switches(system, one.pid) for one in _blocked(system)}
    if not before:
        return
    system.run("sleep", _STUCK_S)
    for one in _blocked(system):
        switches = before.get(one.pid)
        if switches is None or switches != _switches(system, one.pid):
            continue
        place = waits_in(system, one.pid) or "?"
        yield BLOCKED.found(
            pid=one.pid,
            name=one.name,
            place=place,
            evidence=[Evidence(f"/proc/{one.pid}/stat", f"{one.shown}: state D, in {place}")],
            cure=[
                by_hand(
                    "Look for a dead NFS server or disk: hrm doctor --only nfs,disk,kernel.",
                    "检查失联的 NFS 服务器或磁盘：hrm doctor --only nfs,disk,kernel。",
                )
            ],
        )


def _blocked(system: System) -> list[Running]:
    """Threads of the kernel wait by design; they have no command line."""
    return [one for one in processes(system) if one.hangs and one.command_line]


def _switches(system: System, pid: int) -> str:
    """How often it gave up its processor so far: the same twice means it did nothing in between."""
    try:
        status = system.read(f"/proc/{pid}/status") or ""
    except CannotSee:
        return ""
    return " ".join(line for line in status.splitlines() if "ctxt_switches" in line)


def _last(lines: list[KernelLine]) -> list[Evidence]:
    return [line.evidence for line in lines[-_MAX_EVIDENCE:]]


def _check(device: str, kind: str) -> list[Step]:
    tool = "xfs_repair" if kind == "xfs" else "btrfs check" if kind == "btrfs" else "fsck -f"
    return [
        by_hand(
            f"Unmount it where it is mounted (findmnt /dev/{device}), run {tool} /dev/{device}, mount it again. Of the "
            "root file system: restart with fsck.mode=force.",
            f"先卸载（findmnt /dev/{device} 查看挂载点），执行 {tool} /dev/{device}，再挂载。"
            "若是根文件系统：以 fsck.mode=force 重启。",
            risk=Risk.DISRUPTIVE,
        )
    ]
