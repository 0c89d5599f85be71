"""Our part of one cgroup hierarchy: a base, and one cgroup below it for each slot of the pool."""

from __future__ import annotations

from typing import NamedTuple

from hrm.nm.cgroups.files import Files
from hrm.nm.cgroups.hierarchies import Hierarchy
from hrm.nm.cgroups.limits import Limits

#: Time in which a CPU quota is used up and given anew, microseconds.
PERIOD_US = 100_000
#: Memory that may still be charged to a slot that is used again: a new container starts with nearly all of its own.
LEFT_OVER_BYTES = 1 << 20
_MIB = 1 << 20


class Applied(NamedTuple):
    """What a slot is set to: its limits, and the majors whose devices it may not open."""

    limits: Limits
    denied_majors: tuple[int, ...]


class Tree:
    """What both versions have in common. Names are those of slots; methods raise OSError."""

    def __init__(self, hierarchy: Hierarchy, base: str, files: Files) -> None:
        self.hierarchy = hierarchy
        self.base = base
        self.files = files
        #: What it keeps to a limit: memory, cpus, processes, devices, io, pinning.
        self.resources: set[str] = set()
        #: Why not the others that were wanted.
        self.refused: dict[str, str] = {}

    def path(self, name: str) -> str:
        return f"{self.base}/{name}"

    def open(self, wanted: set[str]) -> None:
        """Make the base and find out which of ``wanted`` (resources) can be held here.

        Raises OSError where none can, and where another place in the hierarchy may do better.
        """
        raise NotImplementedError

    def make(self, name: str) -> None:
        """A new slot, that denies nothing and limits nothing yet."""
        raise NotImplementedError

    def remove(self, name: str) -> None:
        for path in reversed(self._with_those_below(name)):
            self.files.remove(path)

    def close(self) -> None:
        """Remove the base, which must be empty."""
        self.files.remove(self.base)

    def exists(self, name: str) -> bool:
        return self.files.exists(self.path(name))

    def apply(self, name: str, before: Applied | None, now: Applied) -> None:
        """Set what differs; ``before`` is None iff the slot is new."""
        raise NotImplementedError

    def members(self, name: str) -> list[int]:
        """Pids of those who live in it, or in cgroups that root made below it."""
        pids: list[int] = []
        for path in self._with_those_below(name):
            pids += map(int, self.files.read(f"{path}/cgroup.procs").split())
        return pids

    def _with_those_below(self, name: str) -> list[str]:
        """Its directory and those below, parents first."""
        found, unseen = [], [self.path(name)]
        while unseen:
            path = unseen.pop()
            found.append(path)
            if self.files.has_children(path):
                unseen += [f"{path}/{child}" for child in self.files.children(path)]
        return found

    def slots(self) -> list[str]:
        """Names of the slots that are there."""
        return [name for name in self.files.children(self.base) if name.isdigit()]

    # Memory

    def oom_kills(self, name: str) -> int:
        """Processes killed in it for want of memory, since it was made."""
        raise NotImplementedError

    def peak_mib(self, name: str) -> int:
        """The most memory that was in use."""
        raise NotImplementedError

    def watch_oom(self, name: str) -> int:
        """An eventfd that says when its memory ran out; -1 where the kernel itself ends all of it then."""
        return -1

    def left_over_bytes(self, name: str) -> int:
        """Memory still charged to it, after an attempt to let go of it if it is more than `LEFT_OVER_BYTES`."""
        raise NotImplementedError

    # Processes

    def refused_forks(self, name: str) -> int:
        """How often the limit on processes refused one, since it was made."""
        return self.files.counters(f"{self.path(name)}/pids.events").get("max", 0)

    def apply_processes(self, name: str, limits: Limits) -> None:
        self.files.write(f"{self.path(name)}/pids.max", str(max(limits.processes, 0)) if limits.processes else "max")


def mib_of(text: str) -> int:
    """Bytes in a file, as MiB rounded up."""
    return -(-int(text) // _MIB)


def bytes_of(mib: int) -> str:
    """MiB as a file wants them."""
    return str(mib * _MIB)


def quota_us(cpus_milli: int) -> int:
    """CPU time per `PERIOD_US`; the kernel takes nothing below 1 ms."""
    return max(1000, cpus_milli * PERIOD_US // 1000)
