"""Checks of Java and its native libraries."""

from __future__ import annotations

from hrm.doctor.checks import Check, Fact

CHECKS: tuple[Check, ...] = ()
FACTS: tuple[Fact, ...] = ()
