"""Logs of NVIDIA's installers: real errors told from harmless ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.doctor.expected import Expected
from hrm.doctor.expected.gpu import GpuExpected
from hrm.doctor.gpu import driver, installers
from hrm.model.findings import Finding
from hrm.testing.machines import Machine

NVML = "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so"
LOADED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  {}  Sat Feb  9 19:19:37 CST 2019\n"
BEGIN = """\
[INFO]: Driver not installed.
[INFO]: Checking compiler version...
[INFO]: gcc location: /usr/bin/gcc

[INFO]: gcc version: gcc version 7.5.0 (Ubuntu 7.5.0-3ubuntu1~18.04)

[INFO]: Initializing menu
[INFO]: Setup complete
[INFO]: Components to install:
[INFO]: Driver
[INFO]: 418.39
"""
DRIVER_FAILED = (
    BEGIN
    + """\
[INFO]: Executing NVIDIA-Linux-x86_64-418.39.run --ui=none --no-questions --accept-license  2>&1
[INFO]: Finished with code: 256
[ERROR]: Install of driver component failed.
[ERROR]: Install of 418.39 failed, quitting
"""
)
#: As the operators found it: "Completed with errors. See log at /var/log/cuda-installer.log for details."
HARMLESS = (
    BEGIN
    + """\
[INFO]: Skipping copy. File already exists at: /usr/local/cuda-10.1/lib64
[INFO]: Installed: /usr/local/cuda-10.1/targets/x86_64-linux/lib/libcudart.so.10.1
[INFO]: Installed: /usr/local/cuda-10.1/targets/x86_64-linux/lib/libcudart.so.10.1.105
[INFO]: Handle ld conf file
[ERROR]: cuda.conf wasn't handled correctly during upgrade
[INFO]: cuda-nvrtc
[INFO]: /usr/bin/lsb_release
"""
)
HEAD = """\
nvidia-installer log file '/var/log/nvidia-installer.log'
creation time: Mon Aug  3 06:10:11 2020
installer version: 418.39

