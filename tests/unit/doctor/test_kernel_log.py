"""The kernel's log, wherever it can be looked at."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from hrm.doctor.kernel_log import DMESG, JOURNAL, boot_time, kernel_lines
from hrm.doctor.system import CannotSee
from hrm.testing.machines import Machine

BOOTED = 1_600_000_000.0
XID = "NVRM: Xid (PCI:0000:3d:00): 79, GPU has fallen off the bus."


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path).file("/proc/stat", f"cpu  1 2 3\nbtime {BOOTED:.0f}\n").at(BOOTED + 3600)


def local(seconds: float, form: str) -> str:
    return time.strftime(form, time.localtime(seconds))


@pytest.mark.parametrize(
    "prefix",
    [
        "[  600.250000] ",
        "[  600.250000][ T1234] ",
        "[  600.250000] [T1234] ",
        "[  600.250000][    C3] ",
        "kern  :err   : [  600.250000] ",
    ],
)
def test_a_line_has_the_time_that_the_kernel_gave_it_counted_from_the_boot(machine: Machine, prefix: str) -> None:
    machine.kernel_log("[    0.000000] Linux version 4.15.0-122-generic", prefix + XID)

    ((line, found),) = kernel_lines(machine.system(), r"Xid \((\S+)\)")

    assert (line.text, line.at, found[1]) == (XID, BOOTED + 600.25, "PCI:0000:3d:00")
    assert str(line.evidence) == f"dmesg: {prefix}{XID}"


def test_readable_times_of_dmesg_are_understood(machine: Machine) -> None:
    machine.kernel_log(f"[{local(BOOTED + 600, '%a %b %e %H:%M:%S %Y')}] {XID}")

    ((line, _),) = kernel_lines(machine.system(), "Xid")

    assert (line.text, line.at) == (XID, BOOTED + 600)


def test_only_lines_of_the_last_seconds_are_told_where_that_is_asked_for(machine: Machine) -> None:
    machine.kernel_log(f"[  600.0] {XID}", f"[ 3500.0] {XID}", XID)

    times = [line.at for line, _ in kernel_lines(machine.system(), "Xid", within_s=300)]

    assert times == [BOOTED + 3500, None]


def test_the_boot_is_told_from_the_uptime_where_the_kernel_does_not_say_it(tmp_path: Path) -> None:
    machine = Machine(tmp_path).file("/proc/uptime", "3600.00 7000.00\n").at(BOOTED + 3600)

    assert boot_time(machine.system()) == BOOTED


def test_the_journal_is_asked_where_the_kernel_does_not_tell(machine: Machine) -> None:
    machine.command(*DMESG, status=1, stderr="dmesg: read kernel buffer failed: Operation not permitted")
    machine.command(*JOURNAL, stdout=f"{BOOTED + 5:.6f} slave06 kernel: {XID}\n")

    ((line, _),) = kernel_lines(machine.system(), "Xid")

    assert (line.text, line.at) == (XID, BOOTED + 5)


@pytest.mark.parametrize("path", ["/var/log/kern.log", "/var/log/messages", "/var/log/syslog"])
def test_files_of_syslog_are_read_from_the_last_boot_on(machine: Machine, path: str) -> None:
    def stamped(seconds: float, text: str) -> str:
        return f"{local(seconds, '%b %e %H:%M:%S')} slave06 kernel: {text}\n"

    machine.file(
        path,
        stamped(BOOTED - 90, f"[99999.100000] {XID}")
        + stamped(BOOTED, "[    0.000000] Linux version 4.15.0-122-generic")
        + stamped(BOOTED + 9, f"[    9.000000] {XID}")
        + f"{local(BOOTED + 10, '%b %e %H:%M:%S')} slave06 sshd[7]: somebody typed {XID}\n",
    )

    ((line, _),) = kernel_lines(machine.system(), "Xid")

    assert (line.text, line.at) == (XID, BOOTED + 9)
    assert (line.evidence.source, line.evidence.line) == (path, 3)


def test_of_a_disk_alone_the_last_boot_is_the_one_that_its_log_tells_of(tmp_path: Path) -> None:
    lines = (f"[99999.1] {XID}", "[    0.0] Linux version 4.15.0-122-generic", f"[    9.0] {XID}")
    log = "".join(f"Aug  3 05:45:12 slave06 kernel: {line}\n" for line in lines)

    ((line, _),) = kernel_lines(Machine(tmp_path).file("/var/log/kern.log", log).system(), "Xid")

    assert line.evidence.line == 3


def test_what_was_kept_of_dmesg_is_read_of_a_machine_that_has_nothing_else(machine: Machine) -> None:
    machine.file("/var/log/dmesg", f"[    0.000000] kernel: Linux version 5.4.0\n[    9.500000] kernel: {XID}\n")

    ((line, _),) = kernel_lines(machine.system(), "Xid")

    assert (line.text, line.at) == (XID, BOOTED + 9.5)


def test_a_log_that_somebody_emptied_is_seen_and_has_nothing_unless_a_copy_has_more(machine: Machine) -> None:
    machine.kernel_log()
    assert list(kernel_lines(machine.system(), "Xid")) == []

    machine.file("/var/log/kern.log", f"{local(BOOTED + 9, '%b %e %H:%M:%S')} slave06 kernel: {XID}\n")

    assert len(list(kernel_lines(machine.system(), "Xid"))) == 1


def test_times_with_a_zone_are_understood(machine: Machine) -> None:
    machine.file("/var/log/kern.log", f"2020-09-13T14:36:40.5+02:00 slave06 kernel: [  600.5] {XID}\n")

    ((line, _),) = kernel_lines(machine.system(), "Xid")

    assert (line.text, line.at) == (XID, BOOTED + 600.5)


def test_what_a_file_tells_of_an_earlier_boot_is_passed_over_also_when_it_was_not_told(machine: Machine) -> None:
    machine.file("/var/log/kern.log", f"{local(BOOTED - 86400, '%b %e %H:%M:%S')} slave06 kernel: [9.0] {XID}\n")

    assert list(kernel_lines(machine.system(), "Xid")) == []


def test_a_log_that_only_root_may_see_is_unseen(machine: Machine) -> None:
    machine.command(*DMESG, status=1, stderr="dmesg: read kernel buffer failed: Operation not permitted")
    # Who may not read its files is told nothing by it, and no error.
    machine.command(*JOURNAL, stdout="").seen_by(1000).denied("/var/log/kern.log")

    with pytest.raises(CannotSee, match=r"kernel's log: dmesg: .*Operation not permitted.*kern.log.*needs root"):
        list(kernel_lines(machine.system(), "Xid"))


def test_a_machine_that_keeps_no_log_is_unseen(machine: Machine) -> None:
    with pytest.raises(CannotSee, match=r"there is no dmesg, no journal and no kern\.log"):
        list(kernel_lines(machine.system(), "Xid"))
