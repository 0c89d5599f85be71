"""What is mounted, and what files of a machine want to be mounted."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.doctor import mounts
from hrm.model.mounts import mount_of, parse_mounts
from hrm.testing.machines import Machine

MOUNTINFO = """\
22 1 8:4 / / rw,relatime shared:1 - ext4 /dev/sda4 rw,errors=remount-ro
25 22 0:22 / /proc rw,nosuid shared:12 - proc proc rw
61 22 0:51 / /data rw,relatime shared:31 - nfs4 172.19.0.200:/data rw,vers=4.2,hard,timeo=600,addr=172.19.0.200
62 22 8:16 /sub /mnt/my\\040disk rw,relatime - ext4 /dev/sdb ro
63 22 0:60 / /snap/core/1 ro,nodev - squashfs /dev/loop0 ro
"""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_mounts_have_point_kind_source_and_options_of_both_the_mount_and_the_filesystem(machine: Machine) -> None:
    found = mounts.topmost(mounts.mounts(machine.file(mounts.MOUNTINFO, MOUNTINFO).system()))

    assert found["/data"].nfs and found["/data"].network and found["/data"].source == "172.19.0.200:/data"
    assert found["/data"].option("addr") == "172.19.0.200" and found["/data"].option("soft") is None
    assert found["/mnt/my disk"].read_only and found["/mnt/my disk"].root == "/sub"
    assert not found["/"].read_only and found["/"].device == "8:4"
    assert [point for point, mount in found.items() if mounts.is_real(mount)] == ["/", "/data", "/mnt/my disk"]


def test_a_path_is_on_the_innermost_mount() -> None:
    found = parse_mounts(MOUNTINFO)

    assert [getattr(mount_of(path, found), "point", None) for path in ("/data/x", "/database", "/")] == [
        "/data",
        "/",
        "/",
    ]


def test_fstab_names_what_is_mounted_at_boot_and_what_is_not(machine: Machine) -> None:
    machine.file(
        mounts.FSTAB,
        "# <file system> <mount point> <type> <options>\n"
        "UUID=62357171-9FE0 / ext4 errors=remount-ro 0 1\n"
        "/dev/sda3 none swap sw 0 0\n"
        "172.19.0.200:/data  /data/  nfs  _netdev,x-systemd.automount  0 0\n"
        "/dev/sdb /srv/my\\040data auto noauto\n",
    )

    root, data, spare = mounts.fstab(machine.system())

    assert (root.point, root.at_boot, root.nfs) == ("/", True, False)
    assert (data.point, data.options, data.on_demand, data.nfs) == (
        "/data",
        ("_netdev", "x-systemd.automount"),
        True,
        True,
    )
    assert (data.evidence.line, spare.point, spare.at_boot) == (4, "/srv/my data", False)


def test_mount_units_are_mounted_at_boot_where_they_or_their_automounts_are_enabled(machine: Machine) -> None:
    unit = "[Unit]\nAfter=network-online.target\n[Mount]\nWhat = master00:/{0}\nWhere=/{0}\nType=nfs\n"
    for name in ("data", "opt", "home"):
        machine.file(f"/etc/systemd/system/{name}.mount", unit.format(name))
    machine.link("/etc/systemd/system/multi-user.target.wants/data.mount", "/etc/systemd/system/data.mount")
    machine.link("/etc/systemd/system/multi-user.target.wants/opt.automount", "/etc/systemd/system/opt.automount")

    found = {unit.point: unit for unit in mounts.mount_units(machine.system())}

    assert {point: (unit.at_boot, unit.on_demand) for point, unit in found.items()} == {
        "/data": (True, False),
        "/opt": (True, True),
        "/home": (False, False),
    }
    assert found["/data"].source == "master00:/data"
    assert str(found["/data"].evidence) == "/etc/systemd/system/data.mount:4: What = master00:/data"


@pytest.mark.parametrize(
    ("line", "source", "point", "kind"),
    [
        ("mount -t nfs 172.19.0.200:/data /data", "172.19.0.200:/data", "/data", "nfs"),
        ("/bin/mount -tnfs -o vers=3,soft master00:/opt /opt || true", "master00:/opt", "/opt", "nfs"),
        ("Mount /dev/sdb /data", "/dev/sdb", "/data", "auto"),
        ("mount /dev/sdb/data", "/dev/sdb/data", "", "auto"),
        ("mount -a", "", "", "auto"),
    ],
)
def test_commands_of_rc_local_are_read_as_they_were_typed(
    machine: Machine, line: str, source: str, point: str, kind: str
) -> None:
    machine.file(mounts.RC_LOCAL, f"#!/bin/sh\n# mount x y\n{line}\nexit 0\n")

    (found,) = mounts.rc_local_mounts(machine.system())

    assert (found.source, found.point, found.kind, found.evidence.line) == (source, point, kind, 3)


@pytest.mark.parametrize(
    ("point", "name"),
    [
        ("/data", "data.mount"),
        ("/", "-.mount"),
        ("/srv//data-set 1/", "srv-data\\x2dset\\x201.mount"),
        ("/.snap/ä.b", "\\x2esnap-\\xc3\\xa4.b.mount"),
    ],
)
def test_units_are_called_as_systemd_wants_it(point: str, name: str) -> None:
    assert mounts.unit_name(point) == name


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("172.19.0.200:/data", ("172.19.0.200", "/data")),
        ("[fe80::1]:/data", ("fe80::1", "/data")),
        ("master00:/", ("master00", "/")),
        ("/dev/sdb", None),
        ("UUID=1:/2", ("UUID=1", "/2")),
        ("tmpfs", None),
    ],
)
def test_what_nfs_mounts_is_a_server_and_a_path(source: str, parts: tuple[str, str] | None) -> None:
    assert mounts.split_nfs(source) == parts


def test_names_of_one_device_mean_the_same(machine: Machine) -> None:
    machine.link("/dev/disk/by-uuid/0f2a", "../../sdb1").link("/dev/disk/by-label/array", "../../sdb1")
    machine.link("/dev/mapper/array", "../dm-0")
    system = machine.system()

    names = ("UUID=0f2a", 'LABEL="array"', "/dev/disk/by-uuid/0f2a", "/dev/sdb1")
    assert {mounts.device_of(system, name) for name in names} == {"/dev/sdb1"}
    assert mounts.device_of(system, "/dev/mapper/array") == "/dev/dm-0"
    assert mounts.device_of(system, "UUID=ffff") != "/dev/sdb1"
