"""What this machine lends to HRM where the configuration names no amount."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_CGROUP_ROOT = Path("/sys/fs/cgroup")
#: Left to the system and to HRM itself: a sixteenth, but between these two.
_RESERVE_MIN_MIB = 128
_RESERVE_MAX_MIB = 2048


def usable_vcores_milli(root: Path = _CGROUP_ROOT) -> int:
    """CPUs this process may run on, in thousandths: its affinity, and any CPU quota of its cgroups."""
    milli = len(os.sched_getaffinity(0)) * 1000
    for quota in _cpu_quotas_milli(root):
        milli = min(milli, quota)
    return max(milli, 1)


def usable_memory_mib(root: Path = _CGROUP_ROOT) -> int:
    """Memory in MiB: the physical memory or the lowest limit of its cgroups, less a small reserve."""
    total_mib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    for limit_bytes in _memory_limits_bytes(root):
        total_mib = min(total_mib, limit_bytes >> 20)
    reserve_mib = min(max(total_mib // 16, _RESERVE_MIN_MIB), _RESERVE_MAX_MIB)
    return max(total_mib - reserve_mib, 1)


def _memory_limits_bytes(root: Path) -> Iterator[int]:
    for directory in _cgroup_directories(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            if (text := _read(directory / name)) and text.isdigit():
                yield int(text)


def _cpu_quotas_milli(root: Path) -> Iterator[int]:
    for directory in _cgroup_directories(root, "cpu"):
        if text := _read(directory / "cpu.max"):
            quota, _, period = text.partition(" ")
        else:
            quota, period = _read(directory / "cpu.cfs_quota_us"), _read(directory / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period):
            yield int(quota) * 1000 // int(period)


def _cgroup_directories(root: Path, controller: str) -> Iterator[Path]:
    """This process's cgroup and all above it, of version 2 or of version 1's ``controller``."""
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        number, _, rest = line.partition(":")
        controllers, _, inside = rest.partition(":")
        if number == "0" and not controllers:
            top = root
        elif controller in controllers.split(","):
            top = root / controller
        else:
            continue
        here = (top / inside.lstrip("/")).resolve()
        # In a container the path may be the host's and not exist here; the mount's own root is then the limit.
        while here.is_relative_to(top):
            yield here
            if here == top:
                break
            here = here.parent


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
