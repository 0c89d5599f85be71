"""One look at all GPUs of a machine, as plain values that are written to and read from JSON.

It is what the process that asks NVML prints, and what tests play back: a recording is a file with one reading.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Failure(StrEnum):
    """Why GPUs, or one of them, could not be read, as far as that matters to anybody."""

    MISSING = "missing"  #: there is no NVML here
    UNLOADED = "unloaded"  #: the kernel module is not loaded
    MISMATCH = "mismatch"  #: NVML and the kernel module are of different versions
    TIMEOUT = "timeout"  #: NVML did not answer in time
    LOST = "lost"  #: the GPU fell off the bus, or answers no more
    RESET = "reset"  #: the GPU works again after a reset
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuProcess:
    """A process that holds memory of a GPU."""

    pid: int
    #: None where the driver does not tell.
    memory_mib: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuReading:
    """One GPU. What the driver does not tell is None, or "" for texts."""

    index: int
    #: "" iff the GPU could not even be named; then `failure` says why.
    uuid: str
    model: str = ""
    architecture: str = ""
    compute_capability: str = ""
    memory_mib: int = 0
    memory_used_mib: int | None = None
    pci_bus_id: str = ""
    #: Number N of ``/dev/nvidiaN``.
    minor: int | None = None
    utilisation_percent: int | None = None
    temperature_c: int | None = None
    #: Memory errors that could not be corrected since the driver was loaded.
    uncorrected_errors: int | None = None
    #: Pages (rows, on newer GPUs) that are to be taken out of use at the next reset.
    retirement_pending: bool = False
    #: Rows that should have been replaced and could not.
    remap_failed: bool = False
    #: Divided into instances, each a device of its own.
    mig: bool = False
    failure: Failure | None = None
    #: NVML's own words for the failure.
    message: str = ""
    #: By UUID of the other GPU: NV1, NV2 …, PIX, PXB, PHB, NODE or SYS.
    links: dict[str, str] = field(default_factory=dict)
    processes: tuple[GpuProcess, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """All GPUs, by index; or why they cannot be read."""

    gpus: tuple[GpuReading, ...] = ()
    driver_version: str = ""
    failure: Failure | None = None
    message: str = ""

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> Reading:
        """Raises ValueError where ``text`` is no reading."""
        try:
            plain = json.loads(text)
            return cls(**{**_failed(plain), "gpus": tuple(_gpu(one) for one in plain["gpus"])})
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not a reading of GPUs: {error}") from None


def _gpu(plain: dict[str, Any]) -> GpuReading:
    processes = tuple(GpuProcess(**one) for one in plain.get("processes", ()))
    return GpuReading(**{**_failed(plain), "processes": processes})


def _failed(plain: dict[str, Any]) -> dict[str, Any]:
    failure = plain.get("failure")
    return {**plain, "failure": None if failure is None else Failure(failure)}
