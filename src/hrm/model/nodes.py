"""What a node is made of."""

from __future__ import annotations

from dataclasses import dataclass

from hrm.model.ids import parse_node_id
from hrm.model.resources import Resources

DEFAULT_RACK = "/default-rack"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSpec:
    """One GPU, real or virtual."""

    #: NVML's UUID (``GPU-20fbec52-…``); a virtual one is ``VGPU-<node>-<index>``.
    device_id: str
    index: int
    model: str
    memory_mib: int = 0
    #: True iff it does no arithmetic; shown as virtual in every output.
    virtual: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """One machine as the scheduler sees it. ``total.gpus_milli`` is 1000 × the number of ``devices``."""

    node_id: str
    total: Resources
    devices: tuple[DeviceSpec, ...] = ()
    rack: str = DEFAULT_RACK
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        parse_node_id(self.node_id)
        if self.total.gpus_milli != 1000 * len(self.devices):
            raise ValueError(f"{self.node_id}: {self.total.gpus_milli} GPU milli for {len(self.devices)} devices")
