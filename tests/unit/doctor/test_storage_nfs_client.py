"""What a node mounts over NFS: servers that do not answer or export it, mounts that hang or are stale."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.doctor.expected import Expected
from hrm.doctor.expected.storage import MountExpected, StorageExpected
from hrm.doctor.mounts import FSTAB, MOUNTINFO, RC_LOCAL
from hrm.doctor.recorded import RecordedSystem
from hrm.doctor.storage import nfs_client, nfs_mounts
from hrm.doctor.system import CannotSee
from hrm.model.findings import Risk, Severity
from hrm.testing.machines import Machine

SERVER = "172.19.0.200"
ROOT = "22 1 8:4 / / rw,relatime shared:1 - ext4 /dev/sda4 rw,errors=remount-ro\n"
MOUNTED = f"61 22 0:51 / /data rw,relatime - nfs {SERVER}:/data rw,vers=3,hard,timeo=600,addr={SERVER}\n"
MOUNTED_4 = f"61 22 0:51 / /data rw,relatime - nfs4 {SERVER}:/data rw,vers=4.2,hard,addr={SERVER}\n"
SHOWMOUNT = ("showmount", "-e", "--no-headers", SERVER)
STATFS = ("stat", "-f", "-c", "%T %b %f %a %c %d", "/data")
IP = '[{"ifname":"eno1","addr_info":[{"family":"inet","local":"172.19.0.206","prefixlen":24}]}]'


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path).file("/etc/hostname", "slave06\n").file(MOUNTINFO, ROOT).file("/sbin/mount.nfs")
    return machine.port(f"{SERVER}:2049").command("ip", "-j", "address", stdout=IP)


def wants(machine: Machine, line: str = f"mount -t nfs {SERVER}:/data /data") -> Machine:
    return machine.file(RC_LOCAL, f"#!/bin/sh\n{line}\n", mode=0o755)


# --- servers


def test_a_machine_without_nfs_is_well(tmp_path: Path) -> None:
    machine = Machine(tmp_path).file(MOUNTINFO, ROOT)

    for check in (
        nfs_client.mount_helper_is_there,
        nfs_client.servers_export_what_is_mounted,
        nfs_mounts.mounts_answer,
        nfs_mounts.mounting_ends,
    ):
        assert machine.findings(check) == []


@pytest.mark.parametrize("listing", ["/data *\n", "/data 172.19.0.0/24\n", "/data (everyone)\n", "/ slave06\n"])
def test_a_directory_that_is_exported_to_this_node_is_well(machine: Machine, listing: str) -> None:
    wants(machine).command(*SHOWMOUNT, stdout=listing)

    assert machine.findings(nfs_client.servers_export_what_is_mounted) == []


@pytest.mark.parametrize("listing", ["/opt *\n/home *\n", "", "/data2 *\n"])
def test_a_directory_that_the_server_does_not_export_is_found_before_mount_says_access_denied(
    machine: Machine, listing: str
) -> None:
    wants(machine).command(*SHOWMOUNT, stdout=listing)

    (found,) = machine.findings(nfs_client.servers_export_what_is_mounted)

    assert found.code == "HRM-NFS-020"
    assert f"access denied by server while mounting {SERVER}:/data" in found.why.en
    assert found.evidence[0].source == RC_LOCAL
    at_server, mount = found.cure
    assert at_server.by_hand and "/data slave06(rw,sync,no_subtree_check)" in at_server.about.en
    assert mount.command == f"mount -t nfs {SERVER}:/data /data"


def test_a_directory_of_nearly_that_name_is_named(machine: Machine) -> None:
    wants(machine, f"mount -t nfs {SERVER}:/date /data").command(*SHOWMOUNT, stdout="/data *\n")

    (found,) = machine.findings(nfs_client.servers_export_what_is_mounted)

    assert "If /data was meant" in found.cure[0].about.en


def test_a_directory_that_is_exported_to_others_alone_is_found(machine: Machine) -> None:
    wants(machine).command(*SHOWMOUNT, stdout="/data 172.19.0.205,192.168.20.0/24\n")

    (found,) = machine.findings(nfs_client.servers_export_what_is_mounted)

    assert found.code == "HRM-NFS-021"
    assert "172.19.0.205, 192.168.20.0/24" in found.title.en


def test_whom_a_netgroup_means_is_not_guessed(machine: Machine) -> None:
    wants(machine).command(*SHOWMOUNT, stdout="/data @nodes\n")

    assert machine.findings(nfs_client.servers_export_what_is_mounted) == []


def test_paths_of_version_4_that_are_mounted_are_not_compared_with_paths_of_version_3(machine: Machine) -> None:
    machine.file(MOUNTINFO, ROOT + MOUNTED_4).command(*SHOWMOUNT, stdout="/srv/nfs4 *\n")

    assert machine.findings(nfs_client.servers_export_what_is_mounted) == []


@pytest.mark.parametrize("answer", ["refused", "timeout", "unreachable"])
def test_a_server_that_is_not_there_is_found_with_the_order_that_brings_it_back(machine: Machine, answer: str) -> None:
    machine.file(MOUNTINFO, ROOT + MOUNTED.replace(SERVER, "172.19.0.201"))
    machine.port("172.19.0.201:2049", answer)

    (found,) = machine.findings(nfs_client.servers_export_what_is_mounted)

    assert found.code == "HRM-NFS-022"
    detach, restart, mount = found.cure
    assert (detach.command, detach.risk) == ("umount -l /data", Risk.DISRUPTIVE)
    assert "not mounted" in detach.done_if and "never rm" in detach.about.en
    assert restart.by_hand and "systemctl restart nfs-kernel-server" in restart.about.en
    assert mount.command == "mount -t nfs 172.19.0.201:/data /data"


@pytest.mark.parametrize(("option", "unseen"), [("port=12049", ()), ("proto=rdma,port=20049", ("over RDMA",))])
def test_a_server_is_asked_where_it_listens(machine: Machine, option: str, unseen: tuple[str, ...]) -> None:
    there = MOUNTED_4.replace(SERVER, "172.19.0.201").replace("hard", option)
    machine.file(MOUNTINFO, ROOT + there).port("172.19.0.201:12049")
    machine.command(*SHOWMOUNT[:-1], "172.19.0.201", stdout="/data *\n")

    report = machine.report([nfs_client.servers_export_what_is_mounted])

    assert report.findings == ()
    assert all(words in report.checks_run[0].unseen[0] for words in unseen)


def test_a_server_that_takes_connections_and_does_not_answer_is_found(machine: Machine) -> None:
    wants(machine).command(*SHOWMOUNT, hangs=True)

    (found,) = machine.findings(nfs_client.servers_export_what_is_mounted)

    assert (found.code, found.evidence[0].text) == ("HRM-NFS-022", "no answer in time")


@pytest.mark.parametrize(
    "said",
    [
        "clnt_create: RPC: Port mapper failure - Unable to receive: errno 111 (Connection refused)\n",
        "clnt_create: RPC: Unable to receive\n",
        "clnt_create: RPC: Port mapper failure - Timed out\n",
    ],
)
def test_a_server_whose_rpcbind_does_not_answer_is_found_unless_only_version_4_is_used(
    machine: Machine, said: str
) -> None:
    machine.command(*SHOWMOUNT, stderr=said, status=1).file(MOUNTINFO, ROOT + MOUNTED)

    (found,) = machine.findings(nfs_client.servers_export_what_is_mounted)
    machine.file(MOUNTINFO, ROOT + MOUNTED_4)
    of_version_4 = machine.report([nfs_client.servers_export_what_is_mounted])

    assert (found.code, found.severity) == ("HRM-NFS-023", Severity.WARNING)
    assert of_version_4.findings == ()
    assert said.strip() in of_version_4.checks_run[0].unseen[0]


def test_a_server_of_version_4_alone_tells_nobody_what_it_exports(machine: Machine) -> None:
    wants(machine).command(*SHOWMOUNT, stderr="clnt_create: RPC: Program not registered\n", status=1)

    report = machine.report([nfs_client.servers_export_what_is_mounted])

    assert report.findings == ()
    assert "Program not registered" in report.checks_run[0].unseen[0]


def test_mounts_that_configuration_wants_are_asked_for_too(machine: Machine) -> None:
    machine.command(*SHOWMOUNT, stdout="/opt *\n")
    wanted = MountExpected(path="/data", source=f"{SERVER}:/data", nodes=("slave06",))

    (found,) = machine.findings(
        nfs_client.servers_export_what_is_mounted, Expected(storage=StorageExpected(mounts=(wanted,)))
    )

    assert (found.code, found.evidence[0].source) == ("HRM-NFS-020", "hrm.yaml")


def test_nfs_without_its_helper_is_found(tmp_path: Path) -> None:
    machine = wants(Machine(tmp_path).file(MOUNTINFO, ROOT))

    (found,) = machine.findings(nfs_client.mount_helper_is_there)

    assert found.code == "HRM-NFS-024"
    assert found.cure[0].command == "apt-get install -y nfs-common"
    assert wants(Machine(tmp_path).file("/sbin/mount.nfs")).findings(nfs_client.mount_helper_is_there) == []


# --- mounts


def test_a_mount_that_answers_is_well(machine: Machine) -> None:
    machine.file(MOUNTINFO, ROOT + MOUNTED).command(*STATFS, stdout="nfs 1000 600 500 100 60\n")

    assert machine.findings(nfs_mounts.mounts_answer) == []


@pytest.mark.parametrize(
    ("said", "what", "severity"),
    [
        ("nfs 1000 40 20 100 60", "space", Severity.WARNING),
        ("nfs 1000 40 0 100 60", "space", Severity.ERROR),
        ("nfs 1000 600 500 1000 0", "inodes", Severity.ERROR),
        ("nfs 1000 600 500 0 0", None, None),
    ],
)
def test_a_server_that_runs_full_is_found(
    machine: Machine, said: str, what: str | None, severity: Severity | None
) -> None:
    machine.file(MOUNTINFO, ROOT + MOUNTED).command(*STATFS, stdout=f"{said}\n")

    found = machine.findings(nfs_mounts.mounts_answer)

    assert [(one.code, one.severity) for one in found] == ([("HRM-NFS-033", severity)] if what else [])
    assert all(f"of its {what} left" in one.title.en for one in found)


@pytest.mark.parametrize("words", ["Stale file handle", "Stale NFS file handle"])
def test_a_stale_mount_is_found_and_mounted_anew(machine: Machine, words: str) -> None:
    machine.file(MOUNTINFO, ROOT + MOUNTED_4).file(FSTAB, f"{SERVER}:/data /data nfs defaults 0 0\n")
    machine.command(*STATFS, stderr=f"stat: cannot read file system information for '/data': {words}\n", status=1)

    (found,) = machine.findings(nfs_mounts.mounts_answer)

    assert found.code == "HRM-NFS-030"
    assert [step.command for step in found.cure] == ["umount -l /data", "mount /data"]


def test_a_mount_that_hangs_is_found_with_who_waits_for_it_and_what_the_kernel_says(machine: Machine) -> None:
    machine.file(MOUNTINFO, ROOT + MOUNTED).command(*STATFS, hangs=True)
    machine.process(3198, "python train.py", state="D").file("/proc/3198/wchan", "rpc_wait_bit_killable")
    machine.process(3199, "dd if=/dev/sda", state="D").file("/proc/3199/wchan", "io_schedule")
    machine.command("dmesg", stdout=f"[ 7.1] nfs: server {SERVER} not responding, still trying\n[ 8.0] usb 1-1: new\n")

    (found,) = machine.findings(nfs_mounts.mounts_answer)

    assert (found.code, found.severity) == ("HRM-NFS-031", Severity.ERROR)
    texts = [evidence.text for evidence in found.evidence]
    assert texts[0] == "no answer in time"
    assert texts[2:] == [
        "python train.py: rpc_wait_bit_killable",
        f"[ 7.1] nfs: server {SERVER} not responding, still trying",
    ]
    assert [step.command for step in found.cure] == [
        "umount -l /data",
        "",
        f"mount -t nfs {SERVER}:/data /data",
    ]


@pytest.mark.parametrize("words", ["Input/output error", "Connection timed out", "Host is down"])
def test_a_soft_mount_that_gave_up_is_found(machine: Machine, words: str) -> None:
    machine.file(MOUNTINFO, ROOT + MOUNTED).command("dmesg", stdout="[ 1.0] x\n")
    machine.command(*STATFS, stderr=f"stat: cannot read file system information for '/data': {words}\n", status=1)

    assert [found.code for found in machine.findings(nfs_mounts.mounts_answer)] == ["HRM-NFS-031"]


def test_a_mount_that_all_jobs_need_is_critical(machine: Machine) -> None:
    machine.file(MOUNTINFO, ROOT + MOUNTED).command(*STATFS, hangs=True).command("dmesg", stdout="[ 1.0] x\n")
    expected = Expected(storage=StorageExpected(mounts=(MountExpected(path="/data", required=True),)))

    (found,) = machine.findings(nfs_mounts.mounts_answer, expected)

    assert found.severity is Severity.CRITICAL


def test_of_a_machine_that_does_not_run_nobody_asks_whether_mounts_answer(tmp_path: Path) -> None:
    Machine(tmp_path).file(MOUNTINFO, ROOT + MOUNTED)

    with pytest.raises(CannotSee, match="only files"):
        list(nfs_mounts.mounts_answer.look(RecordedSystem(tmp_path), Expected()))


@pytest.mark.parametrize(("began_s", "is_well"), [(300, True), (100, False)])
def test_a_command_that_mounts_for_longer_than_a_minute_is_found(machine: Machine, began_s: int, is_well: bool) -> None:
    machine.process(814, f"/sbin/mount.nfs {SERVER}:/data /data -o rw").at(1000.0).file("/proc/uptime", "320.0 1.0\n")
    fields = " ".join(["0"] * 16)
    machine.file("/proc/814/stat", f"814 (mount.nfs) D 1 814 {fields} {began_s * 100} 0\n")

    found = machine.findings(nfs_mounts.mounting_ends)

    assert [one.code for one in found] == ([] if is_well else ["HRM-NFS-032"])
    if found:
        end, detach, restart, again = found[0].cure
        assert end.ends is not None and end.ends.pid == 814
        assert detach.command == "umount -l /data"
        assert restart.by_hand
        assert again.command == f"mount -t nfs {SERVER}:/data /data"
