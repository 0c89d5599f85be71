"""Faults of the machine itself, made for real: wrong addresses in namespaces, full disks, lines in the kernel's log."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hrm.doctor.checks import Check
from hrm.doctor.expected import Expected
from hrm.doctor.machine import CHECKS, kernel, routes, space
from hrm.doctor.processes import process
from hrm.doctor.runner import examine
from hrm.doctor.system import LocalSystem
from hrm.model.findings import Finding, Severity
from hrm.testing import eventually
from tests.doctor_real.namespaces import do, doctor_in, need

pytestmark = [pytest.mark.real, pytest.mark.doctor_real, pytest.mark.root]

KMSG = "/dev/kmsg"


def found_by(check: Check) -> list[Finding]:
    report = examine("here", LocalSystem(), Expected(), [check])
    assert [what for run in report.checks_run for what in run.unseen] == []
    return list(report.findings)


def test_an_address_that_another_machine_has_too_is_found_with_its_mac(
    namespaces: tuple[str, str], tmp_path: Path
) -> None:
    one, other = namespaces
    for name in namespaces:
        do("ip", "-n", name, "address", "add", "10.78.0.2/24", "dev", "eth0")

    (found,) = doctor_in(one, tmp_path / "home", routes.nobody_else_has_this_address.name)

    link = json.loads(
        subprocess.run(["ip", "-n", other, "-j", "link", "show", "eth0"], capture_output=True, check=True).stdout
    )
    assert found["code"] == "HRM-NET-006"
    assert link[0]["address"].lower() in found["title"].lower()


def test_an_address_of_its_own_is_well(namespaces: tuple[str, str], tmp_path: Path) -> None:
    one, other = namespaces
    do("ip", "-n", one, "address", "add", "10.78.0.2/24", "dev", "eth0")
    do("ip", "-n", other, "address", "add", "10.78.0.3/24", "dev", "eth0")
    do("ip", "-n", one, "route", "add", "default", "via", "10.78.0.3")

    # Name servers are out of reach there, and told to be.
    only = [check.name for check in CHECKS if check.area == "net" and check.name != "net.dns"]
    assert doctor_in(one, tmp_path / "home", *only) == []


def test_a_gateway_outside_of_the_network_and_a_wrong_netmask_are_found(
    namespaces: tuple[str, str], tmp_path: Path
) -> None:
    one, _ = namespaces
    do("ip", "-n", one, "address", "add", "10.78.0.2/25", "dev", "eth0")
    do("ip", "-n", one, "route", "add", "default", "via", "10.78.0.254", "dev", "eth0", "onlink")
    config = "doctor:\n  machine:\n    networks: [10.78.0.0/24]\n    gateway: 10.78.0.1\n"

    found = doctor_in(
        one,
        tmp_path / "home",
        routes.gateways_lie_in_their_networks.name,
        routes.netmasks_fit_the_networks.name,
        routes.there_is_a_way_out.name,
        config=config,
    )

    assert sorted(finding["code"] for finding in found) == ["HRM-NET-002", "HRM-NET-003", "HRM-NET-004"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system in memory with few bytes and inodes."""
    point = tmp_path / "small"
    point.mkdir()
    do("mount", "-t", "tmpfs", "-o", "size=32m,nr_inodes=64", "hrm-doctor-test", str(point))
    yield point
    do("umount", str(point))


def test_a_full_file_system_is_found_and_is_well_when_room_is_made(small_disk: Path) -> None:
    def ours() -> list[str]:
        return [one.code for one in found_by(space.disks_have_room) if f"{small_disk} " in one.title.en]

    assert ours() == []
    with pytest.raises(OSError, match="No space left"), open(small_disk / "large", "wb", buffering=0) as file:
        while file.write(b"x" * 65536):
            pass
    assert ours() == ["HRM-MACHINE-001"]

    (small_disk / "large").unlink()
    assert ours() == []


