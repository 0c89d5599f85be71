"""What is expected of Docker."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerExpected:
    """The section `doctor.docker` of ``hrm.yaml``."""
