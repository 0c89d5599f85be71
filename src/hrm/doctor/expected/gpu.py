"""What the GPUs of a node and their software are to be like."""

from __future__ import annotations

from dataclasses import dataclass

from hrm.doctor.expected.about import about


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuExpected:
    """The section `doctor.gpu` of ``hrm.yaml``."""

    driver: str | None = about("Version of the driver that nodes are to have, for example 418.39.", None)
