"""Halts whole containers and lets them go on.

By ``cgroup.freeze`` where the container has a cgroup of version 2; by the freezer of version 1, into which its
processes are moved only now; else by STOP to each of them, which their parents can see.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from hrm.nm.shepherd import processes
from hrm.nm.shepherd.container import Container
from hrm.nm.shepherd.isolation import Isolation
from hrm.nm.shepherd.journal import log
from hrm.nm.shepherd.loop import Loop
from hrm.nm.shepherd.trees import Trees

if TYPE_CHECKING:
    from hrm.nm.cgroups.freezer import Freezer

#: A tree that grows while it is halted is walked so often at once, and then again after a moment.
_ROUNDS = 8
_AGAIN_S = 0.02
_REMOVE_AGAIN_S = 0.5
_REMOVALS = 120
_HALTED = (b"T", b"t")


class Freezing:
    """Of all containers of one shepherd."""

    def __init__(self, loop: Loop, isolation: Isolation, trees: Trees, lives: Callable[[Container], bool]) -> None:
        self._loop = loop
        self._isolation = isolation
        self._trees = trees
        self._lives = lives

    def freeze(self, container: Container) -> None:
        """All of it stops, and stays so until `thaw`. Again does nothing new."""
        container.frozen = True
        self._halt(container)

    def _halt(self, container: Container) -> None:
        if not container.frozen or not self._lives(container):
            return
        try:
            still = self._by_cgroup(container)
        except OSError as error:
            log(f"{container.id}: its processes are halted by STOP: cgroups: {error}")
            container.by_signals = True
            still = False
        if container.by_signals:
            still = self._by_signals(container)
        if still:
            self._loop.call_later(_AGAIN_S, partial(self._halt, container))

    def _by_cgroup(self, container: Container) -> bool:
        """True iff some of it may go on yet. Raises OSError."""
        if container.by_signals or self._isolation.freeze(container, frozen=True):
            return False
        if (freezer := self._isolation.freezer(container)) is None:
            container.by_signals = True
            return False
        freezer.freeze(container.id)
        for _ in range(_ROUNDS):
            # Who was born meanwhile is where its parent was then.
            if not freezer.take_in(container.id, [process.pid for process in self._trees.members(container)]):
                return False
        return True

    def _by_signals(self, container: Container) -> bool:
        for _ in range(_ROUNDS):
            running = [one for one in self._trees.members(container) if one.state not in _HALTED]
            if not running:
                return False
            for process in running:
                processes.send_signal(process, signal.SIGSTOP)
        return True

    def thaw(self, container: Container) -> None:
        """It goes on. Nothing happens to one that is not halted."""
        if not container.frozen:
            return
        container.frozen = False
        try:
            if not container.by_signals and self._isolation.freeze(container, frozen=False):
                return
            freezer = self._isolation.freezer(container)
            if freezer and freezer.knows(container.id):
                freezer.thaw(container.id)
        except OSError as error:
            log(f"{container.id}: cannot let it go on: {error}")
        if container.by_signals:
            container.by_signals = False
            self._trees.signal(container, signal.SIGCONT)

    def adopt(self, container: Container) -> None:
        """Another shepherd may have halted it."""
        freezer = self._isolation.freezer(container)
        first = processes.look_up(container.pid)
        container.by_signals = first is not None and first.state in _HALTED
        container.frozen = container.by_signals or self._isolation.is_frozen(container)
        if freezer and freezer.knows(container.id):
            container.frozen = True

    def release(self, container: Container) -> None:
        """It is over; called before its cgroups are given back."""
        self.thaw(container)
        freezer = self._isolation.freezer(container)
        if freezer and freezer.knows(container.id):
            self._remove(freezer, container.id, _REMOVALS)

    def _remove(self, freezer: Freezer, name: str, attempts: int) -> None:
        """As soon as it is empty: who outlived its container dies with its other cgroups."""
        try:
            freezer.remove(name)
        except OSError as error:
            if attempts:
                self._loop.call_later(_REMOVE_AGAIN_S, partial(self._remove, freezer, name, attempts - 1))
            else:
                # Gone at the latest with this shepherd, or with the next one.
                log(f"{name}: its freezer stays: {error}")
