"""Checks of the machine itself: network, clock, disks, memory, kernel log."""

from __future__ import annotations

from hrm.doctor.checks import Check, Fact

CHECKS: tuple[Check, ...] = ()
FACTS: tuple[Fact, ...] = ()
