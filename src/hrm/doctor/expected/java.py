"""What is expected of Java and its native libraries."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class JavaExpected:
    """The section `doctor.java` of ``hrm.yaml``."""
