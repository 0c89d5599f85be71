"""Checks of the disk array, iSCSI, NFS and mounts."""

from __future__ import annotations

from hrm.doctor.checks import Check, Fact
from hrm.doctor.storage import (
    disk_boot,
    disk_mounts,
    disk_probe,
    initiator,
    nfs_client,
    nfs_exports,
    nfs_mounts,
    nfs_service,
    sessions,
    targets,
)

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
    disk_mounts.mounts_are_as_planned,
    disk_boot.fstab_names_disks_that_stay,
    disk_boot.mounts_come_back,
    disk_boot.rc_local_works_at_boot,
    disk_probe.mounts_can_be_used,
)
FACTS: tuple[Fact, ...] = (initiator.initiator_name, disk_mounts.network_mounts)
