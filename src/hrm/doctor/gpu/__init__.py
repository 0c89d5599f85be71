"""Checks of GPUs and their driver."""

from __future__ import annotations

from hrm.doctor.checks import Check, Fact
from hrm.doctor.gpu import (
    complaints,
    device_links,
    devices,
    driver,
    installers,
    module,
    programs,
    state,
    upkeep,
    xid,
)

_OF_THE_DRIVER: tuple[Check, ...] = (
    driver.driver_and_library_agree,
    driver.driver_is_the_wanted_one,
    driver.libraries_are_of_one_driver,
    driver.programs_use_the_systems_libraries,
    module.module_is_loaded,
    module.next_kernel_has_a_module,
    complaints.nothing_is_stuck_in_the_driver,
    complaints.nvidia_smi_answers,
    upkeep.driver_was_installed_one_way,
    upkeep.driver_stays_until_somebody_changes_it,
    upkeep.tools_are_there,
    installers.installers_ended_well,
)
_OF_DEVICES: tuple[Check, ...] = (
    xid.xids,
    devices.on_bus,
    devices.listed,
    devices.counted,
    state.states,
    programs.strays,
    device_links.links,
)
CHECKS: tuple[Check, ...] = (*_OF_THE_DRIVER, *_OF_DEVICES)
FACTS: tuple[Fact, ...] = (driver.loaded_driver, driver.driver_library, devices.devices)
