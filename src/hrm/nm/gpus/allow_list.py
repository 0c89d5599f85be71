"""Which GPUs of a machine are lent: all, or those that the operator lists by index or UUID.

As Mesos' ``--nvidia_gpu_devices``: lent and unlent GPUs live side by side, and HRM never touches the unlent ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from hrm.model.errors import InvalidInput
from hrm.nm.gpus.reading import GpuReading

#: An index as ``nvidia-smi`` shows it, a UUID, or a beginning of one that only one GPU has.
Entry = int | str


class NoSuchGpu(InvalidInput):
    """The allow-list names a GPU that is not there. ``position`` is the entry's in the list."""

    def __init__(self, position: int, problem: str, gpus: Sequence[GpuReading]) -> None:
        self.position = position
        there = ", ".join(f"{gpu.index} ({gpu.model or 'unreadable'}, {gpu.uuid or gpu.message})" for gpu in gpus)
        super().__init__(
            problem,
            field=f"node.gpu_devices[{position}]",
            next_step=f"there are: {there}" if gpus else "there are no GPUs here; leave gpu_devices out",
        )


def find(entry: Entry, gpus: Sequence[GpuReading]) -> GpuReading | None:
    """The GPU that an entry names; None iff there is none, or more than one."""
    if isinstance(entry, int):
        found = [gpu for gpu in gpus if gpu.index == entry]
    else:
        found = [gpu for gpu in gpus if gpu.uuid.lower().startswith(entry.lower())]
    return found[0] if len(found) == 1 else None


def check(allow: Sequence[Entry], gpus: Sequence[GpuReading]) -> None:
    """Raises NoSuchGpu for the first entry that names none of ``gpus``."""
    for position, entry in enumerate(allow):
        if find(entry, gpus) is not None:
            continue
        if isinstance(entry, int):
            raise NoSuchGpu(position, f"no GPU {entry} here", gpus)
        # One that does not answer may be the one that is meant.
        if all(gpu.uuid for gpu in gpus):
            several = sum(gpu.uuid.lower().startswith(entry.lower()) for gpu in gpus)
            raise NoSuchGpu(position, f"{several} GPUs begin with {entry}" if several else f"no GPU {entry} here", gpus)
