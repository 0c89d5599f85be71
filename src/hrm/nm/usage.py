"""What the machine and its containers really use, measured once per heartbeat and with a bound on the work."""

from __future__ import annotations

import asyncio
import math
import os
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from hrm.model.containers import ContainerUsage, NodeUsage
from hrm.nm.cleaner import application_of
from hrm.nm.shepherd import processes, records

#: Containers measured per heartbeat, in turn; the others are told as they were last seen.
_CONTAINERS_PER_SAMPLE = 64
#: A container's directory is walked at most this often, and no further than so many files.
_DISK_WALK_S = 30.0
#: Where a quota hangs on it.
_QUOTA_WALK_S = 5.0
_DISK_WALK_FILES = 20_000
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_MIB = 1 << 20


@dataclass(slots=True)
class Running:
    """A container that runs here."""

    container_id: str
    pid: int
    #: Bytes of stdout and of stderr that the limit on logs dropped so far.
    dropped: list[int]
    #: What it is held to, in the fields of `hrm.nm.cgroups.limits.Limits`; None iff to nothing.
    limits: dict[str, Any] | None = None


@dataclass(slots=True)
class _Sample:
    """The last look at one container."""

    usage: ContainerUsage
    at: float
    cpu_ticks: int
    disk_at: float


class UsageSampler:
    """Measures in a worker thread, so that the loop is not held."""

    def __init__(self, state_dir: Path, *, has_quota: bool = False) -> None:
        self._state_dir = state_dir
        self._walk_s = _QUOTA_WALK_S if has_quota else _DISK_WALK_S
        self._samples: dict[str, _Sample] = {}
        self._shares = ApplicationShares(state_dir, self._walk_s)
        self._machine_cpu = _machine_cpu()

    async def sample(self, running: Sequence[Running]) -> tuple[NodeUsage, list[ContainerUsage]]:
        """The machine's use now, and that of each container that was looked at at least once."""
        if not running:
            self._samples.clear()
            return self._node(), []
        return await asyncio.to_thread(self._sample, running)

    def _sample(self, running: Sequence[Running]) -> tuple[NodeUsage, list[ContainerUsage]]:
        live = {container.container_id for container in running}
        self._samples = {key: sample for key, sample in self._samples.items() if key in live}
        # Those never seen first, then those not seen for longest.
        ages = {key: sample.at for key, sample in self._samples.items()}
        by_age = sorted(running, key=lambda container: ages.get(container.container_id, -math.inf))
        walked = False
        for container in by_age[:_CONTAINERS_PER_SAMPLE]:
            walked |= self._look(container, may_walk=not walked)
        return self._node(), [sample.usage for sample in self._samples.values()]

    def _look(self, container: Running, *, may_walk: bool) -> bool:
        """Take a sample; True iff the container's directory was walked for it."""
        before = self._samples.get(container.container_id)
        family = processes.family([container.pid])
        if not family:
            return False
        now = time.monotonic()
        cpu_ticks = sum(process.cpu_ticks + process.waited_cpu_ticks for process in family)
        cpu_milli = 0
        if before and now > before.at:
            cpu_milli = round(max(0, cpu_ticks - before.cpu_ticks) / _TICKS_PER_S / (now - before.at) * 1000)
        read_bytes = written_bytes = 0
        for process in family:
            read, written = _io_bytes(process.pid)
            read_bytes += read
            written_bytes += written
        work_dir = self._state_dir / records.CONTAINERS / container.container_id
        disk_mib, disk_at = (before.usage.disk_mib, before.disk_at) if before else (0, -math.inf)
        walk = may_walk and now - disk_at >= self._walk_s
        if walk:
            disk_mib, disk_at = disk_use_mib(work_dir) + self._shares.mib(container.container_id, now), now
        # What processes share is counted for each: dearer to tell apart than it is worth, unless it would be too much.
        memory_mib = sum(process.rss_pages for process in family) * _PAGE_BYTES // _MIB
        if container.limits and 0 < container.limits["memory_mib"] < memory_mib and len(family) > 1:
            memory_mib = proportional_memory_mib(family) or memory_mib
        usage = ContainerUsage(
            container_id=container.container_id,
            memory_mib=memory_mib,
            processes=len(family),
            cpu_milli=cpu_milli,
            read_bytes=read_bytes,
            written_bytes=written_bytes,
            disk_mib=disk_mib,
            progress=read_progress(work_dir / records.PROGRESS),
            saved_at=last_change(work_dir / records.CHECKPOINT),
        )
        self._samples[container.container_id] = _Sample(usage, now, cpu_ticks, disk_at)
        return walk

    def _node(self) -> NodeUsage:
        before, self._machine_cpu = self._machine_cpu, _machine_cpu()
        passed = self._machine_cpu[1] - before[1]
        busy_s = self._machine_cpu[0] - before[0]
        return NodeUsage(
            memory_used_mib=psutil.virtual_memory().used // _MIB,
            cpu_milli=round(max(0.0, busy_s) / passed * 1000) if passed > 0 else 0,
            disk_free_mib=psutil.disk_usage(str(self._state_dir)).free // _MIB,
        )


