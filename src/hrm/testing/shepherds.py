"""Ending shepherds, which outlive whoever started them, and so a test too."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
from functools import partial
from pathlib import Path

from hrm.nm.shepherd import processes, records
from hrm.testing.conditions import eventually

_TIMEOUT_S = 60.0


def shepherd_pid(state_dir: Path) -> int | None:
    """The pid of the latest shepherd of a node's state directory, None if there never was one."""
    try:
        identity, _ = records.read(str(state_dir / records.LOCK))
    except FileNotFoundError:
        return None
    return identity["pid"] if identity else None


def kill_shepherd(state_dir: Path) -> None:
    """KILL the shepherd of a node, as a crash would, and return once it has ended. No error if there is none.

    What it had started runs on.
    """
    pid = shepherd_pid(state_dir)
    if pid is None:
        return
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        # The number may be another's by now. Where it stands does not tell: it moves about while it starts a program.
        if b"/hrm/nm/shepherd\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            ended, _, _ = select.select([pidfd], [], [], _TIMEOUT_S)
            assert ended, f"the shepherd {pid} did not end"
    except (ProcessLookupError, FileNotFoundError):
        # It ended by itself meanwhile.
        return
    finally:
        os.close(pidfd)


def kill_herd(state_dir: Path) -> None:
    """KILL the shepherd of a node and everything that it left running. For the end of a test."""
    kill_shepherd(state_dir)
    running = state_dir / records.RUNNING
    for path in running.glob("[!.]*"):
        identity, _ = records.read(str(path))
        if identity and identity["boot_id"] == records.boot_id():
            _kill_session(identity["pid"], identity["start_ticks"])
    for base in cgroups_of(state_dir):
        # Who is halted in version 1 dies only when it goes on.
        for state in base.rglob("freezer.state"):
            state.write_text("THAWED")
    for base in cgroups_of(state_dir):
        _remove_cgroup(base)


def cgroups_of(state_dir: Path) -> list[Path]:
    """Directories of the node's cgroups, one for each hierarchy, that are there."""
    try:
        bases = json.loads((state_dir / records.CGROUPS).read_text())
    except FileNotFoundError:
        return []
    return [Path(base) for base in bases if os.path.isdir(base)]


def _remove_cgroup(base: Path) -> None:
    for folder, _, _ in os.walk(base, topdown=False):
        eventually(partial(_emptied, folder), describe=f"{folder} is empty")


def _emptied(folder: str) -> bool:
    try:
        for pid in Path(folder, "cgroup.procs").read_text().split():
            if process := processes.look_up(int(pid)):
                processes.send_signal(process, signal.SIGKILL)
        os.rmdir(folder)
    except FileNotFoundError:
        return True
    except OSError as error:
        assert error.errno == errno.EBUSY, error
        return False
    return True


def _kill_session(pid: int, start_ticks: list[int]) -> None:
    for process in processes.everyone():
        if process.session == pid and process.start_ticks >= start_ticks[0]:
            processes.send_signal(process, signal.SIGKILL)