Using built-in stream user interface
-> Detected 32 CPUs online; setting concurrency level to 32.
-> Installing NVIDIA driver version 418.39.
"""
FAILED = (
    "ERROR: Installation has failed.  Please see the file '/var/log/nvidia-installer.log' for details.  You may find "
    "suggestions on fixing installation problems in the README available on the Linux driver download page at "
    "www.nvidia.com.\n"
)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path).file("/usr/sbin/rmmod", mode=0o755).file("/proc/sys/kernel/osrelease", "4.15.0-122\n")


def works(machine: Machine, version: str = "418.39") -> Machine:
    machine.file(driver.VERSION, LOADED.format(version)).file(f"{NVML}.{version}")
    return machine.link(f"{NVML}.1", f"libnvidia-ml.so.{version}")


def look(machine: Machine, expected: Expected | None = None) -> list[Finding]:
    return machine.findings(installers.installers_ended_well, expected)


def commands(finding: Finding) -> list[str]:
    return [step.command or step.about.en for step in finding.cure]


def test_a_harmless_error_is_told_as_one_and_cured_by_ldconfig(machine: Machine) -> None:
    (found,) = look(works(machine).file(installers.CUDA_LOG, HARMLESS))

    assert (found.code, found.severity) == ("HRM-DRIVER-023", "info")
    assert found.title.en.endswith("cuda.conf wasn't handled correctly during upgrade")
    assert found.evidence[0].line == HARMLESS.splitlines().index(found.evidence[0].text) + 1
    assert commands(found) == ["ldconfig"]


def test_a_log_longer_than_what_is_read_is_understood_by_its_end(machine: Machine) -> None:
    # 39,676 lines, as the one that was found.
    filler = "[INFO]: Installed: /usr/local/cuda-10.1/samples/common/inc/helper_functions.h of the samples\n" * 39_000

    (found,) = look(works(machine).file(installers.CUDA_LOG, filler + HARMLESS))

    assert (found.code, found.evidence[0].line) == ("HRM-DRIVER-023", None)


def test_a_real_error_of_the_toolkit_is_told_from_the_harmless_one_beside_it(machine: Machine) -> None:
    full = '[ERROR]: boost::filesystem::copy_file: No space left on device: "/usr/local/cuda-10.1/lib64/libcublas.so"'

    (found,) = look(works(machine).file(installers.CUDA_LOG, f"{HARMLESS}{full}\n"))

    assert (found.code, found.severity) == ("HRM-DRIVER-022", "warning")
    assert "No space left on device" in found.title.en
    assert "--silent --toolkit" in commands(found)[0]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (
            "ERROR: An NVIDIA kernel module 'nvidia-drm' appears to already be loaded in your kernel.  This may be "
            "because it is in use (for example, by an X server, a CUDA program, or the NVIDIA Persistence Daemon).",
            "the old module is in use",
        ),
        ("ERROR: Module nvidia is in use by: nvidia_modeset", "the old module is in use"),
        ("ERROR: You appear to be running an X server; please exit X before installing.", "an X server runs"),
        (
            "ERROR: The Nouveau kernel driver is currently in use by your system.  This driver is incompatible with "
            "the NVIDIA driver, and must be disabled before proceeding.",
            "nouveau is in use",
        ),
        (
            "ERROR: The kernel module failed to load. Secure boot is enabled on this system, so this is likely because "
            "it was not signed by a key that is trusted by the kernel.",
            "Secure Boot does not let the module in",
        ),
        (
            "ERROR: Unable to find the kernel source tree for the currently running kernel.  Please make sure you have "
            "installed the kernel source files for your kernel",
            "the kernel's headers are missing",
        ),
        (
            "ERROR: Unable to find the development tool `cc` in your path; please make sure that you have the package "
            "'gcc' installed.",
            "there is no compiler",
        ),
        (
            "ERROR: Failed to run `/usr/sbin/dkms build -m nvidia -v 418.39 -k 4.15.0-122-generic`:",
            "the module could not be built",
        ),
        (
            "ERROR: Unable to load the kernel module 'nvidia.ko'.  This happens most frequently when this kernel "
            "module was built against the wrong or improperly configured kernel sources",
            "the module could not be loaded",
        ),
        ("ERROR: The distribution-provided pre-install script failed!", "the distribution forbids it"),
    ],
)
def test_why_the_driver_was_not_installed_is_read_in_the_installers_words(
    machine: Machine, line: str, reason: str
) -> None:
    machine.file(installers.DRIVER_LOG, f"{HEAD}{line}\n{FAILED}").file(installers.CUDA_LOG, DRIVER_FAILED)

    (found,) = look(machine)

    assert (found.code, found.title.en) == ("HRM-DRIVER-021", f"The driver's installation failed: {reason}")
    assert found.evidence[0].text == line
    assert found.title.zh.partition(":")[2] != reason


def test_a_module_in_use_is_let_go_of_before_the_installer_runs_again(machine: Machine) -> None:
    line = "ERROR: An NVIDIA kernel module 'nvidia' appears to already be loaded in your kernel.\n"
    machine.file(installers.DRIVER_LOG, HEAD + line + FAILED).process(4242, "python x.py", holds=["/dev/nvidia0"])

    (found,) = look(
        machine, Expected(gpu=GpuExpected(driver="418.39", installer="/soft/cuda_10.1.105_418.39_linux.run"))
    )

    assert "python x.py holds /dev/nvidia0" in found.evidence[-1].text
    assert commands(found) == [
        "kill 4242",
        "rmmod nvidia_drm",
        "rmmod nvidia_modeset",
        "rmmod nvidia_uvm",
        "rmmod nvidia",
        "sh /soft/cuda_10.1.105_418.39_linux.run --silent --driver",
        "systemctl reboot",
    ]


def test_an_installation_that_failed_once_is_the_past_where_the_driver_works(machine: Machine) -> None:
    works(machine).file(installers.CUDA_LOG, DRIVER_FAILED).file(installers.DRIVER_LOG, HEAD + FAILED)

    assert look(machine) == []


def test_only_the_last_run_counts(machine: Machine) -> None:
    machine.file(installers.CUDA_LOG, DRIVER_FAILED + BEGIN + "[INFO]: Installed: /usr/local/cuda-10.1/bin/nvcc\n")

    assert look(machine) == []


def test_no_logs_are_well(machine: Machine) -> None:
    assert look(machine) == []


def test_a_toolkits_runfile_that_brought_an_older_driver_is_found_by_what_it_replaced(machine: Machine) -> None:
    replaced = (
        "-> There appears to already be a driver installed on your system (version: 418.39).  As part of installing "
        "this driver (version: 410.48), the existing driver will be uninstalled.  Are you sure you want to continue? "
        "(Answer: Continue installation)\n"
    )
    works(machine, "410.48").file(installers.DRIVER_LOG, HEAD.replace("418.39", "410.48") + replaced)

    (unasked,) = look(machine)
    (asked, *_) = look(machine, Expected(gpu=GpuExpected(driver="418.39")))

    assert (unasked.code, unasked.severity, asked.severity) == ("HRM-DRIVER-024", "info", "warning")
    assert unasked.title.en == "An installer replaced driver 418.39 by the older 410.48"
    assert look(machine, Expected(gpu=GpuExpected(driver="410.48"))) == []


def test_a_newer_driver_may_replace_an_older_one(machine: Machine) -> None:
    replaced = "There appears to already be a driver installed on your system (version: 410.48).  As part of "
    replaced += "installing this driver (version: 418.39), the existing driver will be uninstalled.\n"

    assert look(works(machine).file(installers.DRIVER_LOG, HEAD + replaced)) == []


@pytest.mark.parametrize(
    ("installer", "version"),
    [("/soft/cuda_10.0.130_410.48_linux.run", "410.48"), ("/soft/NVIDIA-Linux-x86_64-440.100.run", "440.100")],
)
def test_an_installer_that_brings_another_driver_than_the_wanted_one_is_found_before_it_runs(
    machine: Machine, installer: str, version: str
) -> None:
    (found,) = look(machine, Expected(gpu=GpuExpected(driver="418.39", installer=installer)))

    assert found.code == "HRM-DRIVER-025"
    assert version in found.title.en


@pytest.mark.parametrize(
    "installer", ["/soft/cuda_10.1.105_418.39_linux.run", "/soft/NVIDIA-Linux-x86_64-418.39.run", "/soft/ours.sh"]
)
def test_an_installer_of_the_wanted_driver_is_well(machine: Machine, installer: str) -> None:
    assert look(machine, Expected(gpu=GpuExpected(driver="418.39", installer=installer))) == []
