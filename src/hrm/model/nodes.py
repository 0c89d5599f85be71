"""What a node is made of."""

from __future__ import annotations

from dataclasses import dataclass

from hrm.model.errors import InvalidInput
from hrm.model.ids import parse_node_id
from hrm.model.resources import ZERO, Resources

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
        if negative := ZERO.exceeding(self.total):
            raise InvalidInput(f"{self.node_id}: cannot be negative: {', '.join(negative)}", field="total")
        if not self.rack.startswith("/"):
            raise InvalidInput(
                f"{self.node_id}: not a rack: {self.rack!r:.80}", field="rack", next_step="begin it with '/'"
            )
        if len({device.device_id for device in self.devices}) != len(self.devices):
            raise InvalidInput(f"{self.node_id}: two devices have one id", field="devices")
        if self.total.gpus_milli != 1000 * len(self.devices):
            raise InvalidInput(
                f"{self.node_id}: {self.total.gpus_milli} GPU milli for {len(self.devices)} devices", field="total"
            )
