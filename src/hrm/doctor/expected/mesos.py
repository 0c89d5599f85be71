"""What is expected of Mesos."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MesosExpected:
    """The section `doctor.mesos` of ``hrm.yaml``."""
