"""Cgroups of version 2: one hierarchy for all controllers. https://docs.kernel.org/admin-guide/cgroup-v2.html

Two rules of the kernel shape this module. A cgroup that hands controllers on has no processes of its own, so the
shepherd steps down into a leaf where it is alone in the cgroup that was delegated to it. And a process is not moved
into its cgroup (which takes milliseconds) but born there (``CLONE_INTO_CGROUP``).
"""

from __future__ import annotations

import errno
import os

from hrm.nm.cgroups import device_filter
from hrm.nm.cgroups.files import Files
from hrm.nm.cgroups.hierarchies import Hierarchy
from hrm.nm.cgroups.tree import LEFT_OVER_BYTES, PERIOD_US, Applied, Tree, bytes_of, mib_of, quota_us
from hrm.nm.cpus.pins import format_cpus

_CONTROLLERS = {"memory": "memory", "cpus": "cpu", "processes": "pids", "io": "io", "pinning": "cpuset"}
_IO_WEIGHTS = ("io.weight", "io.bfq.weight")
#: The weight of one CPU, which is the kernel's default for a cgroup, and the bounds of weights.
_WEIGHT_PER_CPU, _WEIGHT_MIN, _WEIGHT_MAX = 100, 1, 10_000
#: BFQ's own file takes no more.
_BFQ_MAX = 1000
_LEAF = "shepherd"
#: Denied majors, and what is allowed of them.
_Rules = tuple[tuple[int, ...], tuple[tuple[int, int], ...]]


