"""Faults of NFS, iSCSI and filesystems, made with real servers and disks, in a machine apart."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doctor_real.machine_apart import NAME, MachineApart, codes

pytestmark = [
    pytest.mark.real,
    pytest.mark.doctor_real,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

TARGET = "iqn.2026-11.test:disk"
INITIATOR = "iqn.1993-08.org.debian:01:219b5d4f819a"
PORTAL = "127.0.0.1:3260"


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [
        program for program in programs if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None
    ]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} is not installed")


needs_nfs = needs("ganesha.nfsd", "rpcbind", "showmount", "rpcinfo")
needs_iscsi = needs("tgtd", "tgtadm", "iscsi-ls")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[MachineApart]:
    apart = MachineApart(tmp_path)
    try:
        yield apart
    finally:
        apart.close()


# --- NFS


class Nfs:
    """rpcbind and nfs-ganesha, which exports one directory."""

    def __init__(self, machine: MachineApart, clients: str) -> None:
        self.path = machine.place / "export"
        self.path.mkdir()
        conf = machine.place / "ganesha.conf"
        conf.write_text(
            "NFS_CORE_PARAM { Protocols = 3; Enable_RQUOTA = false; }\n"
            "NFSv4 { RecoveryBackend = fs; Graceless = true; }\n"
            f"EXPORT {{ Export_Id = 1; Path = {self.path}; Pseudo = /export; Squash = None; FSAL {{ Name = VFS; }}\n"
            f"  CLIENT {{ Clients = {clients}; Access_Type = RW; }} }}\n"
        )
        self.rpcbind = machine.start("rpcbind", "-w", "-f")
        machine.says("rpcinfo", "-p", "127.0.0.1", containing="portmapper")
        place = machine.place
        self.ganesha = machine.start(
            "ganesha.nfsd", "-F", "-f", str(conf), "-L", str(place / "ganesha.log"), "-p", str(place / "ganesha.pid")
        )
        machine.says("rpcinfo", "-p", "127.0.0.1", containing="mountd")
        # It registers before it knows its exports. Whom it exports nothing it tells of nothing.
        if clients == "*":
            machine.says("showmount", "-e", "--no-headers", "127.0.0.1", containing=str(self.path))


def mounting(path: object) -> dict[str, object]:
    return {"mounts": [{"path": "/data", "source": f"127.0.0.1:{path}"}]}


@needs_nfs
def test_a_directory_that_ganesha_exports_is_well_and_another_one_is_not(machine: MachineApart) -> None:
    nfs = Nfs(machine, "*")

    exported = machine.doctor("nfs.servers,nfs.expected-exports", mounting(nfs.path))
    missing = machine.doctor("nfs.servers", mounting(machine.place / "exports"))

    assert codes(exported) == []
    assert codes(missing) == ["HRM-NFS-020"]
    assert f"If {nfs.path} was meant" in missing["findings"][0]["cure"][0]["about"]


@needs_nfs
def test_a_directory_that_ganesha_exports_to_another_client_is_found(machine: MachineApart) -> None:
    nfs = Nfs(machine, "10.9.9.9")

    (found,) = machine.doctor("nfs.servers", mounting(nfs.path))["findings"]

    assert found["code"] == "HRM-NFS-020"
    assert found["evidence"][1]["text"] == "it exports nothing to this node"


@needs_nfs
def test_a_server_that_is_stopped_holds_the_doctor_up_for_less_than_ten_seconds(machine: MachineApart) -> None:
    nfs = Nfs(machine, "*")
    nfs.ganesha.send_signal(signal.SIGSTOP)

    report = machine.doctor("nfs.servers", mounting(nfs.path))

    assert codes(report) == ["HRM-NFS-022"]
    assert report["findings"][0]["evidence"][0]["text"] == "no answer in time"
    assert report["checks_run"][0]["time_s"] < 10


@needs_nfs
def test_an_export_that_is_wanted_and_not_there_is_found_at_the_server(machine: MachineApart) -> None:
    nfs = Nfs(machine, "*")
    wanted = {"exports": [{"node": NAME, "path": str(nfs.path)}, {"node": NAME, "path": "/opt"}]}

    report = machine.doctor("nfs.expected-exports,nfs.rpc,nfs.server", wanted)

    # The missing program 100024 is worth knowing, and no more.
    assert sorted(codes(report)) == ["HRM-NFS-007", "HRM-NFS-014"]
    assert {found["code"]: found["severity"] for found in report["findings"]}["HRM-NFS-014"] == "info"
    assert "/opt" in report["findings"][0]["title"]


@needs_nfs
def test_a_server_without_rpcbind_is_found_from_both_sides(machine: MachineApart) -> None:
    nfs = Nfs(machine, "*")
    nfs.rpcbind.kill()
    nfs.rpcbind.wait()

    at_client = machine.doctor("nfs.servers", mounting(nfs.path))
    at_server = machine.doctor("nfs.rpc", {"exports": [{"node": NAME, "path": str(nfs.path)}]})

    assert codes(at_client) == ["HRM-NFS-023"]
    assert codes(at_server) == ["HRM-NFS-012"]


@needs_nfs
def test_a_server_that_does_not_run_is_found_from_both_sides(machine: MachineApart) -> None:
    at_client = machine.doctor("nfs.servers", mounting("/data"))
    at_server = machine.doctor("nfs.server", {"exports": [{"node": NAME, "path": "/data"}]})

    assert codes(at_client) == ["HRM-NFS-022"]
    assert at_client["findings"][0]["evidence"][0]["text"] == "refused"
    assert codes(at_server) == ["HRM-NFS-010"]


# --- iSCSI


class Iscsi:
    """tgtd, with one target and one disk."""

    def __init__(self, machine: MachineApart) -> None:
        self._machine = machine
        self._env = {"TGT_IPC_SOCKET": str(machine.place / "tgt")}
        machine.start("tgtd", "-f", "--iscsi", f"portal={PORTAL}", env=self._env)
        machine.says(
            "tgtadm", "--lld", "iscsi", "--op", "show", "--mode", "sys", containing="State: ready", env=self._env
        )
        self.tgtadm("new", "target", "-T", TARGET)

    def tgtadm(self, operation: str, mode: str, *rest: str) -> None:
        target = () if (operation, mode) == ("new", "account") else ("--tid", "1")
        self._machine.run("tgtadm", "--lld", "iscsi", "--op", operation, "--mode", mode, *target, *rest, env=self._env)

    def add_disk(self) -> None:
        disk = self._machine.place / "disk"
        with disk.open("wb") as file:
            file.truncate(64 << 20)
        self.tgtadm("new", "logicalunit", "--lun", "1", "-b", str(disk))

    def admit(self, *who: str) -> None:
        self.tgtadm("bind", "target", *(who or ("-I", "ALL")))


def holding(target: str = TARGET) -> dict[str, object]:
    return {"iscsi": [{"node": NAME, "target": target, "portals": [PORTAL]}]}


@needs_iscsi
def test_a_target_that_is_offered_with_its_disk_lacks_nothing_and_another_is_absent(machine: MachineApart) -> None:
    array = Iscsi(machine)
    array.add_disk()
    array.admit()

    assert codes(machine.doctor("iscsi.targets", holding())) == []
    assert codes(machine.doctor("iscsi.targets", holding("iqn.2026-11.test:other"))) == ["HRM-ISCSI-031"]


@needs_iscsi
def test_a_target_that_is_offered_to_another_initiator_is_absent(machine: MachineApart) -> None:
    array = Iscsi(machine)
    array.add_disk()
    array.admit("-Q", INITIATOR)

    (found,) = machine.doctor("iscsi.targets", holding())["findings"]

    assert found["code"] == "HRM-ISCSI-031"
    assert "Add host mapping" in found["cure"][0]["about"]


@needs_iscsi
def test_a_target_without_a_disk_is_not_mapped_though_discovery_and_login_work(machine: MachineApart) -> None:
    Iscsi(machine).admit()

    assert codes(machine.doctor("iscsi.targets", holding())) == ["HRM-ISCSI-033"]


@needs_iscsi
def test_a_login_with_a_wrong_password_or_none_is_refused_and_with_the_right_one_is_not(machine: MachineApart) -> None:
    array = Iscsi(machine)
    array.add_disk()
    array.admit()
    array.tgtadm("new", "account", "--user", "node", "--password", "right-password")
    array.tgtadm("bind", "account", "--user", "node")

    without = machine.doctor("iscsi.targets", holding())
    name = {"LIBISCSI_CHAP_USERNAME": "node"}
    wrong = machine.doctor("iscsi.targets", holding(), {**name, "LIBISCSI_CHAP_PASSWORD": "wrong-password"})
    right = machine.doctor("iscsi.targets", holding(), {**name, "LIBISCSI_CHAP_PASSWORD": "right-password"})

    assert codes(without) == codes(wrong) == ["HRM-ISCSI-032"]
    assert codes(right) == []


@needs_iscsi
def test_an_array_that_is_not_there_refuses(machine: MachineApart) -> None:
    assert codes(machine.doctor("iscsi.targets", holding())) == ["HRM-ISCSI-030"]


# --- filesystems


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[str]:
    """A loop device with a filesystem."""
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(32 << 20)
    found = subprocess.run(["losetup", "--find", "--show", str(image)], capture_output=True, text=True)
    if found.returncode != 0:
        pytest.skip(f"no loop device: {found.stderr.strip()}")
    device = found.stdout.strip()
    try:
        subprocess.run(["mkfs.ext4", "-q", device], check=True)
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def mounted(machine: MachineApart, *argv: str) -> str:
    point = machine.place / "mnt"
    point.mkdir()
    machine.run("mount", *argv, str(point))
    return str(point)


def probing(point: str, **said: object) -> dict[str, object]:
    return {"mounts": [{"path": point, "probe": True, **said}]}


def test_a_disk_that_is_remounted_read_only_is_found_and_its_cure_mends_it(machine: MachineApart, disk: str) -> None:
    point = mounted(machine, disk)

    before = machine.doctor("disk", probing(point, source=disk))
    machine.run("mount", "-o", "remount,ro", point)
    after = machine.doctor("disk", probing(point, source=disk))

    assert codes(before) == []
    assert sorted(codes(after)) == ["HRM-DISK-004", "HRM-DISK-030"]
    (remount,) = next(found for found in after["findings"] if found["code"] == "HRM-DISK-004")["cure"]
    machine.run(*remount["command"].split())
    assert codes(machine.doctor("disk", probing(point, source=disk))) == []
    machine.run("umount", point)


def test_a_filesystem_that_the_kernel_stops_after_an_error_is_found_with_the_kernels_line(
    machine: MachineApart, disk: str
) -> None:
    point = mounted(machine, "-o", "errors=remount-ro", disk)
    trigger = Path(f"/sys/fs/ext4/{Path(disk).name}/trigger_fs_error")
    if not trigger.exists():
        machine.run("umount", point)
        pytest.skip("this kernel makes no errors of ext4 on demand")
    trigger.write_text("1")

    report = machine.doctor("disk.mounts", probing(point))
    machine.run("umount", point)

    assert codes(report) == ["HRM-DISK-003"]
    assert "Remounting filesystem read-only" in report["findings"][0]["evidence"][-1]["text"]
    # What the kernel logs of the next mount says to others who look that the disk is well again.
    machine.run("mkfs.ext4", "-q", "-F", disk)
    machine.run("mount", disk, point)
    machine.run("umount", point)


def test_a_mount_that_is_gone_is_found(machine: MachineApart) -> None:
    point = mounted(machine, "-t", "tmpfs", "tmpfs")
    machine.run("umount", point)

    assert codes(machine.doctor("disk", probing(point))) == ["HRM-DISK-001"]


@pytest.mark.parametrize("limit", ["size=1m", "nr_inodes=1"])
def test_a_filesystem_without_space_or_inodes_fails_its_probe(machine: MachineApart, limit: str) -> None:
    point = mounted(machine, "-t", "tmpfs", "-o", limit, "tmpfs")

    report = machine.doctor("disk", probing(point))

    assert codes(report) == ["HRM-DISK-030"]
    assert "No space left on device" in report["findings"][0]["evidence"][0]["text"]
