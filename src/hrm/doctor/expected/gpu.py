"""What the GPUs of a node and their software are to be like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hrm.doctor.expected.about import about, about_each


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuExpected:
    """The section `doctor.gpu` of ``hrm.yaml``."""

    driver: str | None = about(
        "Version of the driver that nodes are to have, for example 418.39; 535 stands for all 535.x.", None
    )
    installer: str | None = about("The runfile that brings this driver, where nodes find it. Cures run it.", None)
    count: int | None = about("How many GPUs a node has that has any.", None)
    counts: Mapping[str, int] = about_each("How many GPUs single nodes have, by hostname.")
    uuids: Mapping[str, tuple[str, ...]] = about_each(
        "Which GPUs single nodes have, by hostname: their UUIDs as nvidia-smi -L lists them."
    )
