"""Xid messages in the kernel's log."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.doctor.gpu import xid
from hrm.doctor.gpu.cards import bus_address
from hrm.doctor.gpu.xid_meanings import Action, meaning_of
from hrm.model.findings import Finding, Severity
from hrm.testing.machines import Machine

BOOTED = 1_600_000_000.0
UUIDS = ("GPU-20fbec52-8c31-118f-52a7-8678af956128", "GPU-014deb77-a5fa-7ea2-eda6-a170cec4f64f")


@pytest.fixture
def bare(tmp_path: Path) -> Machine:
    """Without a driver."""
    return Machine(tmp_path).file("/proc/stat", f"btime {BOOTED:.0f}\n").at(BOOTED + 7200)


@pytest.fixture
def machine(bare: Machine) -> Machine:
    for minor, (bus, uuid) in enumerate(zip(("3d", "41"), UUIDS, strict=True)):
        bare.file(
            f"/proc/driver/nvidia/gpus/0000:{bus}:00.0/information",
            f"Model: \t\t GeForce RTX 2080 Ti\nIRQ:   \t\t 345\nGPU UUID: \t {uuid}\nDevice Minor: \t {minor}\n",
        )
    return bare


def logged(machine: Machine, *messages: str, at_s: float = 600.0) -> list[Finding]:
    return machine.kernel_log(*(f"[{at_s:12.6f}] {message}" for message in messages)).findings(xid.xids)


@pytest.mark.parametrize(
    ("message", "code", "severity"),
    [
        ("NVRM: Xid (PCI:0000:3d:00): 79, GPU has fallen off the bus.", "HRM-XID-003", Severity.ERROR),
        ("NVRM: Xid (PCI:0000:3d:00): 79, pid=1234, GPU has fallen off the bus.", "HRM-XID-003", Severity.ERROR),
        (
            "NVRM: Xid (PCI:0000:3d:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
            "HRM-XID-003",
            Severity.ERROR,
        ),
        ("NVRM: GPU at 0000:3d:00.0 has fallen off the bus.", "HRM-XID-003", Severity.ERROR),
        ("NVRM: GPU 0000:3d:00.0: GPU has fallen off the bus.", "HRM-XID-003", Severity.ERROR),
        (
            "NVRM: Xid (0000:3d:00): 31, Ch 0000000b, engmask 00000120, intr 10000000",
            "HRM-XID-002",
            Severity.INFO,
        ),
        (
            "NVRM: Xid (PCI:0000:3d:00): 31, pid=7401, name=python3, Ch 00000008, intr 00000000. MMU Fault: ENGINE "
            "GRAPHICS GPCCLIENT_T1_0 faulted @ 0x7f15_aa000000. Fault is of type FAULT_PDE ACCESS_TYPE_VIRT_READ",
            "HRM-XID-002",
            Severity.INFO,
        ),
        (
            "NVRM: Xid (PCI:0000:3d:00): 13, pid=23, Graphics SM Warp Exception on (GPC 0, TPC 1, SM 0): Out Of Range",
            "HRM-XID-002",
            Severity.INFO,
        ),
        ("NVRM: Xid (PCI:0000:3d:00): 45, pid=23, Ch 00000010", "HRM-XID-001", Severity.INFO),
        ("NVRM: Xid (PCI:0000:3d:00): 48, An uncorrectable double bit error (DBE)", "HRM-XID-003", Severity.ERROR),
        (
            "NVRM: Xid (PCI:0000:3d:00): 63, pid=1896, Row Remapper: New row marked for remapping, reset gpu.",
            "HRM-XID-001",
            Severity.INFO,
        ),
        ("NVRM: Xid (PCI:0000:3d:00): 64, Dynamic Page Retirement: Fatal error", "HRM-XID-004", Severity.ERROR),
        ("NVRM: Xid (PCI:0000:3d:00): 92, pid=1, High single-bit ECC error rate", "HRM-XID-004", Severity.WARNING),
        (
            "NVRM: Xid (PCI:0000:3d:00): 119, pid=9, name=nvidia-smi, Timeout after 6s of waiting for RPC response "
            "from GPU0 GSP! Expected function 76 (GSP_RM_CONTROL) (0x2080a0d7 0x4).",
            "HRM-XID-003",
            Severity.ERROR,
        ),
        (
            "NVRM: Xid (PCI:0000:3d:00 GPU-I:05): 95, pid=9, name=python, Uncontained: LTC",
            "HRM-XID-003",
            Severity.ERROR,
        ),
        (
            "NVRM: Xid (PCI:0000:3d:00): 154, GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)",
            "HRM-XID-003",
            Severity.ERROR,
        ),
        (
            "NVRM: Xid (PCI:0000:3d:00): 149, NETIR_LINK_EVT  Fatal   XC0 i0 Link 01 (0x021425c6 0x00000000)",
            "HRM-XID-003",
            Severity.ERROR,
        ),
        (
            "NVRM: Xid (PCI:0000:3d:00): 145, RLW_REMAP  Nonfatal   XC0 i0 Link 01 (0x021425c6 0x00000000)",
            "HRM-XID-001",
            Severity.INFO,
        ),
        ("NVRM: Xid (PCI:0000:3d:00): 999, something new", "HRM-XID-005", Severity.WARNING),
    ],
)
def test_a_message_is_found_with_what_is_done_about_it_and_the_gpu_that_it_is_of(
    machine: Machine, message: str, code: str, severity: Severity
) -> None:
    (found,) = logged(machine, message)

    assert (found.code, found.severity, found.gpu) == (code, severity, UUIDS[0])
    assert found.title.en.startswith(("GPU 0 (0000:3d:00.0): Xid ",))
    assert found.evidence[0].text == f"[  600.000000] {message}"[:300] + ("…" if len(message) > 285 else "")


def test_a_message_that_the_driver_spreads_over_lines_is_understood(machine: Machine) -> None:
    (found,) = logged(
        machine,
        "NVRM: The NVIDIA GPU 0000:41:00.0",
        "NVRM: (PCI ID: 10de:2901) installed in this system has",
        "NVRM: fallen off the bus and is not responding to commands.",
    )

    assert (found.code, found.gpu) == ("HRM-XID-003", UUIDS[1])
    assert found.title.zh == "GPU 1 (0000:41:00.0):Xid 79,GPU 已从总线上掉线(重启节点)"


def test_one_gpu_that_fails_again_and_again_is_one_finding_with_the_last_lines(machine: Machine) -> None:
    lines = [f"NVRM: Xid (PCI:0000:3d:00): 119, pid={number}, Timeout" for number in range(5)]

    (found,) = logged(machine, *lines)

    assert [evidence.text.rpartition("pid=")[2] for evidence in found.evidence] == [
        "2, Timeout",
        "3, Timeout",
        "4, Timeout",
    ]


def test_without_the_driver_the_gpu_is_told_by_what_the_log_says_or_by_its_address(bare: Machine) -> None:
    found = logged(
        bare,
        f"NVRM: GPU at PCI:0000:3d:00: {UUIDS[0]}",
        "NVRM: Xid (PCI:0000:3d:00): 79, GPU has fallen off the bus.",
        "NVRM: Xid (PCI:0000:41:00): 79, GPU has fallen off the bus.",
    )

    assert [one.gpu for one in found] == [UUIDS[0], "0000:41:00.0"]


def test_what_was_before_the_driver_was_loaded_anew_is_over(machine: Machine) -> None:
    found = logged(
        machine,
        "NVRM: Xid (PCI:0000:3d:00): 79, GPU has fallen off the bus.",
        "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  418.39  Sat Feb  9 19:19:37 CST 2019",
        "NVRM: Xid (PCI:0000:41:00): 48, DBE",
    )

    assert [one.gpu for one in found] == [UUIDS[1]]


def test_what_was_before_a_gpu_recovered_is_over_for_that_gpu(machine: Machine) -> None:
    found = logged(
        machine,
        "NVRM: Xid (PCI:0000:3d:00): 119, Timeout",
        "NVRM: Xid (PCI:0000:41:00): 119, Timeout",
        "NVRM: Xid (PCI:0000:3d:00): 154, GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)",
    )

    assert [one.gpu for one in found] == [UUIDS[1]]


def test_what_programs_did_days_ago_is_not_told(machine: Machine) -> None:
    machine.at(BOOTED + 3 * 86400)

    assert logged(machine, "NVRM: Xid (PCI:0000:3d:00): 31, pid=1", "NVRM: Xid (PCI:0000:3d:00): 45, pid=1") == []


@pytest.mark.parametrize(
    "message",
    [
        "NVRM: GPU 0000:41:00.0: RmInitAdapter failed! (0x26:0x56:1474)",
        "NVRM: rm_init_adapter failed for device bearing minor number 1",
    ],
)
def test_a_gpu_that_the_driver_cannot_start_is_found(machine: Machine, message: str) -> None:
    machine.file(
        "/proc/driver/nvidia/gpus/0000:41:00.0/information",
        "Model: \t\t Unknown\nGPU UUID: \t GPU-????????-????-????-????-????????????\nDevice Minor: \t 1\n",
    )

    (found,) = logged(machine, "NVRM: RmInitAdapter failed! (0x26:0x56:1474)", message)

    assert (found.code, found.severity, found.gpu) == ("HRM-XID-006", Severity.ERROR, "1")


def test_a_fatal_error_of_a_switch_is_the_nodes_and_one_that_is_not_fatal_is_none(machine: Machine) -> None:
    (found,) = logged(
        machine,
        "nvidia-nvswitch0: SXid (PCI:0000:c1:00.0): 20034, Fatal, Link 30 LTSSM Fault Up",
        "nvidia-nvswitch1: SXid (PCI:0000:c2:00.0): 12028, Non-fatal, Link 32 egress non-posted PRIV error",
    )

    assert (found.code, found.gpu) == ("HRM-XID-007", None)


def test_a_log_without_xids_is_well(machine: Machine) -> None:
    loads = "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 2023"

    assert logged(machine, loads, "nvidia-uvm: Loaded the UVM driver, major device number 234.") == []


def test_a_log_that_cannot_be_looked_at_is_unseen(machine: Machine) -> None:
    machine.command("dmesg", status=1, stderr="dmesg: read kernel buffer failed: Operation not permitted").seen_by(1000)

    (run,) = machine.report([xid.xids]).checks_run

    assert "kernel's log" in run.unseen[0]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("PCI:0000:3d:00", "0000:3d:00.0"),
        ("00000000:3D:00.0", "0000:3d:00.0"),
        ("3d:00.0", "0000:3d:00.0"),
        ("PCI:0009:01:00", "0009:01:00.0"),
        ("invalid", ""),
    ],
)
def test_addresses_are_the_same_however_they_are_written(text: str, address: str) -> None:
    assert bus_address(text) == address


def test_a_number_has_one_of_four_actions_or_none_is_known() -> None:
    actions = {meaning.action for number in range(1, 200) if (meaning := meaning_of(number, ""))}

    assert actions == set(Action)
    assert meaning_of(1, "") is None
