"""Processes as the kernel tells of them in ``/proc``: who is whose child, and signals that never hit a stranger.

A pid alone names nobody for long. Here a process is (pid, start time in clock ticks since boot), and a signal goes
through a pidfd that was checked against both.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Any

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Process:
    """One line of ``/proc/PID/stat``."""

    __slots__ = ("cpu_ticks", "pgrp", "pid", "ppid", "rss_pages", "session", "start_ticks", "state", "waited_cpu_ticks")

    def __init__(self, pid: int, stat: bytes) -> None:
        # The program's name is in brackets and may itself hold brackets and spaces: fields count from the last one.
        fields = stat[stat.rindex(b")") + 2 :].split()
        self.pid = pid
        self.state = fields[0]
        self.ppid = int(fields[1])
        self.pgrp = int(fields[2])
        self.session = int(fields[3])
        self.cpu_ticks = int(fields[11]) + int(fields[12])
        #: Of its children that ended and were waited for.
        self.waited_cpu_ticks = int(fields[13]) + int(fields[14])
        self.start_ticks = int(fields[19])
        self.rss_pages = int(fields[21])

    @property
    def alive(self) -> bool:
        """False iff only its exit status is left."""
        return self.state not in (b"Z", b"X")


def ticks_since_boot() -> int:
    """Now, on the clock and in the unit of `Process.start_ticks`."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * TICKS_PER_S)


def read_file(path: str, at_most: int = 4096) -> bytes | None:
    """A small file of ``/proc``; None if its process is gone or not ours to look at."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(fd, at_most)
    except OSError:
        return None
    finally:
        os.close(fd)


def look_up(pid: int) -> Process | None:
    """The process, or None if there is none (any more)."""
    stat = read_file(f"/proc/{pid}/stat")
    return Process(pid, stat) if stat else None


def everyone() -> list[Process]:
    return [process for name in os.listdir("/proc") if name.isdigit() and (process := look_up(int(name)))]


def variable_of(pid: int, name: str) -> str:
    """A variable of its environment; "" where there is none, or none that may be looked at."""
    mark = f"{name}=".encode()
    for variable in (read_file(f"/proc/{pid}/environ", 1 << 20) or b"").split(b"\0"):
        if variable.startswith(mark):
            return os.fsdecode(variable[len(mark) :])
    return ""


def container_of(pid: int) -> str:
    """The container id in its environment; "" as `variable_of`."""
    return variable_of(pid, "HRM_CONTAINER_ID")


def account_of(pid: int) -> dict[str, Any] | None:
    """Whose process it is, in the fields of an account; None if it is our own user's, or gone."""
    fields: dict[bytes, list[int]] = {}
    for line in (read_file(f"/proc/{pid}/status", 1 << 16) or b"").split(b"\n"):
        name, _, values = line.partition(b":")
        if name in (b"Uid", b"Gid", b"Groups"):
            fields[name] = [int(value) for value in values.split()]
    if b"Uid" not in fields or fields[b"Uid"][1] == os.geteuid():
        return None
    uid = fields[b"Uid"][1]
    return {"name": str(uid), "uid": uid, "gid": fields[b"Gid"][1], "groups": fields.get(b"Groups", [])}


def handles(pid: int, signum: int) -> bool:
    """True iff the process has a handler for the signal; False if it is gone."""
    for line in (read_file(f"/proc/{pid}/status", 1 << 16) or b"").split(b"\n"):
        if line.startswith(b"SigCgt:"):
            return bool(int(line.split()[1], 16) >> (signum - 1) & 1)
    return False


def children(pid: int) -> list[int]:
    """Direct children, those of every thread of it."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    if not HAS_CHILDREN_FILES:
        return [process.pid for process in everyone() if process.ppid == pid]
    found: list[int] = []
    for thread in threads:
        found += map(int, (read_file(f"/proc/{pid}/task/{thread}/children", 1 << 16) or b"").split())
    return found


def family(roots: list[int]) -> list[Process]:
    """The processes named and all their descendants, parents first."""
    found: dict[int, Process] = {}
    unseen = list(reversed(roots))
    while unseen:
        pid = unseen.pop()
        if pid not in found and (process := look_up(pid)):
            found[pid] = process
            unseen += children(pid)
    return list(found.values())


def send_signal(process: Process, signum: int) -> bool:
    """Signal exactly this process. False if it is gone, even if another has its number now."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        # The pidfd now names whoever has the number; the start time says whether that is the one meant.
        now = look_up(process.pid)
        if now is None or now.start_ticks != process.start_ticks:
            return False
        signal.pidfd_send_signal(pidfd, signum)
        return True
    except OSError:
        return False
    finally:
        os.close(pidfd)


HAS_CHILDREN_FILES = os.path.exists(f"/proc/self/task/{os.getpid()}/children")
