"""Cgroups that are ready for containers: made ahead, set to each container's limits, cleaned and used again.

To make a cgroup in each hierarchy and to remove it takes longer than to start a program. A slot is one cgroup in each
of them, all of one name (a number). It is used again only once nobody lives in it and nearly no memory is charged to it
any more (a file left in ``/dev/shm`` is); else it is removed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence

from hrm.nm.cgroups.limits import NO_MORE, Limits
from hrm.nm.cgroups.tree import LEFT_OVER_BYTES, Applied, Tree
from hrm.nm.cgroups.v1 import TreeV1
from hrm.nm.cgroups.v2 import TreeV2

#: Made before the first container comes.
AHEAD = 8
#: Kept for later, at most; those that a burst of containers needed beyond that are removed.
KEPT = 64
_KILL_ROUNDS = 8
_MAJORS_AGE_S = 10.0


class Slot:
    """One container's cgroups."""

    __slots__ = ("applied", "forks_before", "kills_before", "name", "oom_fd", "ran_out", "spent")

    def __init__(self, name: str) -> None:
        self.name = name
        self.applied: Applied | None = None
        #: Not to be used again: made by another shepherd, or killed as a whole by the kernel.
        self.spent = False
        #: Says when memory ran out; -1 if nothing does.
        self.oom_fd = -1
        #: True iff it said so since the counters below were read.
        self.ran_out = False
        #: The kernel's counters when the container came.
        self.kills_before = 0
        self.forks_before = 0

    @property
    def limits(self) -> Limits:
        return self.applied.limits if self.applied else Limits()


