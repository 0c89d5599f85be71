"""Checks of the disk array, iSCSI, NFS and mounts."""

from __future__ import annotations

from hrm.doctor.checks import Check, Fact
from hrm.doctor.storage import initiator, nfs_client, nfs_exports, nfs_mounts, nfs_service, sessions, targets

CHECKS: tuple[Check, ...] = (
    initiator.initiator_is_the_recorded_one,
    sessions.sessions_are_there,
    sessions.sessions_bring_disks,
    targets.targets_without_a_session,
    nfs_service.server_runs,
    nfs_service.rpcbind_knows_the_server,
    nfs_exports.exports_are_right,
    nfs_exports.expected_exports_are_there,
    nfs_service.clients_have_what_is_exported,
    nfs_client.mount_helper_is_there,
    nfs_client.servers_export_what_is_mounted,
    nfs_mounts.mounts_answer,
    nfs_mounts.mounting_ends,
)
FACTS: tuple[Fact, ...] = (initiator.initiator_name,)
