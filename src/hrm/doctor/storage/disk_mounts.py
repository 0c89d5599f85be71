"""What is to be mounted is, from where it is to be, and can be written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hrm.doctor.checks import Unseen, check, fact
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.kernel_log import kernel_lines
from hrm.doctor.mounts import PlannedMount, device_of, evidence_of, is_real, mounts, planned, split_nfs, topmost
from hrm.doctor.steps import by_hand, reboot, run
from hrm.doctor.storage import here
from hrm.doctor.storage.mounting import mount_again, unmount_lazily
from hrm.doctor.system import CannotSee, System
from hrm.model.findings import Evidence, Finding, Risk, Severity, Step, Text
from hrm.model.mounts import Mount

#: What the kernel shows of a filesystem that it stopped writing to; newer kernels have a word of their own for it.
_STOPPED = ("ro", "emergency_ro", "shutdown")

NOT_MOUNTED = Fault(
    code="HRM-DISK-001",
    severity=Severity.ERROR,
    title=Text("{point} is not mounted ({source})", "{point} 没有挂载（{source}）"),
    why=Text(
        "Programs see the empty directory beneath the mount point: files are missing, and what they write lands on the "
        "machine's own disk.",
        "程序看到的是挂载点下面的空目录：文件缺失，写入的数据落在系统盘上。",
    ),
    cure=Text("Mount it. Delete nothing at the mount point.", "挂载它。不要删除挂载点下的任何内容。"),
)
OTHER_SOURCE = Fault(
    code="HRM-DISK-002",
    severity=Severity.ERROR,
    title=Text("{found} is mounted at {point}, not {source}", "{point} 上挂载的是 {found}，而不是 {source}"),
    why=Text(
        "Names such as /dev/sdb change from boot to boot: programs read and write other data than they are meant to.",
        "/dev/sdb 这类名称每次开机可能不同：程序读写的不是应有的数据。",
    ),
    cure=Text("Unmount it and mount the right one, by its UUID.", "卸载它，并按 UUID 挂载正确的文件系统。"),
)
STOPPED = Fault(
    code="HRM-DISK-003",
    severity=Severity.ERROR,
    title=Text("{point} ({source}) turned read-only after errors", "{point}({source})出错后变为只读"),
    why=Text(
        "The kernel met errors of the disk or of the filesystem and lets nobody write any more: Read-only file system.",
        "内核遇到磁盘或文件系统错误，不再允许写入：Read-only file system。",
    ),
    cure=Text(
        "Find out why (kernel log, session with the array), unmount, check the filesystem, mount again.",
        "查明原因（内核日志、与阵列的会话），卸载、检查文件系统、重新挂载。",
    ),
)
READ_ONLY = Fault(
    code="HRM-DISK-004",
    severity=Severity.ERROR,
    title=Text("{point} is mounted read-only and is to be written", "{point} 以只读方式挂载，但应当可写"),
    why=Text("Whatever writes there fails: Read-only file system.", "所有写入都会失败：Read-only file system。"),
    cure=Text(
        "mount -o remount,rw; if that fails, check the filesystem.", "mount -o remount,rw；若失败，检查文件系统。"
    ),
)
STACKED = Fault(
    code="HRM-DISK-005",
    severity=Severity.WARNING,
    title=Text("Two filesystems are mounted at {point}: {sources}", "{point} 上挂载了两个文件系统：{sources}"),
    why=Text(
        "The later hides the earlier: files seem to be gone, and the earlier one cannot be unmounted by its name.",
        "后挂载的遮住了先挂载的：文件看似消失，且先挂载的无法按名称卸载。",
    ),
    cure=Text(
        "umount -l the one on top (never rm anything there), and mount the right one once.",
        "umount -l 上面的那个（绝不要 rm），再把正确的挂载一次。",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    point: str
    source: str
    options: tuple[str, ...]
    evidence: Evidence
    severity: Severity | None = None


@fact("disk.network-mounts")
def network_mounts(system: System) -> str | None:
    """What is mounted of other machines: a server, which mounts nothing, is not compared."""
    found = [f"{mount.source} on {mount.point}" for mount in mounts(system) if mount.network]
    return ", ".join(sorted(found)) or None


@check("disk.mounts", NOT_MOUNTED, OTHER_SOURCE, STOPPED, READ_ONLY, STACKED, quick=True)
def mounts_are_as_planned(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """What fstab, mount units, rc.local and configuration want is mounted, from there, and can be written."""
    found = mounts(system)
    if not found:
        return
    on_top = topmost(found)
    stopped = set()
    for mount in on_top.values():
        if is_real(mount) and "ro" not in mount.options and any(word in mount.fs_options for word in _STOPPED):
            stopped.add(mount.point)
            evidence = [evidence_of(mount)]
            try:
                evidence += _what_the_kernel_says(system, mount)
            except CannotSee as error:
                yield Unseen(str(error))
            yield STOPPED.found(
                point=mount.point,
                source=mount.source,
                severity=Severity.CRITICAL if mount.point == "/" else None,
                evidence=evidence,
                cure=_check_and_mount(system, mount),
            )
    for wanted in _wanted(system, expected):
        there = on_top.get(_real(system, wanted.point))
        if there is None:
            yield NOT_MOUNTED.found(
                point=wanted.point,
                source=wanted.source or "anything",
                severity=wanted.severity,
                evidence=(wanted.evidence, Evidence("/proc/self/mountinfo", f"nothing at {wanted.point}")),
                cure=(mount_again(system, wanted.point, wanted.source),),
            )
        elif _is_other(system, wanted, there):
            yield OTHER_SOURCE.found(
                point=wanted.point,
                found=there.source,
                source=wanted.source,
                severity=wanted.severity,
                evidence=(wanted.evidence, evidence_of(there)),
                cure=(unmount_lazily(wanted.point), mount_again(system, wanted.point, wanted.source)),
            )
        elif there.read_only and "ro" not in wanted.options and there.point not in stopped and there.kind != "autofs":
            yield READ_ONLY.found(
                point=wanted.point,
                severity=wanted.severity,
                evidence=(evidence_of(there), wanted.evidence),
                cure=(_remount(wanted.point),),
            )
    yield from _stacked(found)


def _wanted(system: System, expected: Expected) -> list[_Wanted]:
    """By mount point; configuration counts more than files, and of files the first."""
    found: dict[str, _Wanted] = {}
    for one in here.wanted_mounts(system, expected):
        found[one.path.rstrip("/") or "/"] = _Wanted(
            point=one.path.rstrip("/") or "/",
            source=one.source or "",
            options=("ro",) if one.read_only else (),
            evidence=Evidence("hrm.yaml", f"doctor.storage.mounts: {one.source or 'anything'} at {one.path}"),
            severity=Severity.CRITICAL if one.required else None,
        )
    for plan in planned(system):
        if plan.at_boot and plan.point.startswith("/") and plan.source:
            optional = "nofail" in plan.options or plan.on_demand
            found.setdefault(
                plan.point,
                _Wanted(
                    point=plan.point,
                    source=plan.source,
                    options=_options(plan),
                    evidence=plan.evidence,
                    severity=Severity.WARNING if optional else None,
                ),
            )
    return list(found.values())


def _options(plan: PlannedMount) -> tuple[str, ...]:
    # A bind shows a part of a filesystem that has options of its own.
    return ("ro",) if "bind" in plan.options or "rbind" in plan.options else plan.options


def _is_other(system: System, wanted: _Wanted, mount: Mount) -> bool:
    """Whether something else is mounted for certain: one server and one device have many names."""
    if mount.point == "/" or not wanted.source or mount.kind in ("autofs", "overlay"):
        return False
    nfs, is_nfs = split_nfs(wanted.source), split_nfs(mount.source)
    if nfs is not None or is_nfs is not None:
        if nfs is None or is_nfs is None:
            return mount.source.startswith("/dev/") or wanted.source.startswith(("/dev/", "UUID=", "LABEL="))
        return nfs[1].rstrip("/") != is_nfs[1].rstrip("/")
    meant, there = device_of(system, wanted.source), device_of(system, mount.source)
    return meant.startswith("/dev/") and there.startswith("/dev/") and meant != there and mount.root == "/"


def _stacked(found: Sequence[Mount]) -> Iterator[Finding]:
    by_point: dict[str, list[Mount]] = {}
    for mount in found:
        if is_real(mount):
            by_point.setdefault(mount.point, []).append(mount)
    for point, several in by_point.items():
        # A directory that is bound onto itself, and a disk that is mounted twice, hide nothing.
        if len({mount.device for mount in several}) > 1 and point != "/":
            yield STACKED.found(
                point=point,
                sources=", ".join(mount.source for mount in several),
                evidence=tuple(evidence_of(mount) for mount in several),
                cure=(
                    by_hand(
                        f"See which of them is wanted; the last ({several[-1].source}) is on top.",
                        f"确认需要哪一个；最后一个（{several[-1].source}）在最上面。",
                    ),
                    unmount_lazily(point),
                ),
            )


def _real(system: System, point: str) -> str:
    """Where a mount point leads that is a link."""
    target = system.link(point) if point != "/" else None
    return target.rstrip("/") if target and target.startswith("/") else point


def _what_the_kernel_says(system: System, mount: Mount) -> list[Evidence]:
    device = mount.source.rpartition("/")[2].replace("+", r"\+")
    pattern = rf"(?i)\b{device}\b.*(read-only|readonly|error|shut ?down|abort)|(read-only|readonly|error).*\b{device}\b"
    return [line.evidence for line, _ in kernel_lines(system, pattern)][-2:]


def _check_and_mount(system: System, mount: Mount) -> tuple[Step, ...]:
    look = by_hand(
        "Find out why: dmesg, and hrm doctor --only iscsi,kernel. While the disk itself fails, copy what matters "
        "first.",
        "查明原因：dmesg，以及 hrm doctor --only iscsi,kernel。若磁盘本身有故障，先备份重要数据。",
    )
    if mount.point == "/":
        return (look, reboot())
    detach = run(
        "umount",
        mount.point,
        about=Text("Unmount it (fuser -vm shows who uses it).", "卸载（fuser -vm 可查看占用者）。"),
        risk=Risk.DISRUPTIVE,
        done_if=("not mounted",),
    )
    mend = ("xfs_repair",) if mount.kind == "xfs" else (f"fsck.{mount.kind}", "-p")
    repair = run(*mend, mount.source, about=Text("Check the filesystem.", "检查文件系统。"), risk=Risk.DISRUPTIVE)
    return (look, detach, repair, mount_again(system, mount.point, mount.source))


def _remount(point: str) -> Step:
    about = Text("Let it be written again.", "重新设为可写。")
    return run("mount", "-o", "remount,rw", point, about=about, risk=Risk.DISRUPTIVE)
