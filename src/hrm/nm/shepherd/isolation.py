"""The containers' cgroups, as the shepherd uses them: who is in which slot, and what the kernel did there."""

from __future__ import annotations

import hashlib
import json
import os
from functools import cached_property, partial
from typing import TYPE_CHECKING

from hrm.nm.shepherd import records
from hrm.nm.shepherd.container import Container
from hrm.nm.shepherd.journal import log
from hrm.nm.shepherd.loop import READABLE, Loop
from hrm.nm.shepherd.spawn import cannot_hold

if TYPE_CHECKING:
    from collections.abc import Callable

    from hrm.nm.cgroups.freezer import Freezer
    from hrm.nm.cgroups.machine import Found
    from hrm.nm.cgroups.pool import Pool, Slot

_SWEEP_S = 1.0
#: The kernel tells that memory ran out just before it kills: that it has killed is looked for a little later.
_OOM_LOOK_S = 0.02
NONE = "none"
PINNING = "pinning"
_NICE = 5


class Isolation:
    """One for a shepherd. Nothing is made, and nothing of `hrm.nm.cgroups` loaded, until a NodeManager asks for it."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._found: Found | None = None
        self._by_slot: dict[str, Container] = {}
        self._sweeps = False
        #: Called when a container's memory ran out and one of its processes was killed for it.
        self.on_out_of_memory: Callable[[Container], None] = lambda container: None

    @property
    def pool(self) -> Pool | None:
        """None iff nothing is held to limits."""
        return self._found.pool if self._found else None

    def set_up(self, mode: str, *, pinning: bool) -> list[list[str]]:
        """Have cgroups ready unless ``mode`` is "none"; for each resource its name, "enforced" or "advice", and why.

        ``pinning``: with cpusets among them.
        """
        if mode == NONE:
            return []
        told: list[list[str]] = []
        if pinning and self.pool and not self.pool.pins():
            self.pool.sweep()
            if self.pool.is_used:
                told = [[PINNING, "advice", "containers run here from before it was asked for"]]
            else:
                self.close()
                self._found = None
        if self._found is None:
            self._open(pinning=pinning)
            # Of a shepherd whose state was deleted: what nobody knows of here.
            self.remove_strays()
        assert self._found is not None
        held = [[name, "enforced", by] for name, by in self._found.held.items()]
        told += [[name, "advice", why] for name, why in self._found.not_held.items() if not told or name != PINNING]
        return held + told

    def _open(self, *, pinning: bool = False) -> None:
        from hrm.nm.cgroups import hierarchies, machine

        bases = _read_bases()
        # Who was pinned by a shepherd before stays so.
        pinning = pinning or any(os.path.exists(f"{base}/cpuset.cpus") for base in bases)
        self._found = machine.find(hierarchies.here(), _key(), bases=bases, pinning=pinning)
        if pool := self._found.pool:
            pool.on_slot = self._watch
            pool.on_no_slot = lambda slot: self._loop.forget(slot.oom_fd)
            _write_bases(self._bases(pool))
            try:
                pool.make_ahead()
            except OSError as error:
                log(f"cannot make cgroups ahead: {error}")

    # One container

    def take(self, container: Container) -> Slot | None:
        """Its slot, from now on; None iff it has no limits or none can be held. Raises SpawnError."""
        if container.limits is None or self.pool is None:
            return None
        from hrm.nm.cgroups.limits import Limits

        try:
            limits = Limits.of(container.limits)._replace(cpus=container.cpus)
            slot = container.slot = self.pool.take(limits)
        except OSError as error:
            raise cannot_hold(error) from None
        self._by_slot[slot.name] = container
        return slot

    def be_nice(self, container: Container) -> None:
        """Where no cgroup weighs its share of the CPUs, at least the machine's own work goes first.

        The whole group of processes, which bears the first one's number: by now that one may have started others.
        """
        if container.limits is not None and not (self._found and "cpus" in self._found.held):
            try:
                os.setpriority(os.PRIO_PGRP, container.pid, _NICE)
            except OSError:
                # It has ended already.
                return

    def hold_to(self, container: Container) -> None:
        """Have its slot hold it to the limits that it has now. No error if it has none. Raises OSError."""
        if container.limits is None or container.slot is None or self.pool is None:
            return
        from hrm.nm.cgroups.limits import Limits

        self.pool.limit(container.slot, Limits.of(container.limits))

    def confine(self, container: Container) -> bool:
        """Have all of it run on its ``cpus`` from now on. False where no cgroup can. Raises OSError."""
        if container.slot is None or self.pool is None or not self.pool.pins():
            return False
        self.pool.confine(container.slot, container.cpus)
        return True

    def freeze(self, container: Container, *, frozen: bool) -> bool:
        """Halt all of it, or let it go on. False where it has no cgroup that can. Raises OSError."""
        return bool(container.slot and self.pool and self.pool.freeze(container.slot, frozen=frozen))

    def is_frozen(self, container: Container) -> bool:
        try:
            return bool(container.slot and self.pool and self.pool.is_frozen(container.slot))
        except OSError:
            return False

    def freezer(self, container: Container) -> Freezer | None:
        """That of version 1; None where there is none, or the container is to have no cgroups."""
        if container.limits is None or self.pool is None:
            return None
        return self._freezer

    @cached_property
    def _freezer(self) -> Freezer | None:
        from hrm.nm.cgroups import freezer, hierarchies

        return freezer.find(hierarchies.here(), _key(), _read_bases())

    def _bases(self, pool: Pool) -> list[str]:
        return [*(tree.base for tree in pool.trees), *([self._freezer.base] if self._freezer else [])]

    def give_back(self, container: Container) -> None:
        """It is over, and who still lives in its slot ends. No error if it has none."""
        slot, container.slot = container.slot, None
        if slot is None or self.pool is None:
            return
        del self._by_slot[slot.name]
        try:
            self.pool.give_back(slot)
        except OSError as error:
            log(f"{container.id}: cannot clean its cgroups: {error}")
        self._sweep_soon()

    def explain(self, container: Container, code: int, detail: str) -> str:
        """Why it ended with ``code``, if the kernel had a hand in it; else ``detail`` as it is."""
        if container.slot is None or self.pool is None:
            return detail
        try:
            if why := self.pool.out_of_memory(container.slot):
                return why
            why = self.pool.out_of_processes(container.slot)
        except OSError as error:
            log(f"{container.id}: cannot read its cgroups: {error}")
            return detail
        return f"{detail or f'exit code {code}'}; {why}" if why else detail

    def members(self, container: Container) -> list[int] | None:
        """Pids of all its processes; None where no cgroup knows."""
        if container.slot is None or self.pool is None:
            return None
        try:
            return self.pool.members(container.slot)
        except OSError:
            return None

    def kill(self, container: Container) -> bool:
        """KILL all of it at once. False where no cgroup can."""
        if container.slot is None or self.pool is None:
            return False
        try:
            self.pool.kill(container.slot)
            return True
        except OSError as error:
            log(f"{container.id}: cannot kill by its cgroups: {error}")
            return False

    def _watch(self, slot: Slot) -> None:
        if slot.oom_fd >= 0:
            self._loop.watch(slot.oom_fd, READABLE, lambda _events: self._memory_ran_out(slot))

    def _memory_ran_out(self, slot: Slot) -> None:
        ran_out = self.pool is not None and self.pool.memory_ran_out(slot)
        if ran_out and (container := self._by_slot.get(slot.name)):
            self._loop.call_later(_OOM_LOOK_S, partial(self._look_for_kills, container))

    def _look_for_kills(self, container: Container) -> None:
        if container.slot is not None and self.pool is not None and self.pool.out_of_memory(container.slot):
            self.on_out_of_memory(container)

    def _sweep_soon(self) -> None:
        if self.pool and self.pool.is_dirty and not self._sweeps:
            self._sweeps = True
            self._loop.call_later(_SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        self._sweeps = False
        if self.pool:
            self.pool.sweep()
            self._sweep_soon()

    # From one shepherd to the next

    def adopt(self, container: Container) -> None:
        """Find the slot of a container that another shepherd started."""
        if self._found is None and (container.limits is not None or _read_bases()):
            self._open()
        if self.pool is None:
            return
        from hrm.nm.cgroups.limits import Limits

        try:
            name = self.pool.slot_of(container.pid)
        except OSError as error:
            log(f"{container.id}: cannot find its cgroups: {error}")
            return
        slot = self.pool.adopt(name, Limits.of(container.limits) if container.limits else Limits()) if name else None
        if slot:
            container.slot = slot
            self._by_slot[slot.name] = container

    def remove_strays(self) -> None:
        """Whoever lives in a slot whose container is over ends."""
        if self._found is None and _read_bases():
            self._open()
        if self.pool:
            self._thaw_strays()
            self.pool.remove_strays()
            self._sweep_soon()

    def _thaw_strays(self) -> None:
        """Of version 1: who is halted cannot be killed."""
        live = {container.id for container in self._by_slot.values()}
        if freezer := self._freezer:
            for name in freezer.names():
                if name not in live:
                    try:
                        freezer.thaw(name)
                        freezer.remove(name)
                    except OSError as error:
                        log(f"{name}: its freezer stays: {error}")

    def close(self) -> None:
        """Leave nothing behind."""
        if self.pool:
            self._thaw_strays()
            if self._freezer:
                self._freezer.close()
            self.pool.close()
            bases = [base for base in self._bases(self.pool) if os.path.isdir(base)]
            if bases:
                _write_bases(bases)
            else:
                _unlink_bases()


def _key() -> str:
    return hashlib.sha256(os.getcwdb()).hexdigest()[:12]


def _read_bases() -> list[str]:
    """Where this node's cgroups are, or were when its last shepherd died."""
    try:
        with open(records.CGROUPS, encoding="utf-8") as file:
            bases = json.load(file)
    except (OSError, ValueError):
        return []
    return [base for base in bases if isinstance(base, str)] if isinstance(bases, list) else []


def _unlink_bases() -> None:
    try:
        os.unlink(records.CGROUPS)
    except FileNotFoundError:
        # The state directory was deleted.
        return


def _write_bases(bases: list[str]) -> None:
    try:
        with open(f"{records.CGROUPS}.new", "w", encoding="utf-8") as file:
            json.dump(bases, file)
        os.rename(f"{records.CGROUPS}.new", records.CGROUPS)
    except OSError as error:
        # The next shepherd looks in its own place.
        log(f"cannot note where the cgroups are: {error}")
