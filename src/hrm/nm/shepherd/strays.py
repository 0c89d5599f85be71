"""Processes that nobody watches any more: another shepherd of the same directory, and what no record tells of.

They are left behind where the state of the node was deleted, in whole or in part, and by containers that ended while no
shepherd was there. Whoever asked for those containers will be told that they are lost, and will have them run again:
so they must be gone before a new shepherd says its first word.
"""

from __future__ import annotations

import os
import signal
import time

from hrm.nm.shepherd import processes, records
from hrm.nm.shepherd.herd import Herd
from hrm.nm.shepherd.journal import log
from hrm.nm.shepherd.processes import Process

_PATIENCE_S = 5.0
_LOOK_AGAIN_S = 0.01
_PROGRAM = b"/hrm/nm/shepherd"

#: A process for ever: its number may go to another.
Identity = tuple[int, int]


def end_predecessors(folder: str) -> set[Identity]:
    """KILL every other shepherd of this directory, whose lock is ours now; all that descended from them.

    A process that one of them was just about to start looks like itself, and ends with it.
    """
    spared = _ancestors()
    left: set[Identity] = set()
    for process in processes.everyone():
        if process.pid not in spared and _is_shepherd_of(process, folder):
            log(f"the state directory was taken from shepherd {process.pid}: it ends")
            # Halted first, so that it starts nothing while we look at what it has started.
            processes.send_signal(process, signal.SIGSTOP)
            left.update((one.pid, one.start_ticks) for one in processes.family([process.pid]))
            processes.send_signal(process, signal.SIGKILL)
    return left


def end_strays(herd: Herd, folder: str, left: set[Identity]) -> None:
    """KILL what belongs to none of the herd's containers: marked as this node's, or ``left`` by a predecessor."""
    spared = _ancestors()
    containers = f"{folder}/{records.CONTAINERS}"
    watched = {container.pid for container in herd.live.values()}
    deadline = time.monotonic() + _PATIENCE_S
    told: set[Identity] = set()
    while True:
        strays = [
            process
            for process in processes.everyone()
            if process.alive
            and process.pid not in spared
            and process.session not in watched
            and _is_stray(process, herd, containers, left)
        ]
        if not strays:
            return
        if time.monotonic() > deadline:
            log(f"these do not end, though killed: {[process.pid for process in strays]}")
            return
        for process in strays:
            if (identity := (process.pid, process.start_ticks)) not in told:
                told.add(identity)
                log(f"nobody knows of process {process.pid} of this node: it ends")
            processes.send_signal(process, signal.SIGKILL)
        time.sleep(_LOOK_AGAIN_S)


def _is_stray(process: Process, herd: Herd, containers: str, left: set[Identity]) -> bool:
    folder, _, container_id = processes.variable_of(process.pid, "HRM_CONTAINER_DIR").rpartition("/")
    if folder and os.path.realpath(folder) == containers:
        return container_id not in herd.live
    return (process.pid, process.start_ticks) in left


def _is_shepherd_of(process: Process, folder: str) -> bool:
    command = (processes.read_file(f"/proc/{process.pid}/cmdline") or b"").split(b"\0")
    for at, word in enumerate(command):
        if word.endswith(_PROGRAM):
            return any(os.path.realpath(os.fsdecode(one)) == folder for one in command[at + 1 :] if one[:1] == b"/")
    return False


def _ancestors() -> set[int]:
    """Ourselves, and whoever had us started: a server may have been started by one of its own containers."""
    found: set[int] = set()
    pid = os.getpid()
    while pid > 0 and pid not in found and (process := processes.look_up(pid)):
        found.add(pid)
        pid = process.ppid
    return found
