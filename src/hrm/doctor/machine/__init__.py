"""Checks of the machine itself: network, clock, disks, memory, kernel log."""

from __future__ import annotations

from hrm.doctor.checks import Check, Fact
from hrm.doctor.machine import clock, facts, kernel, links, memory, names, routes, space

CHECKS: tuple[Check, ...] = (
    routes.there_is_a_way_out,
    routes.gateways_lie_in_their_networks,
    routes.netmasks_fit_the_networks,
    routes.nobody_else_has_this_address,
    links.links_are_as_fast_as_they_can_be,
    links.links_lose_nothing,
    links.interfaces_with_addresses_have_a_link,
    names.the_machines_name_leads_to_it,
    names.the_hosts_file_is_unambiguous,
    names.names_can_be_looked_up,
    clock.the_clock_is_kept_right,
    clock.the_time_service_runs,
    memory.memory_is_left,
    memory.memory_is_not_swapped_to_and_fro,
    memory.older_kernels_do_not_swap_to_and_fro,
    memory.modules_have_no_errors,
    memory.machine_is_as_large_as_it_is_to_be,
    space.disks_have_room,
    space.disks_have_inodes,
    kernel.no_memory_ran_out,
    kernel.disks_have_no_errors,
    kernel.file_systems_have_no_errors,
    kernel.nothing_hangs,
    kernel.hardware_reports_no_errors,
    kernel.no_process_waits_in_the_kernel,
)
FACTS: tuple[Fact, ...] = (
    facts.distribution,
    facts.kernel,
    facts.gateway,
    facts.network,
    facts.servers,
    facts.time_zone,
)
