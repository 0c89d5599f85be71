"""What is to be mounted: whether it is, can be written, comes back after a restart, and can be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.doctor.expected import Expected
from hrm.doctor.expected.storage import MountExpected, StorageExpected
from hrm.doctor.mounts import FSTAB, MOUNTINFO, RC_LOCAL
from hrm.doctor.storage import disk_boot, disk_mounts, disk_probe
from hrm.doctor.storage.disk_mounts import network_mounts
from hrm.model.findings import Severity
from hrm.testing.machines import Machine

ROOT = "22 1 8:4 / / rw,relatime shared:1 - ext4 /dev/sda4 rw,errors=remount-ro\n"
ARRAY = "62 22 8:16 / /data rw,relatime - ext4 /dev/sdb rw\n"
NFS = "61 22 0:51 / /data rw,relatime - nfs4 172.19.0.200:/data rw,vers=4.2,hard,addr=172.19.0.200\n"
RC = "mount -t nfs 172.19.0.200:/data /data\n"
RC_UNIT = "/lib/systemd/system/rc-local.service"
GENERATOR = "/lib/systemd/system-generators/systemd-rc-local-generator"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path).file("/etc/hostname", "master00\n").file(MOUNTINFO, ROOT + ARRAY)
    machine.link("/dev/disk/by-uuid/0f2a-11", "../../sdb").link("/dev/disk/by-uuid/6235-22", "../../sda4")
    return machine.command("dmesg", stdout="[ 1.0] Linux version 4.15\n")


def on_iscsi(machine: Machine) -> Machine:
    session = "/sys/class/iscsi_session/session1"
    machine.file(f"{session}/targetname", "iqn.x\n").file(f"{session}/state", "LOGGED_IN\n")
    return machine.file(f"{session}/device/target2:0:0/2:0:0:0/block/sdb/size", "100\n")


def wanting(**said: object) -> Expected:
    return Expected(storage=StorageExpected(mounts=(MountExpected(path="/data", **said),)))  # type: ignore[arg-type]


def codes(machine: Machine, check, expected: Expected | None = None) -> list[str]:
    return [found.code for found in machine.findings(check, expected)]


# --- what is mounted


def test_a_machine_with_all_that_fstab_wants_is_well(machine: Machine) -> None:
    machine.file(
        FSTAB,
        "UUID=6235-22 / ext4 errors=remount-ro 0 1\nUUID=0f2a-11 /data ext4 _netdev 0 2\n/dev/sr0 /cdrom udf,"
        "iso9660 user,noauto 0 0\n",
    )
    on_iscsi(machine)

    for check in (
        disk_mounts.mounts_are_as_planned,
        disk_boot.rc_local_works_at_boot,
        disk_boot.mounts_come_back,
        disk_boot.fstab_names_disks_that_stay,
        disk_probe.mounts_can_be_used,
    ):
        assert codes(machine, check, wanting(source="UUID=0f2a-11")) == []


@pytest.mark.parametrize(
    ("line", "severity", "command"),
    [
        ("UUID=77 /opt ext4 defaults 0 2", Severity.ERROR, "mount /opt"),
        ("master00:/opt /opt nfs _netdev,nofail 0 0", Severity.WARNING, "mount /opt"),
    ],
)
def test_what_fstab_wants_and_is_not_mounted_is_found(
    machine: Machine, line: str, severity: Severity, command: str
) -> None:
    machine.file(FSTAB, f"{line}\n")

    (found,) = machine.findings(disk_mounts.mounts_are_as_planned)

    assert (found.code, found.severity, found.evidence[0].text) == ("HRM-DISK-001", severity, line)
    assert [step.command for step in found.cure] == [command]
    assert "Delete nothing" in disk_mounts.NOT_MOUNTED.cure.en


def test_what_rc_local_mounts_is_mounted_again_as_it_stands_there(machine: Machine) -> None:
    machine.file(MOUNTINFO, ROOT).file(RC_LOCAL, f"#!/bin/sh\n{RC}", mode=0o755)

    (found,) = machine.findings(disk_mounts.mounts_are_as_planned)

    assert [step.command for step in found.cure] == ["mount -t nfs 172.19.0.200:/data /data"]


def test_what_all_jobs_need_and_is_not_mounted_is_critical(machine: Machine) -> None:
    machine.file(MOUNTINFO, ROOT)

    (found,) = machine.findings(disk_mounts.mounts_are_as_planned, wanting(required=True, source="master:/data"))

    assert (found.code, found.severity) == ("HRM-DISK-001", Severity.CRITICAL)
    assert codes(machine, disk_mounts.mounts_are_as_planned, wanting(nodes=("slave01",))) == []


@pytest.mark.parametrize(
    ("mounted", "wanted", "is_well"),
    [
        (ARRAY, "UUID=0f2a-11", True),
        (ARRAY, "UUID=6235-22", False),
        (ARRAY, "/dev/disk/by-uuid/0f2a-11", True),
        (ARRAY, "172.19.0.200:/data", False),
        (NFS, "master00:/data", True),
        (NFS, "172.19.0.200:/opt", False),
        (NFS, "/dev/sdb", False),
        (ARRAY, "LABEL=unknown", True),
    ],
)
def test_something_else_at_the_mount_point_is_found_where_that_is_certain(
    machine: Machine, mounted: str, wanted: str, is_well: bool
) -> None:
    machine.file(MOUNTINFO, ROOT + mounted)

    found = codes(machine, disk_mounts.mounts_are_as_planned, wanting(source=wanted))

    assert found == ([] if is_well else ["HRM-DISK-002"])


@pytest.mark.parametrize(
    ("line", "log"),
    [
        (ARRAY.replace("sdb rw", "sdb ro,errors=remount-ro"), "EXT4-fs (sdb): Remounting filesystem read-only"),
        (
            ARRAY.replace("sdb rw", "sdb rw,emergency_ro"),
            "EXT4-fs error (device sdb): ext4_journal_check_start: aborted",
        ),
        (
            ARRAY.replace("ext4 /dev/sdb rw", "xfs /dev/sdb rw,shutdown"),
            "XFS (sdb): Filesystem has been shut down due to log error",
        ),
        (ARRAY.replace("ext4 /dev/sdb rw", "btrfs /dev/sdb ro"), "BTRFS info (device sdb): forced readonly"),
    ],
)
def test_a_filesystem_that_stopped_after_errors_is_found_with_what_the_kernel_said(
    machine: Machine, line: str, log: str
) -> None:
    machine.file(MOUNTINFO, ROOT + line).command("dmesg", stdout=f"[ 1.0] x\n[ 9.0] {log}\n")
    fresh = machine.system()

    (found,) = list(disk_mounts.mounts_are_as_planned.look(_second_dmesg(fresh), Expected()))

    assert found.code == "HRM-DISK-003"
    assert [evidence.text for evidence in found.evidence] == [line.strip(), f"[ 9.0] {log}"]
    assert [step.command for step in found.cure][1] == "umount /data"
    assert found.cure[2].command == ("xfs_repair /dev/sdb" if "xfs" in line else f"fsck.{line.split()[7]} -p /dev/sdb")


def _second_dmesg(system):
    system.run("dmesg")
    return system


def test_the_root_that_stopped_is_critical_and_takes_a_restart(machine: Machine) -> None:
    machine.file(MOUNTINFO, ROOT.replace("sda4 rw", "sda4 ro"))

    (found,) = machine.findings(disk_mounts.mounts_are_as_planned)

    assert (found.code, found.severity) == ("HRM-DISK-003", Severity.CRITICAL)
    assert found.cure[-1].command == "systemctl reboot"


def test_a_mount_that_is_read_only_and_is_to_be_written_is_found(machine: Machine) -> None:
    machine.file(MOUNTINFO, ROOT + "62 22 8:16 / /data ro,relatime - ext4 /dev/sdb ro\n")

    (found,) = machine.findings(disk_mounts.mounts_are_as_planned, wanting())
    by_intent = codes(machine, disk_mounts.mounts_are_as_planned, wanting(read_only=True))
    by_fstab = codes(machine.file(FSTAB, "UUID=0f2a-11 /data ext4 ro 0 2\n"), disk_mounts.mounts_are_as_planned)

    assert (found.code, found.cure[0].command) == ("HRM-DISK-004", "mount -o remount,rw /data")
    assert by_intent == by_fstab == []


def test_two_filesystems_at_one_mount_point_are_found_and_the_cure_removes_no_file(machine: Machine) -> None:
    machine.file(MOUNTINFO, ROOT + ARRAY + NFS)

    (found,) = machine.findings(disk_mounts.mounts_are_as_planned)

    assert found.code == "HRM-DISK-005"
    assert found.cure[1].command == "umount -l /data"


def test_binds_snaps_and_mounts_on_demand_are_well(machine: Machine) -> None:
    machine.file(
        MOUNTINFO,
        ROOT
        + ARRAY
        + "70 22 0:60 / /snap/core/1 ro,nodev - squashfs /dev/loop0 ro\n"
        + "71 22 8:4 /srv /export ro,relatime - ext4 /dev/sda4 rw\n"
        + "72 22 0:70 / /opt rw - autofs systemd-1 rw,fd=30\n"
        + "73 22 8:4 /srv /srv rw,relatime - ext4 /dev/sda4 rw\n"
        + "74 73 8:4 /srv /srv rw,relatime - ext4 /dev/sda4 rw\n",
    )
    machine.file(FSTAB, "/srv /export none bind,ro 0 0\nmaster:/opt /opt nfs x-systemd.automount 0 0\n")

    assert machine.findings(disk_mounts.mounts_are_as_planned) == []


# --- after the next restart


@pytest.mark.parametrize(
    ("content", "mode", "files", "expected"),
    [
        (f"#!/bin/sh -e\n{RC}exit 0\n", 0o755, {RC_UNIT: "[Unit]\nAfter=network-online.target\n", GENERATOR: ""}, []),
        (RC, 0o755, {}, ["HRM-DISK-010"]),
        (f"#!/bin/sh\n{RC}", 0o644, {}, ["HRM-DISK-011"]),
        (RC, 0o644, {}, ["HRM-DISK-010", "HRM-DISK-011"]),
        (f"#!/bin/sh\n{RC}", 0o755, {RC_UNIT: "[Unit]\nAfter=network-online.target\n"}, ["HRM-DISK-012"]),
        (f"#!/bin/sh\n{RC}", 0o755, {RC_UNIT: "[Unit]\nAfter=network.target\n", GENERATOR: ""}, ["HRM-DISK-013"]),
        (
            f"#!/bin/sh\n{RC}",
            0o755,
            {
                RC_UNIT: "[Unit]\nAfter=network.target\n",
                GENERATOR: "",
                f"{RC_UNIT}.d/debian.conf": "[Unit]\nAfter=network-online.target\n",
            },
            [],
        ),
        ("#!/bin/sh\nmount /dev/sdb/data\n", 0o755, {}, ["HRM-DISK-014"]),
        ("#!/bin/sh\nMount /dev/sdb /data\n", 0o755, {}, ["HRM-DISK-014"]),
        ("#!/bin/sh\nexit 0\n", 0o644, {}, []),
    ],
)
def test_an_rc_local_that_does_not_mount_at_boot_is_found(
    machine: Machine, content: str, mode: int, files: dict[str, str], expected: list[str]
) -> None:
    machine.file(RC_LOCAL, content, mode=mode)
    for path, text in files.items():
        machine.file(path, text)

    assert codes(machine, disk_boot.rc_local_works_at_boot) == expected


def test_the_cure_writes_a_mount_unit_that_waits_for_the_network(machine: Machine) -> None:
    machine.file(RC_LOCAL, RC, mode=0o755)

    (found,) = machine.findings(disk_boot.rc_local_works_at_boot)

    write, reload, enable, take_out = found.cure
    assert write.writes is not None and write.writes.path == "/etc/systemd/system/data.mount"
    assert write.writes.content == (
        "[Unit]\n"
        "Description=172.19.0.200:/data at /data\n"
        "Wants=network-online.target\n"
        "After=network-online.target\n"
        "\n"
        "[Mount]\n"
        "What=172.19.0.200:/data\n"
        "Where=/data\n"
        "Type=nfs\n"
        "Options=_netdev,hard\n"
        "TimeoutSec=90\n"
        "\n"
        "[Install]\n"
        "WantedBy=remote-fs.target\n"
    )
    assert [reload.command, enable.command] == ["systemctl daemon-reload", "systemctl enable data.mount"]
    assert take_out.by_hand


@pytest.mark.parametrize(("mounted", "kind"), [(NFS, "nfs"), (ARRAY, "ext4")])
def test_what_was_mounted_by_hand_from_the_network_is_found(machine: Machine, mounted: str, kind: str) -> None:
    on_iscsi(machine.file(MOUNTINFO, ROOT + mounted)).directory("/lib/systemd/system/x.wants")

    (found,) = machine.findings(disk_boot.mounts_come_back)

    assert (found.code, found.severity) == ("HRM-DISK-015", Severity.WARNING)
    assert found.cure[0].writes is not None and f"Type={kind}\n" in found.cure[0].writes.content
    assert ("iscsid.service" in found.cure[0].writes.content) == (kind == "ext4")


def test_mount_units_that_are_off_or_misnamed_are_found(machine: Machine) -> None:
    unit = "[Mount]\nWhat=m:/x\nWhere={}\n"
    machine.file("/etc/systemd/system/opt.mount", unit.format("/opt"))
    machine.file("/etc/systemd/system/my-data.mount", unit.format("/my-data"))

    found = machine.findings(disk_boot.mounts_come_back)

    assert {one.code: one.cure[0].command for one in found} == {
        "HRM-DISK-016": "systemctl enable opt.mount",
        "HRM-DISK-017": "mv /etc/systemd/system/my-data.mount '/etc/systemd/system/my\\x2ddata.mount'",
    }


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("/dev/sdb /data ext4 _netdev 0 2", ["HRM-DISK-018"]),
        ("UUID=0f2a-11 /data ext4 defaults 0 2", ["HRM-DISK-019"]),
        ("/dev/sdb /data ext4 defaults 0 2", ["HRM-DISK-018", "HRM-DISK-019"]),
        ("UUID=ffff-00 /data ext4 _netdev 0 2", ["HRM-DISK-020"]),
        ("/dev/sda4 / ext4 defaults 0 1", []),
        ("UUID=0F2A-11 /data ext4 _netdev 0 2", []),
    ],
)
def test_lines_of_fstab_that_do_not_hold_for_a_disk_of_the_array_are_found(
    machine: Machine, line: str, expected: list[str]
) -> None:
    on_iscsi(machine).file(FSTAB, f"{line}\n")

    found = machine.findings(disk_boot.fstab_names_disks_that_stay)

    assert [one.code for one in found] == expected
    if expected[:1] == ["HRM-DISK-018"]:
        assert "UUID=0f2a-11 /data ext4 _netdev 0 2" in found[0].cure[0].about.en


# --- the probe

WRITE = ("dd", "if=/dev/zero", "of=/data/.hrm-probe-master00", "bs=1M", "count=4", "conv=fsync")
READ = ("dd", "if=/data/.hrm-probe-master00", "of=/dev/null", "bs=1M")
COPIED = "4+0 records in\n4+0 records out\n4194304 bytes (4.2 MB, 4.0 MiB) copied, {} s, 1 MB/s\n"


def test_a_file_that_is_written_and_read_in_time_is_well(machine: Machine) -> None:
    machine.command(*WRITE, stderr=COPIED.format("0.0123")).command(*READ, stderr=COPIED.format("1e-05"))

    assert machine.findings(disk_probe.mounts_can_be_used, wanting(probe=True)) == []


def test_nothing_is_written_unless_configuration_says_so_nor_beneath_a_mount_point(machine: Machine) -> None:
    system = machine.system()
    list(disk_probe.mounts_can_be_used.look(system, wanting()))
    unmounted = machine.file(MOUNTINFO, ROOT).system()
    list(disk_probe.mounts_can_be_used.look(unmounted, wanting(probe=True)))

    assert system.ran == unmounted.ran == []


@pytest.mark.parametrize(
    "words",
    [
        "Read-only file system",
        "No space left on device",
        "Stale file handle",
        "Input/output error",
        "Disk quota exceeded",
    ],
)
def test_what_keeps_a_file_from_being_written_is_the_evidence(machine: Machine, words: str) -> None:
    line = f"dd: failed to open '/data/.hrm-probe-master00': {words}"
    machine.command(*WRITE, stderr=f"{line}\n", status=1)

    (found,) = machine.findings(disk_probe.mounts_can_be_used, wanting(probe=True))

    assert (found.code, found.evidence[0].text) == ("HRM-DISK-030", line)


@pytest.mark.parametrize("argv", [WRITE, READ])
def test_a_probe_that_hangs_is_found(machine: Machine, argv: tuple[str, ...]) -> None:
    machine.command(*argv, hangs=True)
    if argv is READ:
        machine.command(*WRITE, stderr=COPIED.format("1"))

    assert codes(machine, disk_probe.mounts_can_be_used, wanting(probe=True)) == ["HRM-DISK-030"]


def test_a_slow_probe_is_a_warning(machine: Machine) -> None:
    machine.command(*WRITE, stderr=COPIED.format("5.75")).command(*READ, stderr=COPIED.format("0.1"))

    (found,) = machine.findings(disk_probe.mounts_can_be_used, wanting(probe=True))

    assert (found.code, found.severity) == ("HRM-DISK-031", Severity.WARNING)
    assert found.title.en == "Writing 4 MiB to /data took 5.75 s"


def test_a_server_that_maps_root_to_nobody_leaves_the_probe_unseen(machine: Machine) -> None:
    machine.command(*WRITE, stderr="dd: failed to open '/data/.hrm-probe-master00': Permission denied\n", status=1)

    report = machine.report([disk_probe.mounts_can_be_used], wanting(probe=True))

    assert report.findings == ()
    assert "Permission denied" in report.checks_run[0].unseen[0]


def test_nodes_are_compared_by_what_they_mount_of_others(machine: Machine) -> None:
    machine.file(
        "/proc/self/mountinfo",
        "25 1 8:4 / / rw - ext4 /dev/sda4 rw\n"
        "61 25 0:52 / /home rw - nfs4 master00:/home rw\n"
        "60 25 0:51 / /data rw - nfs 172.19.0.200:/data rw\n",
    )

    assert network_mounts.tell(machine.system()) == "172.19.0.200:/data on /data, master00:/home on /home"


def test_a_machine_that_mounts_nothing_of_others_is_not_compared(machine: Machine) -> None:
    machine.file("/proc/self/mountinfo", "25 1 8:4 / / rw - ext4 /dev/sda4 rw\n")

    assert network_mounts.tell(machine.system()) is None
