"""What a shepherd takes over from one that died: ends not yet acknowledged, and containers that still run."""

from __future__ import annotations

import os
import time
from typing import Any

from hrm.nm.cpus.pins import parse_cpus
from hrm.nm.shepherd import processes, records
from hrm.nm.shepherd.container import Container
from hrm.nm.shepherd.herd import Herd
from hrm.nm.shepherd.run_records import BETWEEN


def recover(herd: Herd) -> None:
    """Fill the herd from the records. Who is neither ended nor alive is LOST: nobody saw how it ended."""
    for container_id in sorted(os.listdir(records.ENDED)):
        _, record = records.read(f"{records.ENDED}/{container_id}")
        if record:
            herd.ends.kept[container_id] = record
        else:
            # Torn by a loss of power. Moved back, it is told as what it is.
            os.rename(f"{records.ENDED}/{container_id}", f"{records.RUNNING}/{container_id}")
    for container_id in sorted(filter(records.is_container_id, os.listdir(records.RUNNING))):
        _take_over(herd, container_id)
    for container_id in os.listdir(records.INPUTS):
        # Its keeper died with the shepherd: input that nobody guards is at its end.
        os.unlink(f"{records.INPUTS}/{container_id}")
    herd.settle()


def _take_over(herd: Herd, container_id: str) -> None:
    path = f"{records.RUNNING}/{container_id}"
    identity, record = records.read(path)
    if record:
        # Written whole, and not yet moved.
        os.rename(path, f"{records.ENDED}/{container_id}")
        herd.ends.kept[container_id] = record
        return
    container = Container(container_id)
    between = identity is not None and identity.get(BETWEEN, False)
    launch = 1 if identity is None else identity.get("launch", 1)
    if identity is None or between:
        # Started, and not written down; a launch after others as well as the first.
        found = _find(herd, container_id)
        identity = found or identity
        if found and between:
            found["launch"], between = launch + 1, False
        if found:
            container.record_fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            os.write(container.record_fd, records.encode_line(found))
    if identity is None:
        detail = "nobody saw whether it started"
    else:
        container.pid, container.started_at = identity["pid"], identity["started_at"]
        container.identity = identity
        container.limits = identity.get("limits")
        container.own_cpus = tuple(identity.get("own_cpus", ()))
        container.launch = identity.get("launch", 1)
        container.account = identity.get("account") or processes.account_of(container.pid)
        if identity["boot_id"] != herd.boot_id:
            detail = "the machine was started anew"
        elif between:
            detail = "its shepherd died when it was to be started anew"
        elif herd.adopt(container, identity["start_ticks"]):
            return
        else:
            detail = "it ended while no shepherd was there"
    herd.ends.write(container, reason="lost", code=None, detail=detail)


def _own_cpus(pid: int) -> tuple[int, ...]:
    try:
        return parse_cpus(processes.variable_of(pid, "HRM_CPUS"))
    except ValueError:
        return ()


def _find(herd: Herd, container_id: str) -> dict[str, Any] | None:
    """The first process of a container whose shepherd died between starting it and writing that down."""
    for process in processes.everyone():
        if process.pid == process.session and processes.container_of(process.pid) == container_id:
            age_s = (processes.ticks_since_boot() - process.start_ticks) / processes.TICKS_PER_S
            return {
                "pid": process.pid,
                "start_ticks": [process.start_ticks, process.start_ticks],
                "boot_id": herd.boot_id,
                "started_at": time.time() - age_s,
                "own_cpus": _own_cpus(process.pid),
            }
    return None
