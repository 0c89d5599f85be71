"""Checks of Java and its native libraries."""

from __future__ import annotations

from hrm.doctor.checks import Check, Fact
from hrm.doctor.java import native, versions

CHECKS: tuple[Check, ...] = (
    versions.the_wanted_one_is_the_default,
    versions.home_is_right,
    native.libraries_can_be_loaded,
)
FACTS: tuple[Fact, ...] = (versions.default_version,)
