"""Checks of Kubernetes."""

from __future__ import annotations

from hrm.doctor.checks import Check, Fact

CHECKS: tuple[Check, ...] = ()
FACTS: tuple[Fact, ...] = ()
