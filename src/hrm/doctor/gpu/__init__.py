"""Checks of GPUs and their driver."""

from __future__ import annotations

from hrm.doctor.checks import Check, Fact
from hrm.doctor.gpu import devices, driver, xid

CHECKS: tuple[Check, ...] = (driver.driver_and_library_agree, xid.xids, devices.on_bus, devices.listed, devices.counted)
FACTS: tuple[Fact, ...] = (driver.loaded_driver, devices.devices)
