"""What is expected of the machine itself: network, clock, disks, memory, kernel log."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineExpected:
    """The section `doctor.machine` of ``hrm.yaml``."""
