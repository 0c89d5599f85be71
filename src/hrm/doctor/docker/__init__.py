"""Checks of Docker."""

from __future__ import annotations

from hrm.doctor.checks import Check, Fact
from hrm.doctor.docker import cgroups, daemon, disk, ends, flags, gpus, lingering

CHECKS: tuple[Check, ...] = (
    daemon.daemon_answers,
    daemon.socket_is_kept_from_others,
    daemon.configuration_can_be_read,
    flags.nothing_is_set_twice,
    lingering.nothing_lingers,
    gpus.containers_get_gpus,
    gpus.runtimes_are_there,
    ends.ended_containers_are_explained,
    disk.disk_has_room,
    cgroups.cgroup_drivers_agree,
)
FACTS: tuple[Fact, ...] = (daemon.version, disk.data_root, cgroups.cgroup_driver)
