"""What nvidia-smi says of the driver, in its own words, and what is done where it does not answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.doctor.checks import Unseen
from hrm.doctor.expected import Expected
from hrm.doctor.gpu import CHECKS, complaints, driver
from hrm.doctor.runner import examine
from hrm.testing.machines import Machine

NVML = "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so"
LOADED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  418.39  Sat Feb  9 19:19:37 CST 2019\n"
LIST = "GPU 0: GeForce RTX 2080 Ti (UUID: GPU-20fbec52-8c31-118f-52a7-8678af956128)\n"
HUNG = "[ 4242.000000] INFO: task python:77 blocked for more than 120 seconds."


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path).file(driver.VERSION, LOADED).file("/proc/uptime", "10000.00 1.00\n")
    return machine.file(f"{NVML}.418.39").link(f"{NVML}.1", "libnvidia-ml.so.418.39")


def says(machine: Machine, stdout: str = "", *, status: int = 0, hangs: bool = False) -> Machine:
    return machine.command("nvidia-smi", "-L", stdout=stdout, status=status, hangs=hangs)


def test_a_list_of_gpus_is_well(machine: Machine) -> None:
    assert says(machine, LIST).findings(complaints.nvidia_smi_answers) == []


def test_a_machine_without_driver_or_without_nvidia_smi_is_not_asked(tmp_path: Path, machine: Machine) -> None:
    assert machine.findings(complaints.nvidia_smi_answers) == []
    assert says(Machine(tmp_path / "other"), "x", status=9).findings(complaints.nvidia_smi_answers) == []


@pytest.mark.parametrize(
    ("text", "library"),
    [
        ("Failed to initialize NVML: Driver/library version mismatch\n", "?"),
        ("Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 535.129\n", "535.129"),
    ],
)
def test_a_mismatch_that_the_systems_library_does_not_explain_is_found(
    machine: Machine, text: str, library: str
) -> None:
    (found,) = says(machine, text, status=18).findings(complaints.nvidia_smi_answers)

    assert found.code == "HRM-DRIVER-015"
    assert f"libnvidia-ml ({library})" in found.title.en
    assert found.cure[0].command == "ldconfig"


def test_a_mismatch_that_the_systems_library_explains_is_told_once(tmp_path: Path) -> None:
    machine = Machine(tmp_path).file(driver.VERSION, LOADED)
    machine.file(f"{NVML}.440.100").link(f"{NVML}.1", "libnvidia-ml.so.440.100")
    says(machine, "Failed to initialize NVML: Driver/library version mismatch\n", status=18)

    report = machine.report([driver.driver_and_library_agree, complaints.nvidia_smi_answers])

    assert [found.code for found in report.findings] == ["HRM-GPU-001"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (
            "NVIDIA-SMI couldn't find libnvidia-ml.so library in your system. Please make sure that the NVIDIA Display "
            "Driver is properly installed and present in your system.\n",
            "HRM-DRIVER-016",
        ),
        ("Failed to initialize NVML: Shared Library Not Found\n", "HRM-DRIVER-016"),
        (
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest "
            "NVIDIA driver is installed and running.\n",
            "HRM-DRIVER-029",
        ),
        ("No devices were found\n", "HRM-DRIVER-019"),
        ("Failed to initialize NVML: Insufficient Permissions\n", "HRM-DRIVER-020"),
    ],
)
def test_each_of_its_complaints_about_the_driver_is_understood(machine: Machine, text: str, code: str) -> None:
    (found,) = says(machine, text, status=9).findings(complaints.nvidia_smi_answers)

    assert found.code == code
    assert found.evidence[0].text in text


def test_it_hangs_and_the_doctor_does_not(machine: Machine) -> None:
    (found,) = says(machine, hangs=True).findings(complaints.nvidia_smi_answers)

    assert (found.code, found.severity) == ("HRM-DRIVER-017", "error")
    assert found.evidence[0].text == "no answer in time"


def test_where_one_hangs_in_the_kernel_no_other_is_started_beside_it(machine: Machine) -> None:
    says(machine, hangs=True).process(55, "nvidia-smi", state="D", began_s=9990.0)
    system = machine.system()

    told = list(complaints.nvidia_smi_answers.look(system, Expected()))

    assert told == [Unseen("nvidia-smi: not run, since another one hangs in the kernel")]
    assert system.ran == []


def test_no_check_of_gpus_starts_an_nvidia_smi_beside_one_that_hangs(machine: Machine) -> None:
    machine.process(55, "nvidia-smi", state="D").file("/proc/driver/nvidia/gpus/0000:3d:00.0/information", "Model: x\n")
    machine.file("/sys/bus/pci/devices/0000:3d:00.0/vendor", "0x10de\n")
    machine.file("/sys/bus/pci/devices/0000:3d:00.0/class", "0x030000\n")
    machine.file("/usr/bin/nvidia-smi", mode=0o755)
    system = machine.system()

    examine("made-up", system, Expected(), CHECKS)

    assert system.ran != []
    assert [argv for argv in system.ran if argv[0] == "nvidia-smi"] == []


def test_an_nvidia_smi_that_has_waited_in_the_kernel_for_minutes_is_stuck(machine: Machine) -> None:
    machine.process(55, "nvidia-smi -L", state="D", began_s=9000.0, holds=["/dev/nvidiactl"])
    machine.file("/proc/55/wchan", "os_acquire_rwlock_write")

    (found,) = machine.findings(complaints.nothing_is_stuck_in_the_driver)

    assert (found.code, found.severity) == ("HRM-DRIVER-018", "critical")
    assert found.title.en == "Process 55 (nvidia-smi -L), 17 min old, is stuck in the driver and cannot be ended"
    assert "in os_acquire_rwlock_write" in found.evidence[0].text
    assert [step.command for step in found.cure] == ["systemctl reboot"]


def test_a_program_is_stuck_where_the_kernel_says_so(machine: Machine) -> None:
    machine.process(77, "python train.py", state="D").file("/proc/77/wchan", "uvm_va_block_retry")
    machine.kernel_log("[ 1.0] Linux version 4.15", HUNG)

    (found,) = machine.findings(complaints.nothing_is_stuck_in_the_driver)

    assert HUNG in found.evidence[0].text


@pytest.mark.parametrize(
    ("command_line", "began_s", "wchan"),
    [
        ("nvidia-smi", 9995.0, "os_acquire_mutex"),
        ("nvidia-smi dmon -s pu", 100.0, "os_acquire_mutex"),
        ("nvidia-smi -l 5", 100.0, "os_acquire_mutex"),
        ("python train.py", 100.0, "uvm_va_block_retry"),
        ("python train.py", 100.0, "rpc_wait_bit_killable"),
    ],
)
def test_a_program_that_is_only_busy_in_the_kernel_is_not_stuck(
    machine: Machine, command_line: str, began_s: float, wchan: str
) -> None:
    machine.process(78, command_line, state="D", began_s=began_s).file("/proc/78/wchan", wchan)
    machine.kernel_log("[ 1.0] Linux version 4.15", HUNG)

    assert machine.findings(complaints.nothing_is_stuck_in_the_driver) == []
