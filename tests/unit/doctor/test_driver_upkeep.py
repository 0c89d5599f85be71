"""What will break the driver some day."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.doctor.expected import Expected
from hrm.doctor.expected.gpu import GpuExpected
from hrm.doctor.gpu import driver, packages, upkeep
from hrm.model.findings import Finding
from hrm.testing.machines import Machine

KERNEL = "4.15.0-122-generic"
LOADED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  418.39  Sat Feb  9 19:19:37 CST 2019\n"
RUNFILE = "418.39\nNVIDIA Accelerated Graphics Driver for Linux-x86_64 (418.39)\n"
PACKAGES = """\
ii  libnvidia-compute-440 440.100-0ubuntu0.18.04.1
ii  libnvidia-container1 1.2.0-1
ii  nvidia-driver-440 440.100-0ubuntu0.18.04.1
ii  nvidia-settings 440.82-0ubuntu0.18.04.1
"""
UNLOAD = ["rmmod nvidia_drm", "rmmod nvidia_modeset", "rmmod nvidia_uvm", "rmmod nvidia"]
THE_PACKAGES = Expected(gpu=GpuExpected(driver="440.100"))
WANTED = Expected(gpu=GpuExpected(driver="418.39"))
UPGRADES = f"{upkeep.APT_CONFIG}/20auto-upgrades"
ON = 'APT::Periodic::Update-Package-Lists "1";\nAPT::Periodic::Unattended-Upgrade "1";\n'
BY_ITSELF = """
Start-Date: 2020-07-29  06:42:07
Commandline: /usr/bin/unattended-upgrade
Upgrade: nvidia-driver-440:amd64 (440.64.00-0ubuntu0, 440.100-0ubuntu0.18.04.1)
End-Date: 2020-07-29  06:42:40
"""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path).file("/proc/sys/kernel/osrelease", f"{KERNEL}\n")


def dpkg(machine: Machine, text: str = PACKAGES) -> Machine:
    return machine.command(*packages.QUERY, stdout=text).file("/usr/sbin/rmmod", mode=0o755)


def commands(finding: Finding) -> list[str]:
    return [step.command or step.about.en for step in finding.cure]


def test_a_runfiles_driver_beside_one_of_packages_is_found(machine: Machine) -> None:
    dpkg(machine).file(packages.RUNFILE_LOG, RUNFILE)

    (found,) = machine.findings(upkeep.driver_was_installed_one_way)

    assert (found.code, found.severity) == ("HRM-DRIVER-011", "warning")
    assert "runfile (418.39) and one from packages (440.100)" in found.title.en
    assert found.evidence[0].text == "418.39"
    assert commands(found)[0].startswith("Decide which version")


def test_the_packages_are_removed_where_the_runfiles_driver_is_wanted(machine: Machine) -> None:
    dpkg(machine).file(packages.RUNFILE_LOG, RUNFILE)

    (found,) = machine.findings(upkeep.driver_was_installed_one_way, WANTED)

    assert commands(found)[:7] == [
        *UNLOAD,
        "apt-mark hold libnvidia-container1",
        "apt-get purge -y libnvidia-compute-440 nvidia-driver-440",
        "apt-mark unhold libnvidia-container1",
    ]
    assert commands(found)[-1] == "ldconfig"


def test_the_runfiles_driver_is_removed_where_that_of_the_packages_is_wanted(machine: Machine) -> None:
    dpkg(machine).file("/usr/bin/nvidia-uninstall").denied(packages.RUNFILE_LOG)

    (found,) = machine.findings(upkeep.driver_was_installed_one_way, Expected(gpu=GpuExpected(driver="440")))

    assert commands(found) == [
        *UNLOAD,
        "nvidia-uninstall --silent",
        "apt-get install --reinstall -y libnvidia-compute-440 nvidia-driver-440",
        "ldconfig",
        "modprobe nvidia",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ii  libnvidia-container1 1.2.0-1\nii  nvidia-settings 440.82-1\nii  nvidia-modprobe 440.82-1\n",
        "rc  nvidia-driver-440 440.100-0ubuntu0.18.04.1\nun  nvidia-utils <none>\n",
    ],
)
def test_a_runfiles_driver_without_one_of_packages_is_well(machine: Machine, text: str) -> None:
    dpkg(machine, text).file(packages.RUNFILE_LOG, RUNFILE)

    assert machine.findings(upkeep.driver_was_installed_one_way, WANTED) == []


def test_a_driver_of_packages_alone_is_well(machine: Machine) -> None:
    assert dpkg(machine).findings(upkeep.driver_was_installed_one_way, WANTED) == []


def test_packages_that_may_be_updated_at_any_time_are_worth_knowing(machine: Machine) -> None:
    dpkg(machine).file(UPGRADES, ON)

    (found,) = machine.findings(upkeep.driver_stays_until_somebody_changes_it)

    assert (found.code, found.severity) == ("HRM-DRIVER-012", "info")
    assert (found.evidence[0].source, found.evidence[0].line) == (UPGRADES, 2)
    assert commands(found) == ["apt-mark hold libnvidia-compute-440 nvidia-driver-440"]


def test_where_a_version_is_wanted_or_was_changed_once_it_is_a_warning(machine: Machine) -> None:
    dpkg(machine).file(UPGRADES, ON)
    wanted = machine.findings(upkeep.driver_stays_until_somebody_changes_it, THE_PACKAGES)
    machine.file(packages.APT_HISTORY, BY_ITSELF)
    changed = machine.findings(upkeep.driver_stays_until_somebody_changes_it)

    assert [found.severity for found in wanted + changed] == ["warning", "warning"]
    assert "unattended-upgrade" in changed[0].evidence[1].text


def test_a_driver_that_is_to_go_is_not_held(machine: Machine) -> None:
    dpkg(machine).file(UPGRADES, ON)
    not_wanted = machine.findings(upkeep.driver_stays_until_somebody_changes_it, WANTED)
    machine.file(driver.VERSION, LOADED)
    not_loaded = machine.findings(upkeep.driver_stays_until_somebody_changes_it)

    assert (not_wanted, not_loaded) == ([], [])


def test_only_packages_that_are_not_held_yet_are_named(machine: Machine) -> None:
    dpkg(machine, PACKAGES.replace("ii  nvidia-driver", "hi  nvidia-driver")).file(UPGRADES, ON)

    (found,) = machine.findings(upkeep.driver_stays_until_somebody_changes_it)

    assert commands(found) == ["apt-mark hold libnvidia-compute-440"]


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"20auto-upgrades": ON.replace('Upgrade "1"', 'Upgrade "0"')},
        {"20auto-upgrades": ON, "99off": 'APT::Periodic::Unattended-Upgrade "0";\n'},
        {"20auto-upgrades": f"// {ON.splitlines()[1]}\n"},
        {
            "20auto-upgrades": ON,
            "50unattended-upgrades": 'Unattended-Upgrade::Package-Blacklist {\n  // "vim";\n  "nvidia-";\n};\n',
        },
    ],
)
def test_where_updates_do_not_come_by_themselves_nothing_need_be_held(machine: Machine, files: dict[str, str]) -> None:
    dpkg(machine)
    for name, text in files.items():
        machine.file(f"{upkeep.APT_CONFIG}/{name}", text)

    assert machine.findings(upkeep.driver_stays_until_somebody_changes_it, THE_PACKAGES) == []


def test_a_blacklist_that_is_only_a_remark_spares_nothing(machine: Machine) -> None:
    remark = 'Unattended-Upgrade::Package-Blacklist {\n//  "nvidia-";\n};\n'
    dpkg(machine).file(UPGRADES, ON).file(f"{upkeep.APT_CONFIG}/50unattended-upgrades", remark)

    assert machine.findings(upkeep.driver_stays_until_somebody_changes_it) != []


def test_packages_that_are_all_held_are_well(machine: Machine) -> None:
    dpkg(machine, PACKAGES.replace("ii ", "hi ")).file(UPGRADES, ON)

    assert machine.findings(upkeep.driver_stays_until_somebody_changes_it, THE_PACKAGES) == []


def test_missing_tools_are_said(machine: Machine) -> None:
    machine.file(driver.VERSION, LOADED).directory("/usr/src/nvidia-418.39")

    found = machine.findings(upkeep.tools_are_there)

    assert {(one.code, commands(one)[0]) for one in found} == {
        ("HRM-DRIVER-013", "apt-get install -y kmod"),
        ("HRM-DRIVER-026", "apt-get install -y dkms"),
        ("HRM-DRIVER-027", "apt-get install -y lsof"),
    }
    assert next(one.severity for one in found if one.code == "HRM-DRIVER-027") == "info"


def test_a_machine_without_the_driver_needs_no_tools(machine: Machine) -> None:
    assert machine.findings(upkeep.tools_are_there) == []


@pytest.fixture
def with_tools(machine: Machine) -> Machine:
    for tool in ("rmmod", "modprobe", "lsof", "dkms"):
        machine.file(f"/usr/sbin/{tool}", mode=0o755)
    return machine.file(driver.VERSION, LOADED)


def test_a_runfiles_module_that_dkms_does_not_know_will_be_gone_with_the_next_kernel(with_tools: Machine) -> None:
    with_tools.file(f"/lib/modules/{KERNEL}/kernel/drivers/video/nvidia.ko").directory("/usr/src/nvidia-418.39")

    (found,) = with_tools.findings(upkeep.tools_are_there)

    assert found.code == "HRM-DRIVER-014"
    assert commands(found) == [f"dkms install -m nvidia -v 418.39 -k {KERNEL} --force"]


@pytest.mark.parametrize(
    "files",
    [
        [f"/lib/modules/{KERNEL}/updates/dkms/nvidia.ko"],
        [f"/lib/modules/{KERNEL}/kernel/drivers/video/nvidia.ko", "/var/lib/dkms/nvidia/418.39/source"],
        [f"/lib/modules/{KERNEL}/kernel/nvidia-535/nvidia.ko"],
        [],
    ],
)
def test_a_module_that_somebody_looks_after_is_well(with_tools: Machine, files: list[str]) -> None:
    for file in files:
        with_tools.file(file)

    assert with_tools.findings(upkeep.tools_are_there) == []
