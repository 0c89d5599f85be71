"""Checks of GPUs and their driver."""

from __future__ import annotations

from hrm.doctor.checks import Check, Fact
from hrm.doctor.gpu import device_links, devices, driver, programs, state, xid

CHECKS: tuple[Check, ...] = (
    driver.driver_and_library_agree,
    xid.xids,
    devices.on_bus,
    devices.listed,
    devices.counted,
    state.states,
    programs.strays,
    device_links.links,
)
FACTS: tuple[Fact, ...] = (driver.loaded_driver, devices.devices)
