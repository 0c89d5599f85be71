"""The first look at a node's GPUs, when it starts."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from hrm.nm.gpus.allow_list import Entry, check
from hrm.nm.gpus.node_gpus import NodeGpus
from hrm.nm.gpus.probe import GpuProbe, NvmlProbe, has_nvidia_hardware

_log = structlog.get_logger(__name__)


def choose_probe(allow: Sequence[Entry] | None, *, virtual: int = 0) -> GpuProbe | None:
    """What to ask about GPUs; None where there is nothing to ask: virtual ones, none lent, none in the machine."""
    if virtual or (allow is not None and not allow):
        return None
    return NvmlProbe() if allow or has_nvidia_hardware() else None


async def discover(
    node_id: str, probe: GpuProbe | None, *, allow: Sequence[Entry] | None = None, virtual: int = 0
) -> NodeGpus:
    """The node's GPUs, after one look. What cannot be read is no error: the machine can do without GPUs meanwhile.

    Raises NoSuchGpu where the allow-list names one that is not there.
    """
    if virtual:
        return NodeGpus.virtual(node_id, virtual)
    gpus = NodeGpus(allow)
    if probe is None:
        return gpus
    reading = await probe.read()
    if reading.failure is None:
        check(allow or (), reading.gpus)
    gpus.take(reading)
    if gpus.message:
        _log.warning("not all GPUs can be lent", lent=len(gpus.devices), message=gpus.message)
    return gpus
