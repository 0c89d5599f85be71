"""Checks of the disk array, iSCSI, NFS and mounts."""

from __future__ import annotations

from hrm.doctor.checks import Check, Fact
from hrm.doctor.storage import initiator, sessions, targets

CHECKS: tuple[Check, ...] = (
    initiator.initiator_is_the_recorded_one,
    sessions.sessions_are_there,
    sessions.sessions_bring_disks,
    targets.targets_without_a_session,
)
FACTS: tuple[Fact, ...] = (initiator.initiator_name,)
