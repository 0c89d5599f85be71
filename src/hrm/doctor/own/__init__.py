"""Checks that a site makes in its configuration."""

from __future__ import annotations

from hrm.doctor.checks import Check, Fact
from hrm.doctor.own import checks

CHECKS: tuple[Check, ...] = (checks.own_lines_hold, checks.health_script_says_nothing)
FACTS: tuple[Fact, ...] = ()
