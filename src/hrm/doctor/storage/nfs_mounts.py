"""Mounts of NFS that hang or have gone stale, and commands mount that never end."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from hrm.doctor.checks import Unseen, check
from hrm.doctor.evidence import said
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.kernel_log import boot_time, kernel_lines
from hrm.doctor.mounts import evidence_of, mounts, split_nfs, topmost
from hrm.doctor.processes import Running, processes, waits_in
from hrm.doctor.steps import end_process
from hrm.doctor.storage import here
from hrm.doctor.storage.mounting import mount_again, restart_at, unmount_lazily
from hrm.doctor.system import CannotSee, Output, System
from hrm.model.findings import Evidence, Finding, Severity, Step, Text
from hrm.model.mounts import Mount

#: How long a mount has to answer. One that is well takes milliseconds.
ANSWER_LIMIT_S = 2.0
#: A mount that takes longer is taken for one that hangs: mount.nfs itself gives up after two minutes.
_LONG_S = 60.0
_TICKS_A_SECOND = 100
_STALE = ("Stale file handle", "Stale NFS file handle")
_BROKEN = ("Input/output error", "Connection timed out", "Host is down", "Transport endpoint", "No such device")

STALE = Fault(
    code="HRM-NFS-030",
    severity=Severity.ERROR,
    title=Text(
        "{point} is stale: {source} is no longer what was mounted", "{point} 已失效：{source} 不再是当初挂载的目录"
    ),
    why=Text(
        "Every access fails with Stale file handle: the server exports another filesystem there since (its disk was "
        "mounted anew, or not at all).",
        "所有访问都报 Stale file handle:服务器上该目录已换成另一个文件系统（磁盘重新挂载过，或没有挂载）。",
    ),
    cure=Text(
        "See that the server has its disk mounted and exported; then umount -l here, and mount again.",
        "确认服务器已挂载并导出该磁盘；然后在本节点 umount -l 并重新挂载。",
    ),
)
HANGS = Fault(
    code="HRM-NFS-031",
    severity=Severity.ERROR,
    title=Text("{point} does not answer ({source})", "{point} 没有响应（{source}）"),
    why=Text(
        "The server is gone or hangs: every program that touches the directory waits in the kernel, df and ls too, and "
        "cannot be ended in the usual way.",
        "服务器离线或卡死：任何访问该目录的程序（包括 df、ls）都会在内核中等待，无法正常结束。",
    ),
    cure=Text(
        "umount -l on each client, restart the NFS server, mount again. Never rm at the mount point.",
        "在各客户端 umount -l，重启 NFS 服务，再重新挂载。绝不要在挂载点执行 rm。",
    ),
)
MOUNT_HANGS = Fault(
    code="HRM-NFS-032",
    severity=Severity.ERROR,
    title=Text("A mount hangs since {minutes} min: {command}", "挂载命令已卡住 {minutes} 分钟：{command}"),
    why=Text(
        "The server does not answer to it; rc.local, and what comes after it at boot, waits too.",
        "服务器没有响应；rc.local 以及开机时排在它后面的程序也会等待。",
    ),
    cure=Text(
        "End it; umount -l on each client; restart the NFS server; mount again.",
        "结束该命令；在各客户端 umount -l；重启 NFS 服务；重新挂载。",
    ),
)
FULL = Fault(
    code="HRM-NFS-033",
    severity=Severity.WARNING,
    title=Text("{point} ({source}) has {free} % of its {what} left", "{point}({source})的{what}只剩 {free} %"),
    why=Text(
        "When nothing is left, whatever writes there fails, on all nodes: No space left on device.",
        "用完后所有节点上的写入都会失败：No space left on device。",
    ),
    cure=Text(
        "Remove on the server what is not needed, or enlarge the volume.", "在服务器上清理不需要的数据，或扩容卷。"
    ),
)


@check("nfs.mounts", STALE, HANGS, FULL, quick=True)
def mounts_answer(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """Everything that is mounted over NFS answers within two seconds."""
    found = [one for one in topmost(mounts(system)).values() if one.nfs]
    required = {wanted.path for wanted in here.wanted_mounts(system, expected) if wanted.required}
    for one, output in zip(found, _ask_all(system, [one.point for one in found]), strict=True):
        severity = Severity.CRITICAL if one.point in required else None
        if any(words in output.text for words in _STALE):
            yield STALE.found(
                point=one.point,
                source=one.source,
                severity=severity,
                evidence=(said(output, "Stale"), evidence_of(one)),
                cure=(unmount_lazily(one.point), mount_again(system, one.point, one.source)),
            )
        elif output.timed_out or any(words in output.text for words in _BROKEN):
            evidence = [said(output), evidence_of(one), *_who_waits(system)]
            try:
                evidence += _what_the_kernel_says(system, one)
            except CannotSee as error:
                yield Unseen(str(error))
            yield HANGS.found(
                point=one.point, source=one.source, severity=severity, evidence=evidence, cure=_begin_anew(system, one)
            )
        elif output.ok:
            yield from _room(one, output, expected.storage.min_free_part)


@check("nfs.mounting", MOUNT_HANGS, quick=True)
def mounting_ends(system: System, expected: Expected) -> Iterator[Finding]:
    """No command has been mounting something of NFS for longer than a minute."""
    for process in processes(system):
        if not process.name.startswith("mount.nfs"):
            continue
        age_s = _age_s(system, process)
        if age_s is None or age_s < _LONG_S:
            continue
        words = process.command_line.split()
        source = next((word for word in words if split_nfs(word)), "")
        server = (split_nfs(source) or ("the server", ""))[0]
        point = words[words.index(source) + 1] if source and words.index(source) + 1 < len(words) else ""
        yield MOUNT_HANGS.found(
            minutes=int(age_s // 60),
            command=process.command_line,
            evidence=(Evidence(f"/proc/{process.pid}", f"{process.state} {process.command_line}"),),
            cure=(
                end_process(process.pid, process.command_line),
                *((unmount_lazily(point),) if point else ()),
                restart_at(server),
                *((mount_again(system, point, source),) if point else ()),
            ),
        )


def _ask_all(system: System, points: Sequence[str]) -> list[Output]:
    """At once: several mounts of one server hang together. Raises CannotSee."""
    answers: dict[str, Output] = {}
    hidden: list[CannotSee] = []

    def ask(point: str) -> None:
        try:
            answers[point] = system.run("stat", "-f", "-c", "%T %b %f %a %c %d", point, timeout_s=ANSWER_LIMIT_S)
        except CannotSee as error:
            hidden.append(error)

    threads = [threading.Thread(target=ask, args=(point,), daemon=True) for point in points]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * ANSWER_LIMIT_S)
    if hidden:
        raise hidden[0]
    return [answers.get(point) or Output(("stat", "-f", point), 124, timed_out=True) for point in points]


def _room(one: Mount, output: Output, min_free_part: float) -> Iterator[Finding]:
    """Blocks and inodes that are left for users; 0 inodes in all of filesystems that make them as needed."""
    words = output.stdout.split()[-5:]
    if len(words) < 5 or not all(word.isdigit() for word in words):
        return
    blocks, free, available, inodes, inodes_free = map(int, words)
    for what, total, left in (("space", blocks - free + available, available), ("inodes", inodes, inodes_free)):
        if total > 0 and left / total < min_free_part:
            yield FULL.found(
                point=one.point,
                source=one.source,
                what=what,
                free=f"{100 * left / total:.1f}",
                severity=Severity.ERROR if left == 0 else None,
                evidence=(said(output), evidence_of(one)),
            )


def _who_waits(system: System) -> list[Evidence]:
    """Processes that wait in the kernel for NFS, at most three."""
    waiting = []
    for process in processes(system):
        place = waits_in(system, process.pid) if process.hangs else ""
        if place.startswith(("rpc_", "nfs_", "nfs4_", "__rpc")):
            waiting.append(Evidence(f"/proc/{process.pid}/wchan", f"{process.shown}: {place}"))
    return waiting[:3]


def _what_the_kernel_says(system: System, one: Mount) -> list[Evidence]:
    server = (split_nfs(one.source) or ("", ""))[0]
    names = "|".join(name.replace(".", r"\.") for name in {server, one.option("addr") or server})
    lines = [line.evidence for line, _ in kernel_lines(system, rf"nfs: server (?:{names}) ")]
    return lines[-1:]


def _begin_anew(system: System, one: Mount) -> tuple[Step, ...]:
    server = (split_nfs(one.source) or (one.source, ""))[0]
    return (unmount_lazily(one.point), restart_at(server), mount_again(system, one.point, one.source))


def _age_s(system: System, process: Running) -> float | None:
    """Since a process began; None where that cannot be told."""
    tail = (system.read(f"/proc/{process.pid}/stat") or "").rpartition(")")[2].split()
    booted_at = boot_time(system)
    if len(tail) < 20 or booted_at is None:
        return None
    # Field 22 of proc(5), two of which stand before the name's end.
    return system.now() - booted_at - int(tail[19]) / _TICKS_A_SECOND
