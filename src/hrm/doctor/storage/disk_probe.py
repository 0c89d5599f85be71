"""A timed probe: a small file is written to a mounted filesystem and read back."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hrm.doctor.addresses import hostname
from hrm.doctor.checks import Unseen, check
from hrm.doctor.evidence import said
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.mounts import mounts, topmost
from hrm.doctor.steps import by_hand
from hrm.doctor.storage import here
from hrm.doctor.system import System
from hrm.model.findings import Finding, Severity, Text

_LIMIT_S = 6.0
_COUNT = 4

FAILED = Fault(
    code="HRM-DISK-030",
    severity=Severity.ERROR,
    title=Text("A file cannot be written to {point} and read back", "无法在 {point} 写入并读回文件"),
    why=Text("Jobs that use it fail in the same way.", "使用它的作业会以同样的方式失败。"),
    cure=Text(
        "See what the line says, and hrm doctor --only disk,nfs,iscsi.",
        "查看该行的内容，并运行 hrm doctor --only disk,nfs,iscsi。",
    ),
)
SLOW = Fault(
    code="HRM-DISK-031",
    severity=Severity.WARNING,
    title=Text("Writing {mib} MiB to {point} took {seconds} s", "向 {point} 写入 {mib} MiB 用了 {seconds} 秒"),
    why=Text("The disk, the array, or the way to it is overloaded or failing.", "磁盘、阵列或到它的链路过载或有故障。"),
    cure=Text(
        "See the load of the server (iostat -x), its network and the array's state.",
        "查看服务器负载（iostat -x）、网络和阵列状态。",
    ),
)


@check("disk.probe", FAILED, SLOW, timeout_s=14.0)
def mounts_can_be_used(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """Where configuration says so, 4 MiB are written (to .hrm-probe-NODE, which stays) and read back in time."""
    there = topmost(mounts(system))
    for wanted in here.wanted_mounts(system, expected):
        if not wanted.probe or wanted.path not in there:
            # What is not mounted is another finding; the probe would write beneath the mount point.
            continue
        file = f"{wanted.path.rstrip('/')}/.hrm-probe-{hostname(system)}"
        write = system.run(
            "dd", "if=/dev/zero", f"of={file}", "bs=1M", f"count={_COUNT}", "conv=fsync", timeout_s=_LIMIT_S
        )
        read = write if not write.ok else system.run("dd", f"if={file}", "of=/dev/null", "bs=1M", timeout_s=_LIMIT_S)
        if not read.timed_out and "Permission denied" in read.text:
            yield Unseen(f"{file}: Permission denied (the server may map root to nobody)")
        elif not read.ok:
            yield FAILED.found(
                point=wanted.path,
                severity=Severity.CRITICAL if wanted.required else None,
                evidence=(said(read, "dd: "),),
                cure=(
                    by_hand(
                        f"See what mount, dmesg and df say of {wanted.path}.",
                        f"查看 mount、dmesg 和 df 对 {wanted.path} 的显示。",
                    ),
                ),
            )
        elif (seconds := _seconds(write.text)) is not None and seconds > expected.storage.slow_probe_s:
            yield SLOW.found(point=wanted.path, mib=_COUNT, seconds=f"{seconds:g}", evidence=(said(write, "copied"),))


def _seconds(text: str) -> float | None:
    """``4194304 bytes (4.2 MB, 4.0 MiB) copied, 0.0123 s, 340 MB/s``."""
    found = re.search(r"copied, ([\d.e+-]+) s", text)
    return float(found[1]) if found else None
