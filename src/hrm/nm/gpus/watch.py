"""Looks at a node's GPUs again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from hrm.nm.gpus.node_gpus import NodeGpus
from hrm.nm.gpus.probe import GpuProbe
from hrm.nm.gpus.tenants import identify

_log = structlog.get_logger(__name__)
#: How often GPUs are looked at: a look costs a process that lives for a tenth of a second.
GPU_INTERVAL_S = 15.0


async def watch(
    gpus: NodeGpus,
    probe: GpuProbe,
    interval_s: float,
    *,
    containers: Callable[[], dict[str, int]],
    tell: Callable[[], None],
) -> None:
    """Until it is cancelled. ``containers``: those that run, with their pids. ``tell`` hears of changes."""
    # There was a look at the start; the first one here is early, because only now the containers are known.
    wait_s = min(1.0, interval_s)
    while True:
        await asyncio.sleep(wait_s)
        wait_s = interval_s
        reading = await probe.read()
        pids = [process.pid for gpu in reading.gpus for process in gpu.processes]
        tenants = await asyncio.to_thread(identify, pids, containers()) if pids else {}
        if gpus.take(reading, tenants):
            _log.warning("GPUs changed", lent=len(gpus.devices), message=gpus.message)
            tell()
