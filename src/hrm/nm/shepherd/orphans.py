"""Processes whose parent in a container ended: the kernel hands them to the shepherd, the nearest subreaper.

Whose they are is told by their session or process group, which their container's first process leads; a daemon that
made a session of its own still carries ``HRM_CONTAINER_ID`` in its environment. One that wiped even that is nobody's.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping

from hrm.nm.shepherd import tree
from hrm.nm.shepherd.container import Container

_PR_SET_CHILD_SUBREAPER = 36


class Orphans:
    """Finds, among the shepherd's own children, those that are no container's first process."""

    def __init__(self) -> None:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        pid = os.getpid()
        self._pid = pid
        #: Container id by pid, looked up once; "" if it is nobody's.
        self._owners: dict[int, str] = {}
        self._children_fd = -1
        if tree.HAS_CHILDREN_FILES:
            self._children_fd = os.open(f"/proc/self/task/{pid}/children", os.O_RDONLY | os.O_CLOEXEC)

    def of(self, container: Container, by_pid: Mapping[int, Container]) -> list[int]:
        """Pids of the orphans of one container. ``by_pid`` has every child that is no orphan."""
        if self._children_fd >= 0:
            text = os.pread(self._children_fd, 1 << 20, 0)
            # The usual case, at the cost of one system call: a pid and a space for each container, and no more.
            if text.count(b" ") == len(by_pid):
                return []
            pids = [int(pid) for pid in text.split()]
        else:
            pids = tree.children(self._pid)
        for pid in pids:
            if pid not in by_pid and pid not in self._owners:
                self._owners[pid] = _owner(pid, by_pid)
        return [pid for pid, owner in self._owners.items() if owner == container.id]

    def reaped(self, pid: int) -> None:
        self._owners.pop(pid, None)


def _owner(pid: int, by_pid: Mapping[int, Container]) -> str:
    process = tree.look_up(pid)
    if process is None:
        return ""
    container = by_pid.get(process.session) or by_pid.get(process.pgrp)
    if container is not None:
        return container.id
    for variable in (tree.read_file(f"/proc/{pid}/environ") or b"").split(b"\0"):
        if variable.startswith(b"HRM_CONTAINER_ID="):
            return variable.partition(b"=")[2].decode("ascii", "replace")
    return ""
