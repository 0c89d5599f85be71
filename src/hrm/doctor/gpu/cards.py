"""GPUs of a machine as the driver and the bus have them, by their address on the PCI bus."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hrm.doctor.system import System

#: A directory for each GPU that the driver took; it stays when the GPU falls off the bus.
DRIVER_GPUS = "/proc/driver/nvidia/gpus"
BUS = "/sys/bus/pci/devices"
NVIDIA = "0x10de"
_ADDRESS = re.compile(r"(?:([0-9A-Fa-f]{4,8}):)?([0-9A-Fa-f]{2}):([0-9A-Fa-f]{2})(?:\.[0-7])?")
#: A GPU that was not started has question marks in its UUID.
_UUID = re.compile(r"GPU UUID:\s+(GPU-[0-9a-f-]{36})\b")


@dataclass(frozen=True, slots=True)
class Card:
    """One GPU."""

    #: As the kernel has it: ``0000:3d:00.0``.
    address: str
    #: As nvidia-smi counts, by address.
    index: int
    #: "" where the driver does not know it.
    uuid: str = ""
    model: str = ""
    #: Its device node is ``/dev/nvidia<minor>``.
    minor: int | None = None

    @property
    def id(self) -> str:
        """What findings name it by: its UUID, else its index."""
        return self.uuid or str(self.index)

    @property
    def shown(self) -> str:
        """For people: ``0 (0000:3d:00.0)``."""
        return f"{self.index} ({self.address})"


@dataclass(frozen=True, slots=True)
class Cards:
    """The GPUs of a machine, by address."""

    all: tuple[Card, ...]

    def at(self, address: str) -> Card | None:
        """The one at an address in any of the forms in which it is written; None where there is none."""
        return next((card for card in self.all if card.address == bus_address(address)), None)

    def by_minor(self, minor: int) -> Card | None:
        """The one whose device node has this number."""
        return next((card for card in self.all if card.minor == minor), None)


def bus_address(text: str) -> str:
    """``PCI:0000:3d:00``, ``00000000:3D:00.0`` and ``3d:00.0`` as the kernel writes it: ``0000:3d:00.0``; else ""."""
    found = _ADDRESS.search(text)
    if found is None:
        return ""
    return f"{(found[1] or '0000')[-4:]}:{found[2]}:{found[3]}.0".lower()


def cards(system: System) -> Cards:
    """Those that the driver took; where none is loaded, those on the bus. Raises CannotSee."""
    known = [name for name in system.list(DRIVER_GPUS) if bus_address(name)]
    addresses = sorted(known) or gpus_on_bus(system)
    return Cards(tuple(_card(system, address, index) for index, address in enumerate(addresses)))


def gpus_on_bus(system: System) -> list[str]:
    """Addresses of NVIDIA's display and compute devices, in order. Raises CannotSee."""
    found = []
    for address in system.list(BUS):
        if (system.read(f"{BUS}/{address}/vendor") or "").strip() != NVIDIA:
            continue
        if (system.read(f"{BUS}/{address}/class") or "").startswith("0x03"):
            found.append(address)
    return found


def _card(system: System, address: str, index: int) -> Card:
    about = system.read(f"{DRIVER_GPUS}/{address}/information") or ""
    uuid = _UUID.search(about)
    model = re.search(r"Model:\s+(\S.*)", about)
    minor = re.search(r"Device Minor:\s+(\d+)", about)
    return Card(
        address=bus_address(address),
        index=index,
        uuid=uuid[1] if uuid else "",
        model=model[1].strip() if model else "",
        minor=int(minor[1]) if minor else None,
    )