class Pool:
    """All slots of one shepherd. Methods raise OSError where the kernel refuses."""

    def __init__(self, trees: Sequence[Tree], majors: Callable[[], tuple[int, ...]]) -> None:
        """``trees`` are open. ``majors()`` gives those of the devices that are denied to who was not lent them."""
        self.trees = list(trees)
        #: Told of each slot that is made or adopted, and of each before it is let go.
        self.on_slot: Callable[[Slot], None] = lambda slot: None
        self.on_no_slot: Callable[[Slot], None] = lambda slot: None
        self._majors = majors
        self._denied: tuple[int, ...] = ()
        self._denied_at = -_MAJORS_AGE_S
        self._v1 = [tree for tree in trees if isinstance(tree, TreeV1)]
        # Entered last and left first: what the shepherd's own thread touches meanwhile is charged to the container.
        self._v1.sort(key=lambda tree: "memory" in tree.resources)
        self._v2 = next((tree for tree in trees if isinstance(tree, TreeV2)), None)
        self._memory = next((tree for tree in trees if "memory" in tree.resources), None)
        self._processes = next((tree for tree in trees if "processes" in tree.resources), None)
        #: The tree that is asked who lives where: all who are in one are in all.
        self._anchor: Tree = self._v2 or self._processes or self.trees[0]
        self._free: list[Slot] = []
        #: Given back, but somebody still lives in them.
        self._dirty: list[Slot] = []
        self._used: dict[str, Slot] = {}
        self._last = max((int(name) for tree in trees for name in tree.slots()), default=0)

    # Slots

    def make_ahead(self) -> None:
        while len(self._free) < AHEAD:
            self._free.append(self._make())

    def take(self, limits: Limits) -> Slot:
        """A slot that is empty, and holds who enters to ``limits``."""
        if self._dirty:
            self.sweep()
        while True:
            new = not self._free
            slot = self._make() if new else self._free.pop()
            try:
                if not self._anchor.exists(slot.name):
                    raise FileNotFoundError(errno.ENOENT, "somebody removed it", self._anchor.path(slot.name))
                self._set(slot, Applied(limits, self._denied_majors()))
            except OSError:
                self._discard(slot)
                if new:
                    raise
                # Somebody removed it, or what is left over from before is in the way.
                continue
            self._used[slot.name] = slot
            return slot

    def _set(self, slot: Slot, applied: Applied) -> None:
        if slot.applied != applied:
            for tree in self.trees:
                tree.apply(slot.name, slot.applied, applied)
            slot.applied = applied

    @property
    def is_used(self) -> bool:
        """True iff somebody lives in one of the slots."""
        return bool(self._used or self._dirty)

    def pins(self) -> bool:
        """True iff a slot holds who lives there to some CPUs."""
        return any("pinning" in tree.resources for tree in self.trees)

    def limit(self, slot: Slot, limits: Limits) -> None:
        """Hold who lives in it to other limits from now on, on the CPUs that they have."""
        assert slot.applied is not None
        self._set(slot, slot.applied._replace(limits=limits._replace(cpus=slot.limits.cpus)))

    def confine(self, slot: Slot, cpus: tuple[int, ...]) -> None:
        """Have all who live in it run on these CPUs from now on."""
        assert slot.applied is not None
        self._set(slot, slot.applied._replace(limits=slot.limits._replace(cpus=cpus)))

    def freeze(self, slot: Slot, *, frozen: bool) -> bool:
        """Halt all who live in it, or let them go on. False where only version 1 is."""
        return self._v2 is not None and self._v2.freeze(slot.name, frozen=frozen)

    def is_frozen(self, slot: Slot) -> bool:
        return self._v2 is not None and self._v2.is_frozen(slot.name)

    def give_back(self, slot: Slot) -> None:
        """Its container is over. Whoever still lives in it is killed."""
        self._used.pop(slot.name, None)
        if self._is_empty(slot):
            self._clean(slot)
        else:
            self.kill(slot)
            self._dirty.append(slot)

    @property
    def is_dirty(self) -> bool:
        """True iff `sweep` has something to do."""
        return bool(self._dirty)

    def sweep(self) -> None:
        """Kill again whoever lives in slots that were given back, and take in those that are empty."""
        dirty, self._dirty = self._dirty, []
        for slot in dirty:
            if self._is_empty(slot):
                self._clean(slot)
            else:
                self.kill(slot)
                self._dirty.append(slot)

    def _clean(self, slot: Slot) -> None:
        try:
            fit = not slot.spent and len(self._free) < KEPT
            if fit and self._memory:
                fit = self._memory.left_over_bytes(slot.name) <= LEFT_OVER_BYTES
            if fit:
                self._count_from_here(slot)
        except OSError:
            fit = False
        if fit:
            self._free.append(slot)
        else:
            self._discard(slot)

    def _count_from_here(self, slot: Slot) -> None:
        if self._memory and (slot.oom_fd < 0 or self.memory_ran_out(slot) or slot.ran_out):
            slot.kills_before = self._memory.oom_kills(slot.name)
            slot.ran_out = False
        if self._processes:
            slot.forks_before = self._processes.refused_forks(slot.name)

    def _make(self) -> Slot:
        self._last += 1
        slot = Slot(str(self._last))
        try:
            for tree in self.trees:
                tree.files.make(tree.base)
                tree.make(slot.name)
            if self._memory:
                slot.oom_fd = self._memory.watch_oom(slot.name)
        except OSError:
            self._discard(slot)
            raise
        self.on_slot(slot)
        return slot

    def _discard(self, slot: Slot) -> None:
        self.on_no_slot(slot)
        if slot.oom_fd >= 0:
            os.close(slot.oom_fd)
            slot.oom_fd = -1
        for tree in self.trees:
            # What is not empty yet stays, without a limit on how long; the next shepherd removes it at the latest.
            with contextlib.suppress(OSError):
                tree.remove(slot.name)

    def _denied_majors(self) -> tuple[int, ...]:
        """Drivers may be loaded at any time, and some get a number only then."""
        now = time.monotonic()
        if now - self._denied_at >= _MAJORS_AGE_S:
            self._denied, self._denied_at = self._majors(), now
        return self._denied

    # Beginning

    @property
    def born(self) -> bool:
        """True iff a process must be born in its cgroup of version 2, see `birth_fd`."""
        return self._v2 is not None

    def birth_fd(self, slot: Slot) -> int:
        assert self._v2 is not None
        return self._v2.fd(slot.name)

    @contextlib.contextmanager
    def standing_in(self, slot: Slot) -> Iterator[None]:
        """The calling thread stands in the slot's cgroups of version 1; what it starts meanwhile stays there."""
        try:
            for tree in self._v1:
                tree.enter(slot.name)
            yield
        finally:
            for tree in reversed(self._v1):
                tree.leave()

    def enter(self, slot: Slot, *, born: bool) -> None:
        """Move the calling process, which has one thread, in for good; ``born`` if it is in that of version 2."""
        if self._v2 and not born:
            self._v2.enter(slot.name)
        for tree in self._v1:
            tree.enter(slot.name)

    # Ending

    def members(self, slot: Slot) -> list[int]:
        """Pids of all that live in it, however they got away from their parents."""
        return self._anchor.members(slot.name)

    def _is_empty(self, slot: Slot) -> bool:
        try:
            return not self.members(slot)
        except FileNotFoundError:
            return True

    def kill(self, slot: Slot) -> None:
        """KILL everybody in it. One that is growing is not allowed another process meanwhile."""
        if self._v2 and self._v2.kill(slot.name):
            # From Linux 6.14 on, whoever is born in a cgroup that was once killed dies at once: the kernel compares
            # its count of kills with that of the cgroup that the parent is in (kill_seq in cgroup_post_fork).
            slot.spent = True
            return
        if self._processes:
            self._processes.apply_processes(slot.name, Limits(processes=NO_MORE))
        try:
            sent: set[int] = set()
            for _ in range(_KILL_ROUNDS):
                fresh = [pid for pid in self.members(slot) if pid not in sent]
                if not fresh:
                    break
                self._kill(slot, fresh)
                sent.update(fresh)
        finally:
            if self._processes:
                self._processes.apply_processes(slot.name, slot.limits)

    def _kill(self, slot: Slot, pids: list[int]) -> None:
        # A number may be another's by the time it is signalled: who still lives here once it is held fast is meant.
        held: dict[int, int] = {}
        try:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    held[pid] = os.pidfd_open(pid)
            for pid in self.members(slot):
                if pid in held:
                    with contextlib.suppress(ProcessLookupError):
                        signal.pidfd_send_signal(held[pid], signal.SIGKILL)
        finally:
            for fd in held.values():
                os.close(fd)

    def memory_ran_out(self, slot: Slot) -> bool:
        """Take note of what its eventfd tells. True iff it told something new."""
        try:
            os.eventfd_read(slot.oom_fd)
        except BlockingIOError:
            return False
        slot.ran_out = True
        return True

    def out_of_memory(self, slot: Slot) -> str:
        """``out of memory: used 64 MiB of 64 MiB`` if somebody in it was killed for that, else ""."""
        if self._memory is None or self._memory.oom_kills(slot.name) <= slot.kills_before:
            return ""
        limit = slot.limits.held_memory_mib
        used = min(self._memory.peak_mib(slot.name), limit) if limit else self._memory.peak_mib(slot.name)
        return f"out of memory: used {used} MiB of {limit or used} MiB"

    def out_of_processes(self, slot: Slot) -> str:
        """A sentence if the limit on processes refused it one, else ""."""
        if self._processes is None or self._processes.refused_forks(slot.name) <= slot.forks_before:
            return ""
        return f"it had reached its limit of {slot.limits.processes} processes"

    # Life

    def slot_of(self, pid: int) -> str:
        """The name of the slot where a process lives; "" if in none."""
        tree = self._anchor
        return next((name for name in tree.slots() if pid in tree.members(name)), "")

    def adopt(self, name: str, limits: Limits) -> Slot | None:
        """A slot of another shepherd, with what still lives in it; None if it is gone."""
        slot = Slot(name)
        slot.spent = True
        slot.applied = Applied(limits, ())
        try:
            if self._v2:
                self._v2.adopt(name)
            self._count_from_here(slot)
            if self._memory:
                slot.oom_fd = self._memory.watch_oom(name)
        except OSError:
            return None
        self._used[name] = slot
        self.on_slot(slot)
        return slot

    def remove_strays(self) -> None:
        """Slots of another shepherd that were not adopted: their containers are over, and so is who lives there."""
        known = {*self._used, *(slot.name for slot in (*self._free, *self._dirty))}
        for name in sorted({name for tree in self.trees for name in tree.slots()} - known):
            slot = Slot(name)
            slot.spent = True
            with contextlib.suppress(OSError):
                self.give_back(slot)

    def close(self) -> None:
        """Remove all that nobody lives in."""
        self.sweep()
        free, self._free = self._free, []
        for slot in free:
            self._discard(slot)
        for tree in self.trees:
            # What is not empty is left to the next shepherd.
            with contextlib.suppress(OSError):
                tree.close()
