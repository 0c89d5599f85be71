"""Checks of Mesos."""

from __future__ import annotations

from hrm.doctor.checks import Check, Fact
from hrm.doctor.mesos import facts, gpus, identity, lists, recovery, spelling

CHECKS: tuple[Check, ...] = (
    spelling.settings_are_spelt_as_mesos_reads_them,
    spelling.values_are_such_as_mesos_takes,
    identity.address_and_name_are_this_machines,
    identity.addresses_are_those_that_are_known,
    identity.ports_are_free_or_mesos,
    identity.the_master_answers,
    lists.lists_name_each_host_once,
    lists.listed_hosts_are_there,
    gpus.settings_of_gpus_fit_each_other,
    gpus.gpus_are_lent_as_meant,
    recovery.each_daemon_has_a_directory_of_its_own,
    recovery.agent_is_not_kept_from_starting_by_its_past,
)
FACTS: tuple[Fact, ...] = facts.FACTS
