"""What a Ray worker inherits that containers must not, and whether Ray would end them."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

#: Prints the name of the program that a process without a parent is given to.
_ORPHAN = """
import os, time
read_fd, write_fd = os.pipe()
if not os.fork():
    mother = os.getpid()
    if not os.fork():
        os.setsid()
        while os.getppid() == mother:
            time.sleep(0.001)
        with open(f"/proc/{os.getppid()}/comm", "rb") as file:
            os.write(write_fd, file.read().strip())
    os._exit(0)
os.wait()
os.close(write_fd)
os.write(1, os.read(read_fd, 64))
"""
_PROBE_LIMIT_S = 10.0
_RAYLET = "raylet"


async def reaper() -> str:
    """By whom Ray has orphans ended, "" iff by nobody.

    The shepherd is one: it has to outlive whoever started it. Found out by making one, because the setting
    (``kill_child_processes_on_worker_exit_with_raylet_subreaper``) is the raylet's and cannot be read from here.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", "-c", _ORPHAN, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), _PROBE_LIMIT_S)
    except TimeoutError:
        process.kill()
        return ""
    keeper = out.decode(errors="replace")
    return keeper if keeper == _RAYLET else ""


def shed_inheritance() -> str:
    """Be as a plain process: Ray has its workers run at low priority and die first.

    What containers would inherit and cannot be taken back, in words; "" iff nothing.
    """
    kept = []
    try:
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    except OSError:
        kept.append(f"Ray gave its workers niceness {os.nice(0)} (RAY_worker_niceness)")
    adjustment = Path("/proc/self/oom_score_adj")
    try:
        adjustment.write_text("0")
    except OSError:
        kept.append("Ray has its workers killed first when memory is short (RAY_worker_oom_score_adjustment)")
    # Its libraries may want one thread each; containers decide for themselves.
    os.environ.pop("OMP_NUM_THREADS", None)
    return "; ".join(kept)
