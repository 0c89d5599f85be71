"""What a node is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hrm.model.errors import InvalidInput
from hrm.model.ids import parse_node_id
from hrm.model.resources import ZERO, Resources

DEFAULT_RACK = "/default-rack"
#: With this begin the ids of virtual devices, so that they are known wherever a device is named. NVML's never do.
VIRTUAL_PREFIX = "VGPU-"


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
    #: As NVIDIA calls it ("Turing"), and the version of its instruction set ("7.5"); "" where unknown.
    architecture: str = ""
    compute_capability: str = ""
    #: Address on the PCI bus ("00000000:3D:00.0"), "" where it has none.
    pci_bus_id: str = ""
    #: Other devices of the node and what lies between, in the words of ``nvidia-smi topo``: NV1, NV2 … for so many
    #: NVLinks, else PIX, PXB, PHB, NODE, SYS, each farther than the one before.
    links: tuple[tuple[str, str], ...] = ()


def is_virtual(device_id: str) -> bool:
    """True iff the id is that of a virtual device."""
    return device_id.startswith(VIRTUAL_PREFIX)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """One machine as the scheduler sees it. ``total.gpus_milli`` is 1000 × the number of ``devices``."""

    node_id: str
    total: Resources
    devices: tuple[DeviceSpec, ...] = ()
    rack: str = DEFAULT_RACK
    #: Name or address at which other nodes reach it; "" iff that is its id.
    host: str = ""
    #: What it has besides amounts that a request may need, each in the words of an explanation: ``shared path /data``.
    offers: tuple[str, ...] = ()
    #: Names and values, by name (`hrm.model.attributes`).
    attributes: tuple[tuple[str, str], ...] = ()
    #: Its node label (`hrm.model.inventory`), "" iff none; and whether requests without one are kept off it.
    label: str = ""
    exclusive: bool = True

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

    def with_devices(self, devices: tuple[DeviceSpec, ...]) -> NodeSpec:
        """The same machine with exactly these devices."""
        total = replace(self.total, gpus_milli=1000 * len(devices))
        return replace(self, devices=devices, total=total)

    def with_attributes(self, attributes: Mapping[str, str]) -> NodeSpec:
        """The same machine with exactly these attributes."""
        return replace(self, attributes=tuple(sorted(attributes.items())))

    @property
    def size(self) -> str:
        """Its total in words, virtual GPUs marked as such: ``4 vcores, 8 GiB, 2 virtual GPUs``."""
        virtual = sum(device.virtual for device in self.devices)
        if not virtual:
            return str(self.total)
        real = str(self.with_devices(tuple(device for device in self.devices if not device.virtual)).total)
        return f"{real}, {virtual} virtual GPUs"
