"""Cgroups of version 1: one hierarchy for each controller (or for a few of them together).

https://docs.kernel.org/admin-guide/cgroup-v1/
"""

from __future__ import annotations

import errno
import os

from hrm.nm.cgroups.tree import LEFT_OVER_BYTES, PERIOD_US, Applied, Tree, bytes_of, mib_of, quota_us
from hrm.nm.cpus.pins import format_cpus

_CONTROLLERS = {
    "memory": "memory", "cpus": "cpu", "processes": "pids", "devices": "devices", "io": "blkio", "pinning": "cpuset",
}  # fmt: skip
_IO_WEIGHTS = ("blkio.weight", "blkio.bfq.weight")
#: The weight of one CPU in io, and the bounds that both of the files take.
_IO_PER_CPU, _IO_MIN, _IO_MAX = 100, 10, 1000
_SHARES_PER_CPU, _SHARES_MIN, _SHARES_MAX = 1024, 2, 262_144
#: Minors of a major that are looked at where some of them are allowed: all that NVIDIA's fixed major can have.
_MINORS = 256


class TreeV1(Tree):
    """See the module."""

    def open(self, wanted: set[str]) -> None:
        self.files.make(self.base)
        mounted = self.hierarchy.controllers
        self.resources = {name for name in wanted if _CONTROLLERS[name] in mounted}
        if "cpus" in self.resources:
            # All containers together weigh as much as one process outside, unless this says otherwise.
            shares = (os.cpu_count() or 1) * _SHARES_PER_CPU
            self.files.write(f"{self.base}/cpu.shares", str(min(shares, _SHARES_MAX)))
        self._has_swap_limit = self.files.exists(f"{self.base}/memory.memsw.limit_in_bytes")
        self._io_weight = next((name for name in _IO_WEIGHTS if self.files.exists(f"{self.base}/{name}")), "")
        if not self._io_weight and "io" in self.resources:
            self.resources.discard("io")
            self.refused["io"] = "the kernel has no weights for it"
        self._cpus = ""
        if "cpuset" in mounted:
            # Nobody can live in a cgroup of this controller until both are set, also where nobody is pinned.
            self._cpus = self._inherit(self.base, "cpus")
            self._inherit(self.base, "mems")

    def _inherit(self, path: str, what: str) -> str:
        """Give a cgroup what the one above it has."""
        value = self.files.read(f"{os.path.dirname(path)}/cpuset.{what}").strip()
        self.files.write(f"{path}/cpuset.{what}", value)
        return value

    def make(self, name: str) -> None:
        path = self.path(name)
        self.files.make(path)
        if "memory" in self.resources and not self._has_swap_limit:
            # Swap is not counted here, so that what is over the limit would go there.
            self.files.write(f"{path}/memory.swappiness", "0")
        if self._cpus:
            self._inherit(path, "cpus")
            self._inherit(path, "mems")

    def enter(self, name: str) -> None:
        """Move the calling thread, and it alone, into a slot.

        For a thread that moves itself the kernel takes none of the locks that make the move of another process slow.
        """
        self.files.write(f"{self.path(name)}/tasks", "0")

    def leave(self) -> None:
        """Move the calling thread back to where this process belongs.

        Never fails: what it has started runs. Should our own cgroup not take us back, the top does.
        """
        for home in (self.hierarchy.own, self.hierarchy.top):
            try:
                self.files.write(f"{home}/tasks", "0")
                return
            except OSError:
                continue

    def apply(self, name: str, before: Applied | None, now: Applied) -> None:
        path, limits = self.path(name), now.limits
        old = before.limits if before else None
        if "memory" in self.resources:
            held = old.held_memory_mib if old else 0
            if held != limits.held_memory_mib:
                self._limit_memory(path, held, limits.held_memory_mib)
        if "cpus" in self.resources:
            if old is None or old.cpus_milli != limits.cpus_milli:
                shares = limits.cpus_milli * _SHARES_PER_CPU // 1000
                self.files.write(f"{path}/cpu.shares", str(min(max(shares, _SHARES_MIN), _SHARES_MAX)))
            quota = quota_us(limits.cpus_milli) if limits.strict_cpus else -1
            if quota != (quota_us(old.cpus_milli) if old and old.strict_cpus else -1):
                self.files.write(f"{path}/cpu.cfs_period_us", str(PERIOD_US))
                self.files.write(f"{path}/cpu.cfs_quota_us", str(quota))
        if "processes" in self.resources and limits.processes != (old.processes if old else 0):
            self.apply_processes(name, limits)
        if "io" in self.resources and (old is None or old.cpus_milli != limits.cpus_milli):
            weight = limits.cpus_milli * _IO_PER_CPU // 1000
            self.files.write(f"{path}/{self._io_weight}", str(min(max(weight, _IO_MIN), _IO_MAX)))
        if "pinning" in self.resources and limits.cpus != (old.cpus if old else ()):
            self.files.write(f"{path}/cpuset.cpus", format_cpus(limits.cpus) or self._cpus)
        if "devices" in self.resources:
            rules = (now.denied_majors, limits.devices)
            if before is None or rules != (before.denied_majors, before.limits.devices):
                self._deny_devices(path, *rules, new=before is None)

    def _limit_memory(self, path: str, before_mib: int, now_mib: int) -> None:
        limit = bytes_of(now_mib) if now_mib else "-1"
        names = ["memory.limit_in_bytes"]
        if self._has_swap_limit:
            # Never is memory alone allowed more than memory and swap together: what grows, grows there first.
            grows = not now_mib or (before_mib and now_mib > before_mib)
            names.insert(0 if grows else 1, "memory.memsw.limit_in_bytes")
        for file in names:
            self.files.write(f"{path}/{file}", limit)
        self.files.write(f"{path}/memory.max_usage_in_bytes", "0")

    def _deny_devices(
        self, path: str, majors: tuple[int, ...], allowed: tuple[tuple[int, int], ...], *, new: bool
    ) -> None:
        if not new:
            self.files.write(f"{path}/devices.allow", "a")
        for major in majors:
            minors = {minor for of, minor in allowed if of == major}
            if not minors:
                self.files.write(f"{path}/devices.deny", f"c {major}:* rwm")
                continue
            # Nothing can be excepted from what is denied, so what is denied is named one by one.
            for minor in range(_MINORS):
                if minor not in minors:
                    self.files.write(f"{path}/devices.deny", f"c {major}:{minor} rwm")

    def oom_kills(self, name: str) -> int:
        return self.files.counters(f"{self.path(name)}/memory.oom_control").get("oom_kill", 0)

    def peak_mib(self, name: str) -> int:
        return mib_of(self.files.read(f"{self.path(name)}/memory.max_usage_in_bytes"))

    def watch_oom(self, name: str) -> int:
        path = self.path(name)
        event_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            control_fd = os.open(f"{path}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
            try:
                self.files.write(f"{path}/cgroup.event_control", f"{event_fd} {control_fd}")
            finally:
                os.close(control_fd)
        except OSError:
            os.close(event_fd)
            raise
        return event_fd

    def left_over_bytes(self, name: str) -> int:
        path = self.path(name)
        used = int(self.files.read(f"{path}/memory.usage_in_bytes"))
        if used > LEFT_OVER_BYTES:
            try:
                self.files.write(f"{path}/memory.force_empty", "0")
            except OSError as error:
                # EBUSY: somebody is still in it, and then it is not used again anyway.
                if error.errno != errno.EBUSY:
                    raise
            used = int(self.files.read(f"{path}/memory.usage_in_bytes"))
        return used