class ApplicationShares:
    """What of an application's directory on the node counts for each of its containers, as part of what these hold.

    Nobody knows who left what there. So each that the application has had here since it began, and that has a directory
    of its own still, counts for as much as any other: an application may hold as much on a node as if all had kept it
    to themselves.
    """

    def __init__(self, state_dir: Path, walk_s: float) -> None:
        self._state_dir = state_dir
        self._walk_s = walk_s
        #: By application: when its directory was walked, and the share of each.
        self._walked: dict[str, tuple[float, int]] = {}

    def mib(self, container_id: str, now: float) -> int:
        """The container's share, as it was when the directory was last walked."""
        self._walked = {name: one for name, one in self._walked.items() if now - one[0] < self._walk_s}
        application_id = application_of(container_id)
        if application_id not in self._walked:
            self._walked[application_id] = now, self._share(application_id) if application_id else 0
        return self._walked[application_id][1]

    def _share(self, application_id: str) -> int:
        folder = self._state_dir / records.APPLICATIONS / application_id
        if not folder.is_dir():
            return 0
        names = os.listdir(self._state_dir / records.CONTAINERS)
        return -(-disk_use_mib(folder) // max(1, sum(application_of(name) == application_id for name in names)))


def read_progress(path: Path) -> float | None:
    """The number from 0 to 1 that the task wrote, None where it wrote none. A task may put anything there."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        number = float(os.read(fd, 64))
    except (OSError, ValueError):
        return None
    finally:
        os.close(fd)
    return number if 0.0 <= number <= 1.0 else None


def last_change(path: Path) -> float | None:
    """When the task last wrote or touched its file (epoch seconds); None where there is none, or it is a link."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_mtime if stat.S_ISREG(found.st_mode) else None


def disk_use_mib(folder: Path) -> int:
    """MiB on disk below ``folder``, up to a bound on the files looked at; links are not followed."""
    total = files = 0
    unseen = [str(folder)]
    while unseen and files < _DISK_WALK_FILES:
        try:
            with os.scandir(unseen.pop()) as entries:
                for entry in entries:
                    files += 1
                    if files >= _DISK_WALK_FILES:
                        break
                    if entry.is_dir(follow_symlinks=False):
                        unseen.append(entry.path)
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError:
            # Changed or gone while we looked: the next walk sees.
            continue
    return -(-total // _MIB)


def proportional_memory_mib(family: Sequence[processes.Process]) -> int:
    """Resident memory of some processes, what several share divided between them (PSS); 0 where the kernel hides it."""
    total_kib = 0
    for process in family:
        rollup = processes.read_file(f"/proc/{process.pid}/smaps_rollup") or b""
        fields = rollup.partition(b"\nPss:")[2].split(maxsplit=1)
        total_kib += int(fields[0]) if fields else 0
    return -(-total_kib // 1024)


def _io_bytes(pid: int) -> tuple[int, int]:
    """Bytes read from and written to disks by one process; zeros where the kernel does not tell."""
    fields = (processes.read_file(f"/proc/{pid}/io") or b"").split()
    counts = dict(zip(fields[::2], fields[1::2], strict=False))
    return int(counts.get(b"read_bytes:", 0)), int(counts.get(b"write_bytes:", 0))


def _machine_cpu() -> tuple[float, float]:
    """Seconds that all cores together were busy, and the time it is."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    # Guests' time is in user's already.
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total - idle, time.monotonic()
