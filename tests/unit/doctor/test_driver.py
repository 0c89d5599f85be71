"""The driver that the kernel has loaded, the libraries that programs load, and the version that is wanted."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.doctor.expected import Expected
from hrm.doctor.expected.gpu import GpuExpected
from hrm.doctor.gpu import driver, packages
from hrm.doctor.gpu.packages import is_of_driver
from hrm.model.findings import Finding
from hrm.testing.machines import Machine

LIB = "/usr/lib/x86_64-linux-gnu"
NVML = f"{LIB}/libnvidia-ml.so.1"
LOADED = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  418.39  Sat Feb  9 19:19:37 CST 2019\nGCC version:  gcc 7.3.0\n"
)
LOADED_OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  535.104.05  Release Build  (dvs-builder)\n"
LOADED_ARM = "NVRM version: NVIDIA UNIX aarch64 Kernel Module  470.82.01  Tue Oct 12 23:05:23 UTC 2021\n"
UPGRADE = "2020-07-29 06:42:11 upgrade nvidia-utils-440:amd64 440.64.00-0ubuntu0 440.100-0ubuntu0.18.04.1\n"
TOOLKIT = "2020-07-30 09:00:00 upgrade nvidia-container-toolkit:amd64 1.2.0-1 1.2.1-1\n"
HISTORY = """
Start-Date: 2020-07-29  06:42:07
Commandline: /usr/bin/unattended-upgrade
Upgrade: nvidia-utils-440:amd64 (440.64.00-0ubuntu0, 440.100-0ubuntu0.18.04.1)
End-Date: 2020-07-29  06:42:40

Start-Date: 2020-07-30  09:00:01
Commandline: apt-get upgrade
Requested-By: hadoop (1000)
Upgrade: nvidia-container-toolkit:amd64 (1.2.0-1, 1.2.1-1)
End-Date: 2020-07-30  09:00:10
"""
KERNEL = "4.15.0-122-generic"
MODULE = f"/lib/modules/{KERNEL}/updates/dkms/nvidia.ko"
WANTED = Expected(gpu=GpuExpected(driver="418.39"))
WITH_INSTALLER = Expected(gpu=GpuExpected(driver="418.39", installer="/soft/cuda_10.1.105_418.39_linux.run"))
UNLOAD = ["rmmod nvidia_drm", "rmmod nvidia_modeset", "rmmod nvidia_uvm", "rmmod nvidia"]
AGAIN = "If it is still there: run cuda-uninstaller (in /usr/local/cuda-*/bin) and nvidia-uninstall, restart,"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Has the tools."""
    machine = Machine(tmp_path)
    for tool in ("rmmod", "modprobe"):
        machine.file(f"/usr/sbin/{tool}", mode=0o755)
    return machine.file("/proc/sys/kernel/osrelease", f"{KERNEL}\n")


def library(machine: Machine, version: str, path: str = NVML) -> Machine:
    name = path.rpartition("/")[2].removesuffix(".1")
    return machine.file(f"{path.rpartition('/')[0]}/{name}.{version}").link(path, f"{name}.{version}")


def module(machine: Machine, version: str) -> Machine:
    return machine.file(MODULE).command("modinfo", "-F", "version", MODULE, stdout=f"{version}\n")


def dpkg(machine: Machine, *lines: str) -> Machine:
    return machine.command(*packages.QUERY, stdout="".join(f"{line}\n" for line in lines))


def commands(finding: Finding) -> list[str]:
    return [step.command or step.about.en for step in finding.cure]


@pytest.mark.parametrize(
    ("loaded", "version"), [(LOADED, "418.39"), (LOADED_OPEN, "535.104.05"), (LOADED_ARM, "470.82.01")]
)
def test_a_library_of_another_version_than_the_module_is_found_with_the_lines_that_show_it(
    machine: Machine, loaded: str, version: str
) -> None:
    library(machine, "440.100").file(driver.VERSION, loaded).file(packages.DPKG_LOG, UPGRADE + TOOLKIT)

    (found,) = machine.findings(driver.driver_and_library_agree)

    assert found.code == "HRM-GPU-001"
    assert found.title.en == f"The kernel has driver {version} loaded, but libnvidia-ml is 440.100"
    assert [evidence.source for evidence in found.evidence] == [driver.VERSION, NVML, packages.DPKG_LOG]
    assert found.evidence[1].text == "libnvidia-ml.so.1 -> libnvidia-ml.so.440.100"
    assert found.evidence[2].text == UPGRADE.strip()


