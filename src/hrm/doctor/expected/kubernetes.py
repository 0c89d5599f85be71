"""What is expected of Kubernetes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesExpected:
    """The section `doctor.kubernetes` of ``hrm.yaml``."""
