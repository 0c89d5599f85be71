"""GPUs played from recordings: what `hrm.nm.gpus.reading` has written down is seen again, by whoever has none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from hrm.nm.gpus.reading import Reading


class RecordedProbe:
    """A `hrm.nm.gpus.probe.GpuProbe` that shows ``reading`` until it is given another."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        #: How often somebody has looked.
        self.looks = 0

    async def read(self) -> Reading:
        self.looks += 1
        return self.reading

    @classmethod
    def play(cls, path: Path) -> RecordedProbe:
        """Of a file with one reading. Raises ValueError where it is none."""
        return cls(Reading.from_json(path.read_bytes()))


def with_gpu(reading: Reading, index: int, **changes: Any) -> Reading:
    """The same machine, with one GPU changed."""
    gpus = tuple(replace(gpu, **changes) if gpu.index == index else gpu for gpu in reading.gpus)
    return replace(reading, gpus=gpus)


def without_gpu(reading: Reading, index: int) -> Reading:
    """The same machine after one GPU has left the bus: those behind it move up."""
    rest = [gpu for gpu in reading.gpus if gpu.index != index]
    return replace(reading, gpus=tuple(replace(gpu, index=position) for position, gpu in enumerate(rest)))
