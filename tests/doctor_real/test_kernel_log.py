"""Xid messages in this machine's own kernel log, written there as the driver does."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hrm.doctor.checks import Check
from hrm.doctor.expected import Expected
from hrm.doctor.gpu import xid
from hrm.doctor.kernel_log import kernel_lines
from hrm.doctor.runner import examine
from hrm.doctor.system import LocalSystem
from hrm.model.findings import Finding, Severity
from hrm.testing.other_user import OtherUser

pytestmark = [pytest.mark.real, pytest.mark.doctor_real, pytest.mark.root]

KMSG = "/dev/kmsg"
#: On a bus that no machine has.
AT = "0000:fe:1f"


def write(*lines: str) -> None:
    with open(KMSG, "w") as log:
        for line in lines:
            log.write(f"<3>{line}\n")
            log.flush()


@pytest.fixture
def log() -> Iterator[Callable[..., None]]:
    """The kernel's log; whatever a test wrote is over afterwards, as after the driver was loaded anew."""
    if not os.access(KMSG, os.W_OK):
        pytest.skip(f"{KMSG} cannot be written here")
    yield write
    write("NVRM: loading NVIDIA UNIX x86_64 Kernel Module  0.0  (the end of a test)")


def what_is_unseen() -> tuple[str, ...]:
    return examine("here", LocalSystem(), Expected(), [xid.xids]).checks_run[0].unseen


def found_by(check: Check) -> list[Finding]:
    report = examine("here", LocalSystem(), Expected(), [check])
    assert [what for run in report.checks_run for what in run.unseen] == []
    return [finding for finding in report.findings if any(AT in line.text for line in finding.evidence)]


@pytest.mark.parametrize(
    ("line", "code", "severity"),
    [
        ("NVRM: Xid (PCI:{at}): 79, pid={mark}, GPU has fallen off the bus.", "HRM-XID-003", Severity.ERROR),
        ("NVRM: Xid ({at}): 31, Ch {mark}, engmask 00000120, intr 10000000", "HRM-XID-002", Severity.INFO),
        ("NVRM: Xid (PCI:{at}): 64, pid='<unknown>', name={mark}, remapping failed", "HRM-XID-004", Severity.ERROR),
        ("NVRM: GPU {at}.0: GPU has fallen off the bus. {mark}", "HRM-XID-003", Severity.ERROR),
    ],
)
def test_a_message_in_the_log_is_found_with_its_line_and_its_time(
    log: Callable[..., None], line: str, code: str, severity: Severity
) -> None:
    mark = uuid.uuid4().hex[:8]
    system = LocalSystem()
    began = system.now()

    log(line.format(at=AT, mark=mark))

    ours = [one for one in found_by(xid.xids) if any(mark in evidence.text for evidence in one.evidence)]
    assert [(one.code, one.severity, one.gpu) for one in ours] == [(code, severity, f"{AT}.0")]
    ((told, _),) = kernel_lines(system, mark)
    assert told.text == line.format(at=AT, mark=mark)
    # The kernel's clock and the wall's go apart by some seconds in days.
    assert told.at is not None
    assert abs(told.at - began) < 120


def test_what_was_before_the_driver_was_loaded_anew_is_found_no_longer(log: Callable[..., None]) -> None:
    log(f"NVRM: Xid (PCI:{AT}): 79, GPU has fallen off the bus.")
    assert found_by(xid.xids)

    log("NVRM: loading NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023")

    assert found_by(xid.xids) == []


def test_who_may_not_see_the_log_is_told_so(nobody: OtherUser) -> None:
    if Path("/proc/sys/kernel/dmesg_restrict").read_text().strip() != "1":
        pytest.skip("everybody may see the kernel's log here")

    (unseen,) = nobody.do(what_is_unseen)

    assert "kernel's log" in unseen
    assert "root" in unseen