def test_the_modules_are_loaded_anew_where_that_of_the_library_is_on_disk(machine: Machine) -> None:
    module(library(machine, "440.100"), "440.100").file(driver.VERSION, LOADED)

    (found,) = machine.findings(driver.driver_and_library_agree)

    assert commands(found) == [*UNLOAD, "modprobe nvidia", "systemctl reboot"]


def test_what_dkms_has_of_the_driver_is_told(machine: Machine) -> None:
    library(machine, "440.100").file(driver.VERSION, LOADED)
    machine.file(f"/var/lib/dkms/nvidia/418.39/{KERNEL}/x86_64/module/nvidia.ko").file("/var/lib/dkms/zfs/2.1.5/x")
    machine.link("/var/lib/dkms/nvidia/418.39/source", "/usr/src/nvidia-418.39")
    machine.file("/var/lib/dkms/nvidia/440.100/build/make.log")
    machine.link(f"/var/lib/dkms/nvidia/kernel-{KERNEL}-x86_64", f"418.39/{KERNEL}/x86_64")

    (found,) = machine.findings(driver.driver_and_library_agree)

    assert [evidence.text for evidence in found.evidence[2:]] == [
        f"nvidia, 418.39: built for {KERNEL}",
        "nvidia, 440.100: added",
    ]


def test_who_changed_the_driver_and_when_is_told_and_not_who_changed_something_else(machine: Machine) -> None:
    library(machine, "440.100").file(driver.VERSION, LOADED).file(packages.APT_HISTORY, HISTORY)

    (found,) = machine.findings(driver.driver_and_library_agree)

    assert found.evidence[-1].source == packages.APT_HISTORY
    assert found.evidence[-1].text == "Start-Date: 2020-07-29  06:42:07, Commandline: /usr/bin/unattended-upgrade"


def test_where_apts_history_was_rotated_away_the_log_of_unattended_upgrades_tells_it(machine: Machine) -> None:
    line = "2020-07-29 06:42:05,123 INFO Packages that will be upgraded: libnvidia-compute-440 nvidia-utils-440"
    library(machine, "440.100").file(driver.VERSION, LOADED).file(packages.UNATTENDED_LOG, f"{line}\n")

    (found,) = machine.findings(driver.driver_and_library_agree)

    assert found.evidence[-1].text == line


def test_the_module_of_the_library_is_built_first_where_only_its_source_is_there(machine: Machine) -> None:
    module(library(machine, "440.100"), "418.39").file(driver.VERSION, LOADED)
    machine.file("/usr/src/nvidia-440.100/dkms.conf").directory(f"/lib/modules/{KERNEL}/build")
    machine.file("/usr/sbin/dkms", mode=0o755)

    (found,) = machine.findings(driver.driver_and_library_agree)

    assert commands(found)[0] == f"dkms install -m nvidia -v 440.100 -k {KERNEL}"
    assert commands(found)[1:] == [*UNLOAD, "modprobe nvidia", "systemctl reboot"]


def test_packages_of_a_driver_that_is_not_wanted_are_removed_and_those_for_containers_are_kept(
    machine: Machine,
) -> None:
    module(library(machine, "440.100"), "418.39").file(driver.VERSION, LOADED).file("/var/lib/nvidia/log", "418.39\n")
    dpkg(
        machine,
        "ii  libnvidia-compute-440 440.100-0ubuntu0.18.04.1",
        "ii  nvidia-utils-440 440.100-0ubuntu0.18.04.1",
        "ii  libnvidia-container1 1.2.0-1",
        "hi  nvidia-container-runtime 3.3.0-1",
        "ii  nvidia-container-toolkit 1.2.1-1",
        "ii  nvidia-docker2 2.4.0-1",
        "ii  nvidia-cuda-toolkit 9.1.85-3ubuntu1",
        "rc  nvidia-utils-390 390.138-0ubuntu0.18.04.1",
    )

    (found,) = machine.findings(driver.driver_and_library_agree, WITH_INSTALLER)

    assert commands(found)[:-1] == [
        "test -r /soft/cuda_10.1.105_418.39_linux.run",
        *UNLOAD,
        "apt-mark hold libnvidia-container1 nvidia-container-toolkit nvidia-docker2",
        "apt-get purge -y libnvidia-compute-440 nvidia-utils-440",
        "apt-mark unhold libnvidia-container1 nvidia-container-toolkit nvidia-docker2",
        "sh /soft/cuda_10.1.105_418.39_linux.run --silent --driver",
        "systemctl reboot",
    ]
    assert commands(found)[-1].startswith(AGAIN)


