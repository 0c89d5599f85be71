"""What is expected of CUDA, cuDNN and what else programs on GPUs need."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaExpected:
    """The section `doctor.cuda` of ``hrm.yaml``."""
