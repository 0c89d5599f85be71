"""The processes of each container: its first one, the descendants of that, and its orphans.

An orphan's parent has ended; the kernel hands it to the shepherd, the nearest subreaper. Whose it is, is told by its
session or process group, which its container's first process leads; a daemon that made a session of its own still
carries ``HRM_CONTAINER_ID`` in its environment. One that wiped even that is nobody's; but where containers have
cgroups, those tell who belongs to whom, and nobody gets away.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Mapping

from hrm.nm.shepherd import processes
from hrm.nm.shepherd.container import Container
from hrm.nm.shepherd.isolation import Isolation
from hrm.nm.shepherd.processes import Process

_PR_SET_CHILD_SUBREAPER = 36
_KILL_ROUNDS = 8
_BYTES_PER_PID = 12


class Trees:
    """Finds and signals whole containers. ``by_pid`` has every child of the shepherd that is no orphan."""

    def __init__(self, by_pid: Mapping[int, Container], isolation: Isolation) -> None:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._by_pid = by_pid
        self._isolation = isolation
        self._pid = os.getpid()
        #: Container id by orphan's pid, looked up once; "" if it is nobody's.
        self._owners: dict[int, str] = {}
        self._children_fd = -1
        if processes.HAS_CHILDREN_FILES:
            self._children_fd = os.open(f"/proc/self/task/{self._pid}/children", os.O_RDONLY | os.O_CLOEXEC)

    def orphans(self, container: Container) -> list[int]:
        """Pids of the orphans of one container."""
        if self._children_fd >= 0:
            text = os.pread(self._children_fd, _BYTES_PER_PID * (len(self._by_pid) + 100), 0)
            # The usual case, at the cost of one system call: a pid and a space for each container, and no more.
            if text.count(b" ") == len(self._by_pid):
                return []
        pids = processes.children(self._pid)
        for pid in pids:
            if pid not in self._by_pid and pid not in self._owners:
                self._owners[pid] = self._owner(pid)
        return [pid for pid, owner in self._owners.items() if owner == container.id]

    def take_in(self, pid: int, container: Container) -> None:
        """A child of the shepherd's belongs to this container, before anything of it could tell."""
        self._owners[pid] = container.id

    def reaped(self, pid: int) -> None:
        """An orphan ended: its number may soon be another's."""
        self._owners.pop(pid, None)

    def outlive(self, container: Container) -> bool:
        """True iff its first process has ended and others go on."""
        pids = self._isolation.members(container)
        return bool(self.orphans(container) if pids is None else set(pids) - {container.pid})

    def members(self, container: Container) -> list[Process]:
        """All its processes that live, parents before children where no cgroup tells who they are."""
        if (pids := self._isolation.members(container)) is not None:
            if container.told_fd >= 0 and container.pid not in pids:
                # It is on its way there, to become the program of a launch after others.
                pids = [container.pid, *pids]
            return [process for pid in pids if (process := processes.look_up(pid)) and process.alive]
        if container.pidfd < 0:
            roots = [container.pid, *self.orphans(container)]
        else:
            # Another shepherd's: its orphans went elsewhere, but their session tells whose they are.
            roots = [process.pid for process in processes.everyone() if process.session == container.pid]
            roots += [pid for pid, owner in self._owners.items() if owner == container.id]
        return [process for process in processes.family(roots) if process.alive]

    def signal(self, container: Container, signum: int) -> None:
        """One signal to every process of it."""
        for process in self.members(container):
            processes.send_signal(process, signum)

    def kill(self, container: Container) -> None:
        """KILL until nobody is left who was not sent one: a tree that is growing is walked again."""
        if self._isolation.kill(container) and container.told_fd < 0:
            return
        sent: set[tuple[int, int]] = set()
        for _ in range(_KILL_ROUNDS):
            fresh = [p for p in self.members(container) if (p.pid, p.start_ticks) not in sent]
            if not fresh:
                return
            for process in fresh:
                processes.send_signal(process, signal.SIGKILL)
                sent.add((process.pid, process.start_ticks))

    def _owner(self, pid: int) -> str:
        process = processes.look_up(pid)
        if process is None:
            return ""
        container = self._by_pid.get(process.session) or self._by_pid.get(process.pgrp)
        if container is not None:
            return container.id
        return processes.container_of(pid)
