"""Kernel log, memory, room on disks, and the clock of a machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.doctor.checks import Check
from hrm.doctor.expected import Expected
from hrm.doctor.expected.machine import MachineExpected
from hrm.doctor.machine import CHECKS, clock, kernel, memory, space
from hrm.doctor.units import show_command
from hrm.testing.machines import Machine

NOW = 1_600_000_000.0
BOOT = NOW - 200_000
DF = "Filesystem     Type 1024-blocks Used Available Capacity Mounted on\n"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path).at(NOW).file("/proc/stat", f"cpu 1 2 3\nbtime {int(BOOT)}\n")


def log(machine: Machine, *lines: str, ago_s: float = 60.0) -> Machine:
    """What dmesg says, each line as old as that."""
    at = NOW - BOOT - ago_s
    return machine.command("dmesg", stdout="".join(f"[{at:12.6f}] {line}\n" for line in lines))


def codes(machine: Machine, check: Check, expected: Expected | None = None) -> list[str]:
    return [found.code for found in machine.findings(check, expected)]


OF_18_04 = "Out of memory: Kill process 4711 (python) score 987 or sacrifice child"
OF_NOW = "Out of memory: Killed process 4711 (python) total-vm:99kB, anon-rss:98kB, file-rss:0kB, shmem-rss:0kB, UID:0"
OF_A_JOB = "Memory cgroup out of memory: Killed process 4711 (python) total-vm:99kB, anon-rss:98kB"


@pytest.mark.parametrize("line", [OF_18_04, OF_NOW])
def test_a_process_that_was_killed_for_want_of_memory_is_told(machine: Machine, line: str) -> None:
    (found,) = log(machine, line).findings(kernel.no_memory_ran_out)

    assert (found.code, found.severity) == ("HRM-KERNEL-001", "info")
    assert found.title.en == "The kernel ended 1 processes for want of memory, python last"
    assert line in found.evidence[0].text


def test_several_such_processes_are_told_once(machine: Machine) -> None:
    (found,) = log(machine, OF_NOW, OF_18_04, OF_NOW, OF_NOW).findings(kernel.no_memory_ran_out)

    assert (found.title.en.partition(" for")[0], len(found.evidence)) == ("The kernel ended 4 processes", 3)
    assert found.severity == "info"


@pytest.mark.parametrize(("line", "ago_s"), [(OF_A_JOB, 60.0), (OF_NOW, 7200.0)])
def test_a_job_over_its_own_limit_and_what_is_long_past_are_well(machine: Machine, line: str, ago_s: float) -> None:
    assert codes(log(machine, line, ago_s=ago_s), kernel.no_memory_ran_out) == []


@pytest.mark.parametrize(
    ("line", "device"),
    [
        ("blk_update_request: I/O error, dev sdb, sector 2048", "sdb"),
        ("print_req_error: I/O error, dev sdb, sector 2048 flags 0", "sdb"),
        ("I/O error, dev sdb, sector 2048 op 0x0:(READ) flags 0x80700 phys_seg 1 prio class 2", "sdb"),
        ("Buffer I/O error on dev sdb1, logical block 0, async page read", "sdb1"),
        ("Buffer I/O error on device sdb1, logical block 0", "sdb1"),
        ("critical medium error, dev sdc, sector 99 op 0x0:(READ)", "sdc"),
        ("ata1.00: failed command: READ FPDMA QUEUED", "ata1.00"),
        ("nvme nvme0: I/O 12 QID 3 timeout, aborting", "nvme0"),
        ("nvme nvme0: controller is down; will reset: CSTS=0xffffffff", "nvme0"),
    ],
)
def test_errors_of_a_disk_are_found_in_every_wording(machine: Machine, line: str, device: str) -> None:
    (found,) = log(machine, line).findings(kernel.disks_have_no_errors)

    assert (found.code, found.severity) == ("HRM-KERNEL-002", "error")
    assert found.title.en == f"{device} has I/O errors: 1 lines of the last day"


@pytest.mark.parametrize(
    "lines",
    [
        ("I/O error, dev sr0, sector 0", "blk_update_request: I/O error, dev fd0, sector 0"),
        ("I/O error, dev sdb, sector 1", "sd 2:0:0:0: [sdb] Attached SCSI disk"),
        ("ata1.00: failed command: READ DMA", "ata1: SATA link up 6.0 Gbps (SStatus 133 SControl 300)"),
        ("EXT4-fs (sda1): mounted filesystem with ordered data mode. Opts: (null)",),
    ],
)
def test_drives_without_a_medium_and_disks_that_came_anew_are_well(machine: Machine, lines: tuple[str, ...]) -> None:
    assert codes(log(machine, *lines), kernel.disks_have_no_errors) == []


@pytest.mark.parametrize(
    ("line", "code", "device"),
    [
        ("EXT4-fs error (device sda1): ext4_find_entry:1455: inode #2: comm ls: reading", "HRM-KERNEL-003", "sda1"),
        ("BTRFS error (device sdb): bad tree block start", "HRM-KERNEL-003", "sdb"),
        ("XFS (sdb1): metadata I/O error in xfs_trans_read_buf_map at daddr 0x2", "HRM-KERNEL-003", "sdb1"),
        ("EXT4-fs (sda1): Remounting filesystem read-only", "HRM-KERNEL-004", "sda1"),
        ("XFS (dm-0): xfs_do_force_shutdown: log I/O error -5", "HRM-KERNEL-004", "dm-0"),
        ("XFS (sdb1): Log I/O Error Detected. Shutting down filesystem", "HRM-KERNEL-004", "sdb1"),
        ("BTRFS info (device sdb): forced readonly", "HRM-KERNEL-004", "sdb"),
        ("EXT4-fs (sda1): Detected aborted journal", "HRM-KERNEL-004", "sda1"),
    ],
)
def test_file_systems_that_fail_are_found_in_every_wording(machine: Machine, line: str, code: str, device: str) -> None:
    (found,) = log(machine, line).findings(kernel.file_systems_have_no_errors)

    assert (found.code, found.severity) == (code, "error")
    assert f" {device} " in found.title.en


def test_an_error_and_what_follows_from_it_are_one_finding(machine: Machine) -> None:
    log(machine, "EXT4-fs error (device sda1): ext4_x: bad", "EXT4-fs (sda1): Remounting filesystem read-only")

    (found,) = machine.findings(kernel.file_systems_have_no_errors)

    assert found.code == "HRM-KERNEL-004"
    assert [evidence.text.partition("] ")[2] for evidence in found.evidence] == [
        "EXT4-fs error (device sda1): ext4_x: bad",
        "EXT4-fs (sda1): Remounting filesystem read-only",
    ]


@pytest.mark.parametrize(
    "again",
    [
        "EXT4-fs (sda1): mounted filesystem with ordered data mode. Quota mode: none.",
        "EXT4-fs (sda1): mounted filesystem 1234-abcd r/w with ordered data mode. Quota mode: none.",
        "EXT4-fs (sda1): re-mounted 1234-abcd r/w. Quota mode: none.",
    ],
)
def test_a_file_system_that_was_mounted_anew_is_well(machine: Machine, again: str) -> None:
    log(machine, "EXT4-fs (sda1): Remounting filesystem read-only", again)

    assert codes(machine, kernel.file_systems_have_no_errors) == []


def test_a_task_that_hangs_is_a_warning_while_it_does(machine: Machine) -> None:
    log(
        machine,
        "INFO: task kworker/u8:2:77 blocked for more than 120 seconds.",
        "INFO: task dd:88 blocked for more than 241 seconds.",
    )
    machine.process(88, "dd if=/data/x", state="D")

    found = machine.findings(kernel.nothing_hangs)

    assert [(one.title.en, one.severity) for one in found] == [
        ("The kernel complains of dd (pid 88) that hangs", "warning"),
        ("The kernel complains of kworker/u8:2 (pid 77) that hangs", "info"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "watchdog: BUG: soft lockup - CPU#3 stuck for 22s! [python:99]",
        "NMI watchdog: Watchdog detected hard LOCKUP on cpu 3",
        "INFO: rcu_sched self-detected stall on CPU",
        "rcu: INFO: rcu_sched detected stalls on CPUs/tasks:",
    ],
)
def test_a_processor_that_is_stuck_is_found(machine: Machine, line: str) -> None:
    assert codes(log(machine, line), kernel.nothing_hangs) == ["HRM-KERNEL-005"]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("mce: [Hardware Error]: Machine check events logged", "HRM-KERNEL-007"),
        ("EDAC MC0: 1 CE memory read error on CPU_SrcID#0_Ha#0_Chan#1_DIMM#0", "HRM-KERNEL-007"),
        ("{1}[Hardware Error]: event severity: corrected", "HRM-KERNEL-007"),
        ("EDAC MC0: 1 UE memory read error on CPU_SrcID#0_Ha#0_Chan#1_DIMM#0", "HRM-KERNEL-006"),
        ("mce: [Hardware Error]: CPU 2: Machine Check Exception: 5 Bank 3: be0000000100014", "HRM-KERNEL-006"),
        ("Memory failure: 0x7d0000: recovery action for dirty LRU page: Recovered", "HRM-KERNEL-006"),
        ("{2}[Hardware Error]: event severity: fatal", "HRM-KERNEL-006"),
    ],
)
def test_errors_of_hardware_are_told_apart_by_whether_they_were_corrected(
    machine: Machine, line: str, code: str
) -> None:
    assert codes(log(machine, line), kernel.hardware_reports_no_errors) == [code]


@pytest.mark.parametrize(
    "check",
    [check for check in CHECKS if check.area in ("kernel", "memory", "machine", "clock")],
    ids=lambda check: check.name,
)
def test_a_plain_machine_is_well(machine: Machine, check: Check) -> None:
    log(
        machine,
        "Linux version 6.1.0-18-amd64",
        "EXT4-fs (vda1): mounted filesystem with ordered data mode. Quota mode: none.",
        "EXT4-fs (vda1): re-mounted. Quota mode: none.",
        "XFS (vdb): Mounting V5 Filesystem",
        "XFS (vdb): Ending clean mount",
        "mce: CPU supports 10 MCE banks",
        "EDAC MC: Ver: 3.0.0",
        "MCE: In-kernel MCE decoding enabled.",
        "systemd[1]: Finished Remount Root and Kernel File Systems.",
        OF_A_JOB,
    )
    machine.file("/proc/meminfo", "MemTotal: 24684092 kB\nMemFree: 900 kB\nMemAvailable: 23220216 kB\n")
    machine.file(
        "/proc/pressure/memory",
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n",
    )
    machine.command("df", "-PTkl", stdout=DF + "/dev/vda1 ext4 264212084 35910764 59590500 38% /\n")
    machine.command("df", "-PTil", stdout=DF + "/dev/vda1 ext4 16777216 944729 15832487 6% /\n")
    machine.process(1, "/sbin/init").process(2, "kthreadd")

    assert codes(machine, check) == []


def test_a_process_that_waits_in_the_kernel_all_the_time_is_found(machine: Machine) -> None:
    machine.process(88, "dd if=/data/x of=/dev/null", state="D").file("/proc/88/wchan", "rpc_wait_bit_killable")
    machine.command("sleep", "1")

    (found,) = machine.findings(kernel.no_process_waits_in_the_kernel)

    assert found.title.en == "Process 88 (dd) waits in the kernel (rpc_wait_bit_killable) and cannot be ended"


@pytest.mark.parametrize(("available", "found"), [(400_000, ["HRM-MEMORY-001"]), (900_000, []), (23_000_000, [])])
def test_little_memory_is_found(machine: Machine, available: int, found: list[str]) -> None:
    machine.file("/proc/meminfo", f"MemTotal:       24684092 kB\nMemAvailable:   {available} kB\n")

    assert codes(machine, memory.memory_is_left) == found


def test_programs_that_wait_for_memory_are_found_by_the_kernels_pressure(machine: Machine) -> None:
    machine.file(
        "/proc/pressure/memory",
        "some avg10=80.0 avg60=70.1 avg300=9 total=1\nfull avg10=60.0 avg60=45.2 avg300=5 total=1\n",
    )

    (found,) = machine.findings(memory.memory_is_not_swapped_to_and_fro)

    assert found.title.en == "The machine waits for memory more than it works (45 % of the last minute)"


@pytest.mark.parametrize(("rate", "found"), [("52000 61000", ["HRM-MEMORY-002"]), ("0 61000", []), ("12 9", [])])
def test_older_kernels_are_asked_by_vmstat(machine: Machine, rate: str, found: list[str]) -> None:
    machine.file("/proc/meminfo", "MemTotal: 8 kB\nSwapTotal:      2097148 kB\nSwapFree:        12 kB\n")
    head = "procs -----------memory---------- ---swap-- -----io---- -system-- ------cpu-----\n r  b   swpd   free ...\n"
    machine.command(
        "vmstat",
        "1",
        "2",
        stdout=f"{head} 1  9 2097136 1 2 3  1 1 1 1 1 1 1 1\n 1  9 2097136 1 2 3 {rate} 1 1 1 1 1 1\n",
    )

    assert codes(machine, memory.older_kernels_do_not_swap_to_and_fro) == found


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"mc0/dimm0/dimm_ue_count": "1", "mc0/dimm0/dimm_label": "CPU0_DIMM_A1"}, ["HRM-MEMORY-003"]),
        ({"mc0/dimm0/dimm_ce_count": "4200"}, ["HRM-MEMORY-004"]),
        ({"mc0/ue_count": "2", "mc0/ce_count": "3"}, ["HRM-MEMORY-003"]),
        ({"mc0/ue_count": "0", "mc0/ce_count": "3", "mc0/dimm0/dimm_ce_count": "3"}, []),
    ],
)
def test_errors_of_memory_modules_are_found(machine: Machine, files: dict[str, str], found: list[str]) -> None:
    for name, value in files.items():
        machine.file(f"{memory.EDAC}/{name}", f"{value}\n")

    assert codes(machine, memory.modules_have_no_errors) == found


def test_a_machine_that_is_smaller_than_it_is_to_be_is_found(machine: Machine) -> None:
    machine.file("/proc/meminfo", "MemTotal:       131072000 kB\n").file("/sys/devices/system/cpu/online", "0-14,16\n")
    expected = Expected(machine=MachineExpected(memory_mib=196608, cpus=32))

    assert codes(machine, memory.machine_is_as_large_as_it_is_to_be, expected) == ["HRM-MEMORY-005", "HRM-MEMORY-006"]


def test_a_machine_of_the_expected_size_is_well(machine: Machine) -> None:
    machine.file("/proc/meminfo", "MemTotal:       131072000 kB\n").file("/sys/devices/system/cpu/online", "0-31\n")
    expected = Expected(machine=MachineExpected(memory_mib=131072, cpus=32))

    assert codes(machine, memory.machine_is_as_large_as_it_is_to_be, expected) == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("/dev/sda2 ext4 264212084 264000000 0 100% /", [("HRM-MACHINE-001", "critical")]),
        ("/dev/sdb1 xfs 264212084 264200000 12084 100% /scratch", [("HRM-MACHINE-001", "error")]),
        ("tmpfs tmpfs 65536 65536 0 100% /mnt/t", [("HRM-MACHINE-001", "error")]),
        ("/dev/sdb1 xfs 264212084 262212084 2000000 97% /scratch", [("HRM-MACHINE-002", "warning")]),
        ("/dev/sdb1 xfs 2642120840 2542120840 100000000 97% /scratch", []),
        ("/dev/loop3 squashfs 65536 65536 0 100% /snap/core/1", []),
        ("overlay overlay 264212084 264000000 0 100% /var/lib/docker/overlay2/x/merged", []),
        ("/dev/sr0 iso9660 65536 65536 0 100% /media/cd", []),
        ("tmpfs tmpfs 4 4 0 100% /run/credentials", []),
        ("efivarfs efivarfs 128 120 8 94% /sys/firmware/efi/efivars", []),
        ("/dev/sdc1 ext4 264212084 264000000 0 100% /archive", []),
    ],
)
def test_file_systems_without_room_are_found(machine: Machine, line: str, found: list[tuple[str, str]]) -> None:
    machine.file("/proc/self/mountinfo", "36 1 8:33 / /archive ro,relatime - ext4 /dev/sdc1 ro\n")
    machine.command("df", "-PTkl", stdout=DF + line + "\n")

    assert [(one.code, str(one.severity)) for one in machine.findings(space.disks_have_room)] == found


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("/dev/sda2 ext4 16777216 16777216 0 100% /", [("HRM-MACHINE-003", "critical")]),
        ("/dev/sdb1 ext4 16777216 16700000 77216 100% /scratch", [("HRM-MACHINE-004", "warning")]),
        ("/dev/sdb1 btrfs 0 0 0 - /scratch", []),
        ("/dev/sdb1 vfat - - - - /boot/efi", []),
    ],
)
def test_file_systems_without_inodes_are_found(machine: Machine, line: str, found: list[tuple[str, str]]) -> None:
    machine.command("df", "-PTil", stdout=DF + line + "\n")

    assert [(one.code, str(one.severity)) for one in machine.findings(space.disks_have_inodes)] == found


def test_a_df_that_hangs_is_said_to_be_unseen(machine: Machine) -> None:
    report = machine.command("df", "-PTkl", hangs=True).report([space.disks_have_room])

    assert report.checks_run[0].unseen == ("df -PTkl: no answer in time",)


CHRONY = """Reference ID    : {reference}
Stratum         : 3
System time     : {offset} seconds slow of NTP time
Last offset     : -0.000012 seconds
Leap status     : {leap}
"""
NTPQ_HEAD = "     remote           refid      st t when poll reach   delay   offset  jitter\n====\n"


@pytest.mark.parametrize(
    ("offset", "leap", "found"),
    [
        ("0.000012345", "Normal", []),
        ("1.500000000", "Normal", [("HRM-CLOCK-002", "warning")]),
        ("312.000000000", "Normal", [("HRM-CLOCK-002", "error")]),
        ("0.000000000", "Not synchronised", [("HRM-CLOCK-001", "warning")]),
    ],
)
def test_chrony_is_asked_for_source_and_offset(
    machine: Machine, offset: str, leap: str, found: list[tuple[str, str]]
) -> None:
    said = CHRONY.format(reference="AC130001 (172.19.0.1)", offset=offset, leap=leap)
    machine.command("chronyc", "-n", "tracking", stdout=said)

    assert [(one.code, str(one.severity)) for one in machine.findings(clock.the_clock_is_kept_right)] == found


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("*172.19.0.1      .GPS.   1 u   12   64  377    0.112   -0.034   0.011", []),
        ("*172.19.0.1      .GPS.   1 u   12   64  377    0.112  -2400.5   0.011", ["HRM-CLOCK-002"]),
        (" 172.19.0.1      .INIT. 16 u    -   64    0    0.000    0.000   0.000", ["HRM-CLOCK-001"]),
    ],
)
def test_ntpd_is_asked_for_its_peer(machine: Machine, line: str, found: list[str]) -> None:
    machine.command("ntpq", "-pn", stdout=NTPQ_HEAD + line + "\n")

    assert codes(machine, clock.the_clock_is_kept_right) == found


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("Timezone=Etc/UTC\nNTP=yes\nNTPSynchronized=yes\n", []),
        ("Timezone=Etc/UTC\nNTP=yes\nNTPSynchronized=no\n", ["HRM-CLOCK-001"]),
        ("Timezone=Etc/UTC\nNTP=no\nNTPSynchronized=no\n", []),
    ],
)
def test_timesyncd_is_asked_where_systemd_runs(machine: Machine, said: str, found: list[str]) -> None:
    machine.directory("/run/systemd/system").command("timedatectl", "show", stdout=said)

    assert codes(machine, clock.the_clock_is_kept_right) == found


def test_older_systemd_has_only_a_table_for_people(machine: Machine) -> None:
    table = "System clock synchronized: no\nsystemd-timesyncd.service active: yes\n           RTC in local TZ: no\n"
    machine.directory("/run/systemd/system").command("timedatectl", "show", status=1, stderr="Unknown operation show.")

    assert codes(machine.command("timedatectl", "status", stdout=table), clock.the_clock_is_kept_right) == [
        "HRM-CLOCK-001"
    ]


@pytest.mark.parametrize(("active", "found"), [("failed", ["HRM-CLOCK-003"]), ("active", []), ("inactive", [])])
def test_a_time_service_that_failed_is_found(machine: Machine, active: str, found: list[str]) -> None:
    machine.directory("/run/systemd/system").file("/lib/systemd/system/chrony.service", "[Service]\n")
    machine.link("/etc/systemd/system/multi-user.target.wants/chrony.service", "/lib/systemd/system/chrony.service")
    machine.command(
        *show_command("chrony"), stdout=f"LoadState=loaded\nActiveState={active}\nSubState=x\nResult=exit-code\n"
    )

    assert codes(machine, clock.the_time_service_runs) == found