def test_packages_of_the_wrong_driver_that_somebody_held_are_let_go_of_first(machine: Machine) -> None:
    module(library(machine, "440.100"), "418.39").file(driver.VERSION, LOADED)
    dpkg(machine, "hi  nvidia-utils-440 440.100-0ubuntu0.18.04.1", "ii  libnvidia-container1 1.2.0-1")

    (found,) = machine.findings(driver.driver_and_library_agree, WANTED)

    assert commands(found)[4:8] == [
        "apt-mark unhold nvidia-utils-440",
        "apt-mark hold libnvidia-container1",
        "apt-get purge -y nvidia-utils-440",
        "apt-mark unhold libnvidia-container1",
    ]


def test_without_a_wanted_version_the_driver_stays_of_which_there_is_a_module(machine: Machine) -> None:
    module(library(machine, "440.100"), "418.39").file(driver.VERSION, LOADED)
    dpkg(machine, "ii  libnvidia-compute-440 440.100-0ubuntu0.18.04.1")

    (found,) = machine.findings(driver.driver_and_library_agree)

    assert commands(found)[:5] == [*UNLOAD, "apt-get purge -y libnvidia-compute-440"]
    assert commands(found)[5].startswith("Install the driver 418.39")


def test_the_wanted_drivers_own_packages_are_never_removed(machine: Machine) -> None:
    module(library(machine, "440.100"), "418.39").file(driver.VERSION, LOADED).file("/var/lib/nvidia/log", "418.39\n")
    dpkg(machine, "ii  libnvidia-compute-440 440.100-0ubuntu0.18.04.1")

    (found,) = machine.findings(driver.driver_and_library_agree, Expected(gpu=GpuExpected(driver="440.100")))

    assert commands(found)[:5] == [*UNLOAD, "nvidia-uninstall --silent"]
    assert commands(found)[5].startswith("Install the driver 440.100")


def test_a_runfiles_driver_that_is_not_wanted_is_removed_by_its_own_uninstaller(machine: Machine) -> None:
    library(machine, "410.48").file(driver.VERSION, LOADED).file("/var/lib/nvidia/log", "410.48\nNVIDIA Accelerated\n")

    (found,) = machine.findings(driver.driver_and_library_agree, WANTED)

    assert commands(found)[:5] == [*UNLOAD, "nvidia-uninstall --silent"]
    assert commands(found)[5].startswith("Install the driver 418.39, all of it from one place")


def test_a_driver_is_installed_from_its_own_runfile_with_its_own_options(machine: Machine) -> None:
    library(machine, "410.48").file(driver.VERSION, LOADED)
    runfile = "/soft/NVIDIA-Linux-x86_64-418.39.run"

    (found,) = machine.findings(
        driver.driver_and_library_agree, Expected(gpu=GpuExpected(driver="418.39", installer=runfile))
    )

    assert f"sh {runfile} --silent --dkms" in commands(found)


@pytest.mark.parametrize("name", ["libnvidia-container1", "nvidia-container-toolkit-base", "nvidia-docker2"])
def test_what_containers_need_is_never_part_of_a_driver(name: str) -> None:
    assert not is_of_driver(name)


@pytest.mark.parametrize(
    "name",
    [
        "nvidia-driver-440",
        "nvidia-dkms-535-server",
        "libnvidia-compute-440",
        "nvidia-384",
        "libcuda1-384",
        "libnvidia-ml1",
        "nvidia-kernel-dkms",
        "nvidia-smi",
        "linux-modules-nvidia-535-generic",
        "xserver-xorg-video-nvidia-440",
    ],
)
def test_packages_of_several_distributions_are_known_as_parts_of_a_driver(name: str) -> None:
    assert is_of_driver(name)


@pytest.mark.parametrize("name", ["nvidia-cuda-toolkit", "nvidia-cuda-dev", "libcudnn7", "nvidia-settings", "libnccl2"])
def test_toolkits_and_settings_are_no_part_of_a_driver(name: str) -> None:
    assert not is_of_driver(name)


