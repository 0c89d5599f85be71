"""What a node tells about its devices while it runs: health, use, and who is on them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hrm.model.nodes import DeviceSpec


class DeviceState(StrEnum):
    """Whether a device of a node takes work."""

    LENT = "lent"
    UNLENT = "unlent"  #: the allow-list of the node leaves it to others
    SICK = "sick"  #: would be lent; comes back when it is well
    LOST = "lost"  #: does not answer any more; what ran on it cannot go on


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceProcess:
    """A process that holds memory of a GPU."""

    pid: int
    #: Name of its program and of its user; "" where they cannot be seen.
    name: str = ""
    user: str = ""
    #: None where the driver does not tell.
    memory_mib: int | None = None
    #: HRM's container that it belongs to; None iff it is foreign.
    container_id: str | None = None
    #: Of a foreign one, the container of another engine that it runs in, as ``docker 534917b1443a``; "" iff none.
    within: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceUsage:
    """One device as it was last seen. The figures are None where nobody tells them (virtual devices, lost ones)."""

    device: DeviceSpec
    state: DeviceState = DeviceState.LENT
    #: What is wrong with it; "" iff nothing.
    message: str = ""
    utilisation_percent: int | None = None
    temperature_c: int | None = None
    memory_used_mib: int | None = None
    processes: tuple[DeviceProcess, ...] = ()
