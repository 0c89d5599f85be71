"""The driver that the kernel has loaded, and the library that programs load."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.doctor.gpu import driver
from hrm.testing.machines import Machine

NVML = "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1"
LOADED = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  418.39  Sat Feb  9 19:19:37 CST 2019\nGCC version:  gcc 7.3.0\n"
)
LOADED_OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  535.104.05  Release Build  (dvs-builder)\n"
UPGRADE = "2020-07-29 06:42:11 upgrade nvidia-utils-440:amd64 440.64.00-0ubuntu0 440.100-0ubuntu0.18.04.1\n"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(("loaded", "version"), [(LOADED, "418.39"), (LOADED_OPEN, "535.104.05")])
def test_a_library_of_another_version_than_the_module_is_found_with_the_lines_that_show_it(
    machine: Machine, loaded: str, version: str
) -> None:
    machine.file(driver.VERSION, loaded).link(NVML, "libnvidia-ml.so.440.100").file(driver.DPKG_LOG, UPGRADE)

    (found,) = machine.findings(driver.driver_and_library_agree)

    assert found.code == "HRM-GPU-001"
    assert found.title.en == f"The kernel has driver {version} loaded, but libnvidia-ml is 440.100"
    assert [evidence.source for evidence in found.evidence] == [driver.VERSION, NVML, driver.DPKG_LOG]
    assert [step.command for step in found.cure] == [
        "rmmod nvidia_drm",
        "rmmod nvidia_modeset",
        "rmmod nvidia_uvm",
        "rmmod nvidia",
        "modprobe nvidia",
        "systemctl reboot",
    ]


def test_a_library_of_the_modules_version_is_well(machine: Machine) -> None:
    machine.file(driver.VERSION, LOADED).link(NVML, "libnvidia-ml.so.418.39")

    assert machine.findings(driver.driver_and_library_agree) == []


def test_a_machine_without_the_driver_is_well(machine: Machine) -> None:
    assert machine.findings(driver.driver_and_library_agree) == []


def test_a_log_that_only_root_may_read_is_said_to_be_unseen(machine: Machine) -> None:
    machine.file(driver.VERSION, LOADED).link(NVML, "libnvidia-ml.so.440.100").denied(driver.DPKG_LOG)

    report = machine.report([driver.driver_and_library_agree])

    assert [found.code for found in report.findings] == ["HRM-GPU-001"]
    assert report.checks_run[0].unseen == (f"{driver.DPKG_LOG}: Permission denied (needs root)",)