def test_a_library_is_found_through_the_loaders_cache_in_its_order_and_not_one_for_32_bits(machine: Machine) -> None:
    machine.file(driver.VERSION, LOADED)
    library(machine, "418.39")
    library(machine, "440.100", "/opt/nvidia/lib/libnvidia-ml.so.1")
    library(machine, "390.138", "/usr/lib/i386-linux-gnu/libnvidia-ml.so.1")
    machine.command(
        "ldconfig",
        "-p",
        stdout="1023 libs found in cache `/etc/ld.so.cache'\n"
        "\tlibnvidia-ml.so.1 (libc6) => /usr/lib/i386-linux-gnu/libnvidia-ml.so.1\n"
        "\tlibnvidia-ml.so.1 (libc6,x86-64) => /opt/nvidia/lib/libnvidia-ml.so.1\n"
        f"\tlibnvidia-ml.so.1 (libc6,x86-64) => {NVML}\n",
    )

    (found,) = machine.findings(driver.driver_and_library_agree)

    assert found.evidence[1].source == "/opt/nvidia/lib/libnvidia-ml.so.1"


@pytest.mark.parametrize(
    "path",
    [
        NVML,
        "/usr/lib64/libnvidia-ml.so.1",
        "/usr/lib/libnvidia-ml.so.1",
        "/usr/lib/aarch64-linux-gnu/libnvidia-ml.so.1",
        "/usr/lib/nvidia-418/libnvidia-ml.so.1",
        "/usr/lib64/nvidia/libnvidia-ml.so.1",
    ],
)
def test_a_library_is_found_where_distributions_put_it(machine: Machine, path: str) -> None:
    library(machine, "440.100", path).file(driver.VERSION, LOADED)

    (found,) = machine.findings(driver.driver_and_library_agree)

    assert found.evidence[1].source == path


def test_a_library_is_followed_through_debians_alternatives(machine: Machine) -> None:
    machine.file(driver.VERSION, LOADED)
    machine.link(NVML, "/etc/alternatives/glx--libnvidia-ml.so.1-x86_64-linux-gnu")
    machine.link("/etc/alternatives/glx--libnvidia-ml.so.1-x86_64-linux-gnu", f"{LIB}/nvidia/current/libnvidia-ml.so.1")
    library(machine, "440.100", f"{LIB}/nvidia/current/libnvidia-ml.so.1")

    (found,) = machine.findings(driver.driver_and_library_agree)

    assert found.title.en.endswith("libnvidia-ml is 440.100")


def test_a_link_that_leads_nowhere_is_no_library(machine: Machine) -> None:
    machine.file(driver.VERSION, LOADED).link(NVML, "libnvidia-ml.so.440.100")

    assert machine.findings(driver.driver_and_library_agree) == []


def test_a_library_of_the_modules_version_is_well(machine: Machine) -> None:
    library(machine, "418.39").file(driver.VERSION, LOADED)
    library(machine, "418.39", f"{LIB}/libcuda.so.1")

    for check in (
        driver.driver_and_library_agree,
        driver.driver_is_the_wanted_one,
        driver.libraries_are_of_one_driver,
    ):
        assert machine.findings(check, WANTED) == []


def test_a_machine_without_the_driver_is_well(machine: Machine) -> None:
    for check in (
        driver.driver_and_library_agree,
        driver.driver_is_the_wanted_one,
        driver.libraries_are_of_one_driver,
    ):
        assert machine.findings(check, WANTED) == []


def test_a_log_that_only_root_may_read_is_said_to_be_unseen(machine: Machine) -> None:
    library(machine, "440.100").file(driver.VERSION, LOADED).denied(packages.DPKG_LOG)

    report = machine.report([driver.driver_and_library_agree])

    assert [found.code for found in report.findings] == ["HRM-GPU-001"]
    assert report.checks_run[0].unseen == (f"{packages.DPKG_LOG}: Permission denied (needs root)",)