def test_a_file_system_without_inodes_is_found(small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        for number in range(100):
            (small_disk / str(number)).touch()

    ours = [one.code for one in found_by(space.disks_have_inodes) if f"{small_disk} " in one.title.en]

    assert ours == ["HRM-MACHINE-003"]


@pytest.fixture
def log() -> Iterator[Callable[[str], None]]:
    """The kernel's log, in which all is well again afterwards."""
    if not os.access(KMSG, os.W_OK):
        pytest.skip(f"{KMSG} cannot be written here")

    def write(line: str) -> None:
        with open(KMSG, "w") as file:
            file.write(f"<3>{line}\n")

    yield write
    write("sd 99:0:0:0: [sdzq] Attached SCSI disk (the end of a test)")
    write("EXT4-fs (sdzq1): mounted filesystem with ordered data mode (the end of a test)")


@pytest.mark.parametrize(
    ("line", "check", "code"),
    [
        ("I/O error, dev sdzq, sector {mark} op 0x0:(READ)", kernel.disks_have_no_errors, "HRM-KERNEL-002"),
        ("blk_update_request: I/O error, dev sdzq, sector {mark}", kernel.disks_have_no_errors, "HRM-KERNEL-002"),
        (
            "EXT4-fs error (device sdzq1): ext4_find_entry:1455: inode #2: {mark}",
            kernel.file_systems_have_no_errors,
            "HRM-KERNEL-003",
        ),
        (
            "EXT4-fs (sdzq1): Remounting filesystem read-only {mark}",
            kernel.file_systems_have_no_errors,
            "HRM-KERNEL-004",
        ),
    ],
)
def test_a_fault_in_the_kernels_log_is_found_and_over_when_the_disk_comes_anew(
    log: Callable[[str], None], line: str, check: Check, code: str
) -> None:
    mark = uuid.uuid4().hex[:8]

    def ours() -> list[Finding]:
        return [one for one in found_by(check) if any(mark in evidence.text for evidence in one.evidence)]

    log(line.format(mark=mark))
    assert [(one.code, one.severity) for one in ours()] == [(code, Severity.ERROR)]

    log("sd 99:0:0:0: [sdzq] Attached SCSI disk")
    log("EXT4-fs (sdzq1): mounted filesystem with ordered data mode")
    assert ours() == []


@pytest.mark.parametrize(
    ("line", "check", "code"),
    [
        ("Out of memory: Killed process 4194303 ({mark}) total-vm:9kB", kernel.no_memory_ran_out, "HRM-KERNEL-001"),
        ("INFO: task {mark}:4194303 blocked for more than 120 seconds.", kernel.nothing_hangs, "HRM-KERNEL-005"),
    ],
)
def test_what_is_past_is_told_as_info(log: Callable[[str], None], line: str, check: Check, code: str) -> None:
    mark = uuid.uuid4().hex[:8]

    log(line.format(mark=mark))

    ours = [one for one in found_by(check) if mark in one.title.en]
    assert [(one.code, one.severity) for one in ours] == [(code, Severity.INFO)]


def test_a_process_that_a_frozen_disk_holds_is_found_until_it_thaws(tmp_path: Path) -> None:
    need("mkfs.ext4", "fsfreeze", "losetup")
    image, point = tmp_path / "image", tmp_path / "frozen"
    point.mkdir()
    with open(image, "wb") as file:
        file.truncate(16 << 20)
    do("mkfs.ext4", "-q", "-F", str(image))
    do("mount", "-o", "loop", str(image), str(point))
    writer = None
    try:
        do("fsfreeze", "-f", str(point))
        try:
            writer = subprocess.Popen(["touch", str(point / "file")])
            pid = writer.pid
            eventually(lambda: (one := process(LocalSystem(), pid)) is not None and one.hangs, timeout_s=30)

            (found,) = [
                one for one in found_by(kernel.no_process_waits_in_the_kernel) if f"Process {pid} " in one.title.en
            ]
        finally:
            do("fsfreeze", "-u", str(point))
        assert writer.wait(timeout=60) == 0
        assert found.code == "HRM-KERNEL-008"
        ours = [one for one in found_by(kernel.no_process_waits_in_the_kernel) if f" {pid} " in one.title.en]
        assert ours == []
    finally:
        do("umount", str(point))
