"""What `nvidia-smi -q` of several versions tells of GPUs."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.doctor.gpu import state
from hrm.doctor.gpu.smi import QUERY
from hrm.model.findings import Finding, Severity
from hrm.testing.machines import Machine

UUID = "GPU-20fbec52-8c31-118f-52a7-8678af956128"
HEAD = """
==============NVSMI LOG==============

Timestamp                           : Mon Aug  3 06:18:58 2020
Driver Version                      : 418.39
CUDA Version                        : 10.1

Attached GPUs                       : 1
GPU 00000000:3D:00.0
    Product Name                    : GeForce RTX 2080 Ti
    Persistence Mode                : Enabled
    GPU UUID                        : GPU-20fbec52-8c31-118f-52a7-8678af956128
"""
#: 418: reasons are indented beneath "HW Slowdown", errors counted by single and double bits.
OLD = (
    HEAD
    + """    Clocks Throttle Reasons
        Idle                        : Active
        Applications Clocks Setting : Not Active
        SW Power Cap                : Active
        HW Slowdown                 : Not Active
            HW Thermal Slowdown     : Not Active
            HW Power Brake Slowdown : Not Active
        Sync Boost                  : Not Active
        SW Thermal Slowdown         : Not Active
    FB Memory Usage
        Total                       : 10989 MiB
    Ecc Mode
        Current                     : Enabled
        Pending                     : Enabled
    ECC Errors
        Volatile
            Single Bit
                Device Memory       : 177
                Total               : 177
            Double Bit
                Device Memory       : 0
                Total               : 0
        Aggregate
            Single Bit
                Total               : 177
            Double Bit
                Device Memory       : 4
                Total               : 4
    Retired Pages
        Single Bit ECC              : 2
        Double Bit ECC              : 1
        Pending Page Blacklist      : No
    Temperature
        GPU Current Temp            : 41 C
        GPU Slowdown Temp           : 97 C
"""
)
#: 550, as of an A100.
NEW = (
    HEAD
    + """    GPU Reset Status
        Reset Required                    : No
        Drain and Reset Recommended       : No
    GPU Recovery Action                   : None
    Clocks Event Reasons
        Idle                              : Not Active
        SW Power Cap                      : Active
        HW Slowdown                       : Not Active
            HW Thermal Slowdown           : Not Active
            HW Power Brake Slowdown       : Not Active
        SW Thermal Slowdown               : Not Active
    ECC Errors
        Volatile
            SRAM Correctable              : 0
            SRAM Uncorrectable Parity     : 0
            SRAM Uncorrectable SEC-DED    : 0
            DRAM Correctable              : 177
            DRAM Uncorrectable            : 0
        Aggregate
            DRAM Uncorrectable            : 2
            SRAM Threshold Exceeded       : No
        Channel Repair Pending            : No
        TPC Repair Pending                : No
        Unrepairable Memory               : No
    Retired Pages
        Single Bit ECC                    : N/A
        Double Bit ECC                    : N/A
        Pending Page Blacklist            : N/A
    Remapped Rows
        Correctable Error                 : 1
        Uncorrectable Error               : 0
        Pending                           : No
        Remapping Failure Occurred        : No
    Temperature
        GPU Current Temp                  : 41 C