class TreeV2(Tree):
    """See the module."""

    def __init__(self, hierarchy: Hierarchy, base: str, files: Files) -> None:
        super().__init__(hierarchy, base, files)
        self._fds: dict[str, int] = {}
        self._programs: dict[_Rules, int] = {}
        #: True iff the shepherd has stepped down into a leaf.
        self._moved = False
        self._io_weight = ""

    def open(self, wanted: set[str]) -> None:
        own = self.hierarchy.own
        self.files.make(self.base)
        controllers = {_CONTROLLERS[name] for name in wanted if name in _CONTROLLERS} & self.hierarchy.controllers
        if controllers:
            self._hand_on(own, controllers)
            self.resources = {name for name in wanted if _CONTROLLERS.get(name) in controllers}
            self._io_weight = next((name for name in _IO_WEIGHTS if self.files.exists(f"{self.base}/{name}")), "")
            if not self._io_weight and "io" in self.resources:
                self.resources.discard("io")
                self.refused["io"] = "the kernel has no weights for it"
        if "devices" in wanted:
            try:
                os.close(self._load(((), ())))
                self.resources.add("devices")
            except OSError as error:
                self.refused["devices"] = f"eBPF: {error.strerror}"
        if not self.resources:
            raise OSError(errno.EPERM, "; ".join(self.refused.values()) or "none of its controllers is handed on")

    def _hand_on(self, own: str, controllers: set[str]) -> None:
        above = os.path.dirname(self.base)
        if above == own and self.files.exists(f"{own}/cgroup.type"):
            # Not the root, which may have processes as well.
            others = set(self.files.read(f"{own}/cgroup.procs").split()) - {str(os.getpid())}
            if others:
                raise OSError(errno.EBUSY, "other processes are in the server's cgroup")
            self.files.make(f"{self.base}/{_LEAF}")
            self.files.write(f"{self.base}/{_LEAF}/cgroup.procs", str(os.getpid()))
            self._moved = True
        change = " ".join(f"+{name}" for name in sorted(controllers))
        for path in (above, self.base):
            self.files.write(f"{path}/cgroup.subtree_control", change)

    def make(self, name: str) -> None:
        path = self.path(name)
        self.files.make(path)
        if "memory" in self.resources:
            # All of a container ends, not the one of its processes that happens to be the largest.
            self.files.write(f"{path}/memory.oom.group", "1")
            if self.files.exists(f"{path}/memory.swap.max"):
                self.files.write(f"{path}/memory.swap.max", "0")
        self._fds[name] = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def adopt(self, name: str) -> None:
        """Take up a slot that another shepherd made."""
        self._fds[name] = os.open(self.path(name), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def fd(self, name: str) -> int:
        """Of the slot's directory, for a process to be born there."""
        return self._fds[name]

    def enter(self, name: str) -> None:
        """Move the calling process into a slot: where it could not be born there."""
        self.files.write(f"{self.path(name)}/cgroup.procs", "0")

    def remove(self, name: str) -> None:
        super().remove(name)
        if (fd := self._fds.pop(name, -1)) >= 0:
            os.close(fd)

    def close(self) -> None:
        if self._moved:
            # Back to where we came from, which hands nothing on any more.
            own = self.hierarchy.own
            handed_on = self.files.read(f"{own}/cgroup.subtree_control").split()
            for path in (self.base, own):
                self.files.write(f"{path}/cgroup.subtree_control", " ".join(f"-{name}" for name in handed_on))
            self.files.write(f"{own}/cgroup.procs", str(os.getpid()))
            self.files.remove(f"{self.base}/{_LEAF}")
        super().close()
        for program_fd in self._programs.values():
            os.close(program_fd)

    def kill(self, name: str) -> bool:
        """KILL everybody in it, those too that are just being made. False where the kernel cannot (before 5.14)."""
        if not self.files.exists(f"{self.path(name)}/cgroup.kill"):
            return False
        self.files.write(f"{self.path(name)}/cgroup.kill", "1")
        return True

    def freeze(self, name: str, *, frozen: bool) -> bool:
        """Halt all in it, or let them go on. False where the kernel cannot (before 5.2)."""
        if not self.files.exists(f"{self.path(name)}/cgroup.freeze"):
            return False
        self.files.write(f"{self.path(name)}/cgroup.freeze", str(int(frozen)))
        return True

    def is_frozen(self, name: str) -> bool:
        path = f"{self.path(name)}/cgroup.freeze"
        return self.files.exists(path) and self.files.read(path).strip() == "1"

    def apply(self, name: str, before: Applied | None, now: Applied) -> None:
        path, limits = self.path(name), now.limits
        old = before.limits if before else None
        if "memory" in self.resources and limits.held_memory_mib != (old.held_memory_mib if old else 0):
            self.files.write(f"{path}/memory.max", bytes_of(limits.held_memory_mib) if limits.memory_mib else "max")
        weight = min(max(limits.cpus_milli * _WEIGHT_PER_CPU // 1000, _WEIGHT_MIN), _WEIGHT_MAX)
        if "cpus" in self.resources:
            if old is None or old.cpus_milli != limits.cpus_milli:
                self.files.write(f"{path}/cpu.weight", str(weight))
            quota = str(quota_us(limits.cpus_milli)) if limits.strict_cpus else "max"
            if quota != (str(quota_us(old.cpus_milli)) if old and old.strict_cpus else "max"):
                self.files.write(f"{path}/cpu.max", f"{quota} {PERIOD_US}")
        if "processes" in self.resources and limits.processes != (old.processes if old else 0):
            self.apply_processes(name, limits)
        if "io" in self.resources and (old is None or old.cpus_milli != limits.cpus_milli):
            least = min(weight, _BFQ_MAX) if self._io_weight != "io.weight" else weight
            self.files.write(f"{path}/{self._io_weight}", f"default {least}")
        if "pinning" in self.resources and limits.cpus != (old.cpus if old else ()):
            # Written empty, it is what the cgroup above has.
            self.files.write(f"{path}/cpuset.cpus", f"{format_cpus(limits.cpus)}\n")
        if "devices" in self.resources:
            rules = (now.denied_majors, limits.devices)
            was = (before.denied_majors, before.limits.devices) if before else None
            if rules != was:
                # The new one first: what a slot may open is never more than what both allow.
                self.files.attach_filter(self._fds[name], self._program(rules))
                if was is not None:
                    self.files.detach_filter(self._fds[name], self._program(was))

    def _program(self, rules: _Rules) -> int:
        """There are as many as there are ways to lend the node's GPUs; each is loaded once."""
        if rules not in self._programs:
            self._programs[rules] = self._load(rules)
        return self._programs[rules]

    def _load(self, rules: _Rules) -> int:
        return self.files.load_filter(device_filter.program(*rules))

    def oom_kills(self, name: str) -> int:
        return self.files.counters(f"{self.path(name)}/memory.events").get("oom_kill", 0)

    def peak_mib(self, name: str) -> int:
        # Counted since the slot was made, so perhaps that of an earlier container with a higher limit. Linux before
        # 5.19 does not count it; what ran out of memory has used all of it.
        peak = f"{self.path(name)}/memory.peak"
        return mib_of(self.files.read(peak if self.files.exists(peak) else f"{self.path(name)}/memory.max"))

    def left_over_bytes(self, name: str) -> int:
        path = self.path(name)
        used = int(self.files.read(f"{path}/memory.current"))
        if used > LEFT_OVER_BYTES and self.files.exists(f"{path}/memory.reclaim"):
            try:
                self.files.write(f"{path}/memory.reclaim", str(used))
            except OSError as error:
                # EAGAIN: less could be freed than was asked for.
                if error.errno != errno.EAGAIN:
                    raise
            used = int(self.files.read(f"{path}/memory.current"))
        return used
