"""Checks of CUDA, cuDNN and what else programs on GPUs need."""

from __future__ import annotations

from hrm.doctor.checks import Check, Fact

CHECKS: tuple[Check, ...] = ()
FACTS: tuple[Fact, ...] = ()