def test_a_driver_of_another_version_than_the_wanted_one_is_found(machine: Machine) -> None:
    machine.file(driver.VERSION, LOADED.replace("418.39", "410.48")).file("/var/lib/nvidia/log", "410.48\n")
    library(machine, "410.48")

    (found,) = machine.findings(driver.driver_is_the_wanted_one, WITH_INSTALLER)

    assert (found.code, found.severity) == ("HRM-DRIVER-001", "error")
    assert found.title.en == "The driver is 410.48, and 418.39 is wanted"
    assert commands(found)[:7] == [
        "test -r /soft/cuda_10.1.105_418.39_linux.run",
        *UNLOAD,
        "nvidia-uninstall --silent",
        "sh /soft/cuda_10.1.105_418.39_linux.run --silent --driver",
    ]


@pytest.mark.parametrize("wanted", ["418.39", "418"])
def test_a_branch_stands_for_all_its_versions(machine: Machine, wanted: str) -> None:
    library(machine, "418.39").file(driver.VERSION, LOADED)

    assert machine.findings(driver.driver_is_the_wanted_one, Expected(gpu=GpuExpected(driver=wanted))) == []


def test_a_branch_does_not_stand_for_another_that_begins_alike(machine: Machine) -> None:
    library(machine, "418.39").file(driver.VERSION, LOADED)

    assert machine.findings(driver.driver_is_the_wanted_one, Expected(gpu=GpuExpected(driver="41"))) != []


def test_an_update_that_ended_halfway_is_found_by_the_library_that_stayed_behind(machine: Machine) -> None:
    library(machine, "418.39").file(driver.VERSION, LOADED)
    library(machine, "410.48", f"{LIB}/libcuda.so.1")

    (found,) = machine.findings(driver.libraries_are_of_one_driver)

    assert found.code == "HRM-DRIVER-002"
    assert found.title.en == "Programs load libcuda of driver 410.48, and the kernel has 418.39"


def test_a_library_for_forward_compatibility_is_newer_on_purpose(machine: Machine) -> None:
    library(machine, "418.39").file(driver.VERSION, LOADED)
    library(machine, "535.54", "/usr/local/cuda/compat/libcuda.so.1")
    machine.command("ldconfig", "-p", stdout="\tlibcuda.so.1 (libc6,x86-64) => /usr/local/cuda/compat/libcuda.so.1\n")

    assert machine.findings(driver.libraries_are_of_one_driver) == []


def test_a_second_library_of_another_driver_is_found_before_a_program_takes_it(machine: Machine) -> None:
    library(machine, "418.39").file(driver.VERSION, LOADED)
    library(machine, "390.116", "/usr/lib/nvidia-390/libnvidia-ml.so.1")

    (found,) = machine.findings(driver.libraries_are_of_one_driver)

    assert (found.code, found.severity) == ("HRM-DRIVER-003", "warning")
    assert found.title.en == "Libraries of several drivers are installed: 390.116, 418.39"


@pytest.mark.parametrize(
    "said",
    [
        [
            "NVRM: API mismatch: the client has the version 440.100, but",
            "NVRM: this kernel module has the version 418.39.",
        ],
        [
            "NVRM: API mismatch: the client 'python' (pid 77)",
            "NVRM: has the version 440.100, but this kernel module has",
        ],
    ],
)
def test_a_program_that_came_with_another_drivers_library_is_found_by_the_kernels_word(
    machine: Machine, said: list[str]
) -> None:
    library(machine, "418.39").file(driver.VERSION, LOADED).file("/proc/uptime", "4000.00 1.00\n")
    machine.kernel_log("[    0.000000] Linux version 4.15.0", *(f"[ 3600.000000] {line}" for line in said))

    (found,) = machine.findings(driver.programs_use_the_systems_libraries)

    assert (found.code, found.severity) == ("HRM-DRIVER-028", "warning")
    assert found.title.en == "A program brought libraries of driver 440.100, and the kernel has 418.39"


def test_a_program_of_two_days_ago_and_the_mismatch_of_the_system_itself_are_not_told(machine: Machine) -> None:
    library(machine, "418.39").file(driver.VERSION, LOADED).file("/proc/uptime", "200000.00 1.00\n")
    machine.kernel_log("[ 3600.0] NVRM: API mismatch: the client has the version 440.100, but")

    assert machine.findings(driver.programs_use_the_systems_libraries) == []


def test_nodes_are_compared_by_the_driver_and_its_library(machine: Machine) -> None:
    library(machine, "440.100").file(driver.VERSION, LOADED)

    assert driver.loaded_driver.tell(machine.system()) == "418.39"
    assert driver.driver_library.tell(machine.system()) == "440.100"
