"""Keeps each container on its CPUs: on those that it has for itself, or on what the others leave.

By its cgroups where there are cpusets, else by the affinity of its processes, which they can change themselves.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from hrm.nm.shepherd.container import Container
from hrm.nm.shepherd.isolation import Isolation
from hrm.nm.shepherd.journal import log
from hrm.nm.shepherd.trees import Trees

if TYPE_CHECKING:
    from hrm.nm.cpus.pins import Pins


class Pinning:
    """One for a shepherd. Nothing is loaded or done until a container comes that is to be pinned."""

    def __init__(self, live: Mapping[str, Container], isolation: Isolation, trees: Trees) -> None:
        """``live`` are all containers that run."""
        self._live = live
        self._isolation = isolation
        self._trees = trees
        self._loaded: Pins | None = None

    @property
    def _pins(self) -> Pins:
        if self._loaded is None:
            from hrm.nm.cpus import pins, topology

            # What the server was given is what there is to give.
            self._loaded = pins.Pins(topology.cpus_of(os.sched_getaffinity(0)))
        return self._loaded

    def take(self, container: Container) -> None:
        """Decide where it is to run; who shares goes off the CPUs that it has for itself."""
        if (wanted := _wanted(container)) is None:
            return
        container.own_cpus = self._pins.take(container.id, wanted)
        container.cpus = container.own_cpus or self._pins.shared
        if container.own_cpus:
            self._share_out()

    def give_back(self, container: Container) -> None:
        """It is over: others may run where it did. No error if it never was pinned."""
        if self._loaded is None:
            return
        self._loaded.give_back(container.id)
        if container.own_cpus:
            container.own_cpus = ()
            self._share_out()

    def adopt(self, container: Container) -> None:
        """Another shepherd started it, and pinned it if its record says so."""
        if container.own_cpus:
            self._pins.restore(container.id, container.own_cpus)
            container.cpus = container.own_cpus
        elif _wanted(container) is not None:
            self._pins.take(container.id, 0)

    def settle(self) -> None:
        """All are adopted: those that share get what the others leave."""
        if self._loaded is not None:
            self._share_out()

    def _share_out(self) -> None:
        shared = self._pins.shared
        for container in self._live.values():
            if not container.own_cpus and _wanted(container) is not None and container.cpus != shared:
                container.cpus = shared
                try:
                    if not self._isolation.confine(container):
                        self._move(container)
                except OSError as error:
                    log(f"{container.id}: cannot have it run on CPUs {shared}: {error}")

    def _move(self, container: Container) -> None:
        for process in self._trees.members(container):
            try:
                threads = os.listdir(f"/proc/{process.pid}/task")
            except FileNotFoundError:
                continue
            for thread in threads:
                try:
                    os.sched_setaffinity(int(thread), container.cpus)
                except ProcessLookupError:
                    # It has ended meanwhile.
                    continue


def _wanted(container: Container) -> int | None:
    """How many CPUs it is to have for itself; None iff it may run on all."""
    wanted = container.limits.get("own_cpus") if container.limits else None
    return None if wanted is None else int(wanted)