"""
)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    about = f"Model: \t\t GeForce RTX 2080 Ti\nGPU UUID: \t {UUID}\nDevice Minor: \t 0\n"
    return Machine(tmp_path).file("/proc/driver/nvidia/gpus/0000:3d:00.0/information", about)


def told(machine: Machine, answer: str) -> list[Finding]:
    return machine.command(*QUERY, stdout=answer).findings(state.states)


def changed(answer: str, name: str, value: str, *, after: str = "") -> str:
    """``answer`` with another value in the first line of that name (after the line ``after``)."""
    lines = answer.splitlines()
    start = next(number for number, line in enumerate(lines) if after in line)
    number = next(
        number for number, line in enumerate(lines) if number >= start and line.strip().startswith(f"{name} ")
    )
    lines[number] = f"{lines[number].partition(' : ')[0]} : {value}"
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("answer", [OLD, NEW])
def test_a_gpu_that_is_well_raises_nothing(machine: Machine, answer: str) -> None:
    assert told(machine, answer) == []


def test_a_gpu_without_error_correction_raises_nothing(machine: Machine) -> None:
    for name in ("DRAM Correctable", "DRAM Uncorrectable", "SRAM Uncorrectable Parity", "SRAM Threshold Exceeded"):
        answer = changed(NEW, name, "N/A")

    assert told(machine, answer) == []


@pytest.mark.parametrize(
    ("answer", "code", "severity"),
    [
        (changed(OLD, "Total", "1", after="Double Bit"), "HRM-GPU-110", Severity.ERROR),
        (changed(NEW, "DRAM Uncorrectable", "3"), "HRM-GPU-110", Severity.ERROR),
        (changed(NEW, "SRAM Uncorrectable SEC-DED", "1"), "HRM-GPU-110", Severity.ERROR),
        (changed(OLD, "Pending Page Blacklist", "Yes"), "HRM-GPU-111", Severity.WARNING),
        (changed(NEW, "Pending", "Yes", after="Remapped Rows"), "HRM-GPU-111", Severity.WARNING),
        (changed(NEW, "Channel Repair Pending", "Yes"), "HRM-GPU-111", Severity.WARNING),
        (changed(NEW, "Remapping Failure Occurred", "Yes"), "HRM-GPU-112", Severity.ERROR),
        (changed(NEW, "SRAM Threshold Exceeded", "Yes"), "HRM-GPU-112", Severity.ERROR),
        (changed(NEW, "Unrepairable Memory", "Yes"), "HRM-GPU-112", Severity.ERROR),
        (changed(OLD, "Single Bit ECC", "59"), "HRM-GPU-112", Severity.ERROR),
        (changed(OLD, "HW Thermal Slowdown", "Active"), "HRM-GPU-113", Severity.WARNING),
        (changed(NEW, "SW Thermal Slowdown", "Active"), "HRM-GPU-113", Severity.WARNING),
        (changed(NEW, "HW Power Brake Slowdown", "Active"), "HRM-GPU-113", Severity.WARNING),
        (changed(OLD, "Persistence Mode", "Disabled"), "HRM-GPU-114", Severity.INFO),
        (changed(NEW, "GPU Recovery Action", "Reboot"), "HRM-GPU-115", Severity.ERROR),
        (changed(OLD, "GPU Current Temp", "[GPU requires reset]"), "HRM-GPU-115", Severity.ERROR),
        (changed(OLD, "GPU Current Temp", "GPU is lost"), "HRM-GPU-115", Severity.ERROR),
    ],
)
def test_what_is_wrong_is_found_with_its_line_and_its_gpu(
    machine: Machine, answer: str, code: str, severity: Severity
) -> None:
    (found,) = told(machine, answer)

    assert (found.code, found.severity, found.gpu) == (code, severity, UUID)
    assert found.evidence[0].source == "nvidia-smi -q (GPU 0000:3d:00.0)"
    assert found.cure


def test_the_reason_of_a_slowdown_is_told_with_the_temperature(machine: Machine) -> None:
    answer = changed(changed(OLD, "HW Slowdown", "Active"), "HW Thermal Slowdown", "Active")

    (found,) = told(machine, changed(answer, "GPU Current Temp", "97 C"))

    assert found.title.en == "GPU 0 (0000:3d:00.0) is slowed down: HW Thermal Slowdown"
    assert found.evidence[-1].text == "Temperature/GPU Current Temp: 97 C"


def test_persistence_is_the_daemon_s_where_there_is_one(machine: Machine) -> None:
    machine.file("/usr/bin/nvidia-persistenced").file("/usr/bin/systemctl")

    (found,) = told(machine, changed(OLD, "Persistence Mode", "Disabled"))

    assert [step.command for step in found.cure] == ["systemctl enable --now nvidia-persistenced"]


def test_an_nvidia_smi_that_hangs_is_unseen(machine: Machine) -> None:
    (run,) = machine.command(*QUERY, hangs=True).report([state.states]).checks_run

    assert run.unseen == ("nvidia-smi -q did not answer in time",)


def test_nothing_is_asked_where_there_are_no_gpus(tmp_path: Path) -> None:
    assert Machine(tmp_path).command(*QUERY, hangs=True).findings(state.states) == []
