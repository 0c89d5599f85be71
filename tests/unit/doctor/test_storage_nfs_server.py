"""What a node exports over NFS, and the programs that it needs for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.doctor.expected import Expected
from hrm.doctor.expected.storage import ExportExpected, StorageExpected
from hrm.doctor.mounts import FSTAB, MOUNTINFO
from hrm.doctor.storage import nfs_exports, nfs_service
from hrm.doctor.storage.exports import ETAB, EXPORTS, parse_exports
from hrm.doctor.storage.nfs import admits, parse_showmount
from hrm.model.findings import Severity
from hrm.testing.machines import Machine

#: As an operator typed it.
BRACES = "/data *({rw,insecure,no_root_squash,sync})"
SAFE = "/data 172.19.0.0/24(rw,sync,no_subtree_check)"
TCP_HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
NFSD = TCP_HEAD + "   0: 00000000:0801 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17043 1\n"
ROOT = "22 1 8:4 / / rw,relatime shared:1 - ext4 /dev/sda4 rw,errors=remount-ro\n"
ARRAY = "62 22 8:16 / /data rw,relatime - ext4 /dev/sdb rw\n"
PORTMAPPER = """\
   program vers proto   port  service
    100000    4   tcp    111  portmapper
    100000    3   udp    111  portmapper
"""
RPC = PORTMAPPER + "    100003    3   tcp   2049  nfs\n    100005    3   tcp  20048  mountd\n"
STATUS = "    100024    1   tcp  51821  status\n"
SHOWMOUNT = ("showmount", "-e", "--no-headers", "127.0.0.1")
SHOWMOUNT_ALL = ("showmount", "-a", "--no-headers", "127.0.0.1")
EXPECTED = Expected(storage=StorageExpected(exports=(ExportExpected(node="master00", path="/data"),)))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A server of NFS without fault, but for what each test does to it."""
    machine = Machine(tmp_path).file("/etc/hostname", "master00\n").file(MOUNTINFO, ROOT + ARRAY)
    machine.file("/proc/fs/nfsd/threads", "8\n").file("/proc/fs/nfsd/versions", "-2 +3 +4 +4.1 +4.2\n")
    machine.file("/proc/net/tcp", NFSD).file(EXPORTS, f"{SAFE}\n")
    machine.file(ETAB, "/data\t172.19.0.0/24(rw,sync,wdelay,hide,nocrossmnt,secure,root_squash)\n")
    return machine.command("stat", "-c", "%F", "/data", stdout="directory\n")


def codes(machine: Machine, check, expected: Expected | None = None) -> list[str]:
    return [found.code for found in machine.findings(check, expected)]


# --- /etc/exports


def test_a_server_without_fault_is_well(machine: Machine) -> None:
    machine.command("rpcinfo", "-p", "127.0.0.1", stdout=RPC + STATUS)
    machine.command(*SHOWMOUNT, stdout="/data 172.19.0.0/24\n").command(*SHOWMOUNT_ALL, stdout="slave01:/data\n")

    assert codes(machine, nfs_exports.exports_are_right) == []
    assert codes(machine, nfs_exports.expected_exports_are_there, EXPECTED) == []
    assert codes(machine, nfs_service.server_runs, EXPECTED) == []
    assert codes(machine, nfs_service.rpcbind_knows_the_server, EXPECTED) == []
    assert codes(machine, nfs_service.clients_have_what_is_exported) == []


def test_a_machine_that_exports_nothing_is_well(tmp_path: Path) -> None:
    machine = Machine(tmp_path).file(EXPORTS, "# /etc/exports: the access control list\n# /srv/homes  h1(rw,sync)\n")

    for check in (
        nfs_exports.exports_are_right,
        nfs_exports.expected_exports_are_there,
        nfs_service.server_runs,
        nfs_service.rpcbind_knows_the_server,
        nfs_service.clients_have_what_is_exported,
    ):
        assert machine.findings(check) == []


def test_braces_in_exports_are_found_and_the_cure_writes_the_file_with_that_line_corrected(machine: Machine) -> None:
    machine.file(EXPORTS, f"# shared\n{BRACES}\n/data 10.0.0.0/8(ro)\n")

    mistyped, insecure = machine.findings(nfs_exports.exports_are_right)

    assert (mistyped.code, insecure.code) == ("HRM-NFS-001", "HRM-NFS-003")
    assert str(mistyped.evidence[0]) == f"{EXPORTS}:2: {BRACES}"
    write, apply = mistyped.cure
    assert write.writes is not None
    assert write.writes.content == ("# shared\n/data *(rw,insecure,no_root_squash,sync)\n/data 10.0.0.0/8(ro)\n")
    assert apply.command == "exportfs -ra"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/data *{rw,sync}", ""),
        ("/data *(rw,snyc)", "snyc"),
        ("/data *(rw;sync)", "rw;sync"),
        ("/data *(rw,no_rootsquash)", "no_rootsquash"),
        ("/data *\uff08rw\uff0csync\uff09", "*\uff08rw\uff0csync\uff09"),
        ("/data *(rw,sync", "(rw,sync"),
    ],
)
def test_what_exportfs_does_not_know_is_named(machine: Machine, line: str, words: str) -> None:
    machine.file(EXPORTS, f"{line}\n")

    found = machine.findings(nfs_exports.exports_are_right)

    assert words in found[0].title.en
    assert found[0].code in ("HRM-NFS-001", "HRM-NFS-002")


@pytest.mark.parametrize(
    "line",
    [
        "/data 172.19.0.0/24(rw,sync,no_subtree_check,sec=sys,fsid=0,anonuid=65534) slave01(ro,async)",
        "/data -rw,sync slave0*.cluster(no_wdelay) @nodes",
        '"/data" \\\n  10.0.0.1(ro) \\\n  10.0.0.2(rw,crossmnt,mp=/data)',
        "/data/",
    ],
)
def test_what_exportfs_knows_is_well(machine: Machine, line: str) -> None:
    machine.file(EXPORTS, f"{line}\n")

    assert machine.findings(nfs_exports.exports_are_right) == []


def test_a_blank_before_the_options_is_found(machine: Machine) -> None:
    machine.file(EXPORTS, "/data slave01 (rw,sync)\n")

    (found,) = machine.findings(nfs_exports.exports_are_right)

    assert found.code == "HRM-NFS-002"
    assert found.cure[0].writes is not None
    assert found.cure[0].writes.content == "/data slave01(rw,sync)\n"


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("/data *(rw,insecure,no_root_squash,sync)", "rw,insecure,no_root_squash"),
        ("/data 0.0.0.0/0(rw,no_root_squash)", "rw,no_root_squash"),
        ("/data (ro,no_root_squash)", "no_root_squash"),
        ("/data -no_root_squash *", "no_root_squash"),
    ],
)
def test_a_directory_that_everybody_may_write_as_root_is_a_warning(machine: Machine, line: str, options: str) -> None:
    machine.file(EXPORTS, f"{line}\n")

    (found,) = machine.findings(nfs_exports.exports_are_right)

    assert (found.code, found.severity) == ("HRM-NFS-003", Severity.WARNING)
    assert found.title.en == f"/data is exported to everybody with {options}"


@pytest.mark.parametrize("line", ["/data *(rw,root_squash)", "/data slave01(rw,no_root_squash,insecure)"])
def test_root_is_squashed_or_the_client_is_named(machine: Machine, line: str) -> None:
    machine.file(EXPORTS, f"{line}\n")

    assert machine.findings(nfs_exports.exports_are_right) == []


def test_an_exported_directory_that_is_not_there_is_found(machine: Machine) -> None:
    machine.file(EXPORTS, "/date 172.19.0.0/24(rw)\n").file(ETAB, "/date\t172.19.0.0/24(rw)\n")
    machine.command(
        "stat", "-c", "%F", "/date", stderr="stat: cannot statx '/date': No such file or directory\n", status=1
    )

    assert codes(machine, nfs_exports.exports_are_right) == ["HRM-NFS-004"]


@pytest.mark.parametrize("path", ["/data", "/data/images"])
def test_an_exported_directory_whose_disk_is_not_mounted_is_found_with_both_lines(machine: Machine, path: str) -> None:
    machine.file(MOUNTINFO, ROOT).file(FSTAB, "UUID=0f2a /data ext4 _netdev 0 2\n").file(
        EXPORTS, f"{path} slave01(rw)\n"
    )

    (found,) = machine.findings(nfs_exports.exports_are_right)

    assert found.code == "HRM-NFS-005"
    assert [evidence.source for evidence in found.evidence] == [FSTAB, EXPORTS]
    assert [step.command for step in found.cure] == ["mount /data", "exportfs -ra"]


def test_a_line_that_was_added_and_not_applied_is_found(machine: Machine) -> None:
    machine.file(EXPORTS, f"{SAFE}\n/opt 172.19.0.0/24(rw)\n")

    (found,) = machine.findings(nfs_exports.exports_are_right)

    assert (found.code, found.evidence[0].line) == ("HRM-NFS-006", 2)
    assert [step.command for step in found.cure] == ["exportfs -ra"]


def test_exports_of_ganesha_are_not_those_of_the_kernel(machine: Machine) -> None:
    machine.file(EXPORTS, "/opt 172.19.0.0/24(rw)\n").process(71, "ganesha.nfsd -F")

    assert machine.findings(nfs_exports.exports_are_right) == []


@pytest.mark.parametrize(
    ("listing", "is_well"),
    [
        ("/data *\n", True),
        ("/ *\n", True),
        ("/home *\n", False),
        ("", False),
        ("Export list for master00:\n/data *\n", True),
    ],
)
def test_what_is_to_be_exported_is_compared_with_what_showmount_says(
    machine: Machine, listing: str, is_well: bool
) -> None:
    machine.command(*SHOWMOUNT, stdout=listing)

    found = codes(machine, nfs_exports.expected_exports_are_there, EXPECTED)

    assert found == ([] if is_well else ["HRM-NFS-007"])


def test_a_server_that_does_not_tell_what_it_exports_is_unseen(machine: Machine) -> None:
    machine.command(*SHOWMOUNT, hangs=True)

    report = machine.report([nfs_exports.expected_exports_are_there], EXPECTED)

    assert report.findings == ()
    assert "no answer in 3 s" in report.checks_run[0].unseen[0]


# --- its programs


@pytest.mark.parametrize("service", ["nfs-kernel-server", "nfs-server"])
def test_a_server_that_does_not_run_is_found_and_started(machine: Machine, service: str) -> None:
    machine.file("/proc/fs/nfsd/threads", "0\n").file("/proc/net/tcp", TCP_HEAD).service(service, "inactive")

    (found,) = machine.findings(nfs_service.server_runs)

    assert found.code == "HRM-NFS-010"
    assert found.evidence[0].source == EXPORTS
    assert [step.command for step in found.cure] == [f"systemctl enable --now {service}"]


def test_a_server_that_is_not_installed_is_found_where_configuration_wants_exports(tmp_path: Path) -> None:
    machine = Machine(tmp_path).file("/etc/hostname", "master00\n").file("/proc/net/tcp", TCP_HEAD)

    (found,) = machine.findings(nfs_service.server_runs, EXPECTED)

    assert found.code == "HRM-NFS-010"
    assert found.cure[0].command == "apt-get install -y nfs-kernel-server"


def test_a_server_that_does_not_start_with_the_machine_is_a_warning(machine: Machine) -> None:
    machine.service("nfs-kernel-server", enabled=False)

    (found,) = machine.findings(nfs_service.server_runs)

    assert (found.code, found.severity) == ("HRM-NFS-011", Severity.WARNING)


@pytest.mark.parametrize(
    "said",
    [
        "rpcinfo: can't contact portmapper: RPC: Remote system error - Connection refused\n",
        "127.0.0.1: RPC: Remote system error - Connection refused\n",
        "rpcinfo: can't contact rpcbind: RPC: Timed out\n",
    ],
)
def test_rpcbind_that_does_not_answer_is_found(machine: Machine, said: str) -> None:
    machine.command("rpcinfo", "-p", "127.0.0.1", stderr=said, status=1).file("/usr/sbin/rpcbind")
    machine.service("nfs-kernel-server")

    (found,) = machine.findings(nfs_service.rpcbind_knows_the_server)

    assert (found.code, found.evidence[0].text) == ("HRM-NFS-012", said.strip())
    assert [step.command for step in found.cure] == [
        "systemctl enable --now rpcbind",
        "systemctl restart nfs-kernel-server",
    ]


def test_a_server_of_version_4_alone_needs_no_rpcbind(machine: Machine) -> None:
    machine.file("/proc/fs/nfsd/versions", "-2 -3 +4 +4.1 +4.2\n")
    machine.command("rpcinfo", "-p", "127.0.0.1", stderr="can't contact portmapper", status=1)

    assert machine.findings(nfs_service.rpcbind_knows_the_server) == []


@pytest.mark.parametrize("part", ["nfs", "mountd"])
def test_a_part_of_the_server_that_rpcbind_does_not_know_is_found(machine: Machine, part: str) -> None:
    known = "".join(line for line in (RPC + STATUS).splitlines(keepends=True) if not line.strip().endswith(part))
    machine.command("rpcinfo", "-p", "127.0.0.1", stdout=known)

    (found,) = machine.findings(nfs_service.rpcbind_knows_the_server)

    assert found.code == "HRM-NFS-013"
    assert part in found.title.en


def test_a_missing_status_program_is_no_more_than_worth_knowing(machine: Machine) -> None:
    machine.command("rpcinfo", "-p", "127.0.0.1", stdout=RPC)

    (found,) = machine.findings(nfs_service.rpcbind_knows_the_server)

    assert (found.code, found.severity, found.cure) == ("HRM-NFS-014", Severity.INFO, ())


def test_a_client_that_has_mounted_what_is_no_longer_exported_is_found(machine: Machine) -> None:
    machine.command(*SHOWMOUNT, stdout="/data *\n")
    machine.command(*SHOWMOUNT_ALL, stdout="172.19.0.206:/opt\n172.19.0.206:/data\nslave01:/data/images\n")

    (found,) = machine.findings(nfs_service.clients_have_what_is_exported)

    assert found.code == "HRM-NFS-015"
    assert str(found.evidence[0]).endswith("172.19.0.206:/opt")


# --- what showmount and exports mean


def test_a_listing_names_directories_and_whom_they_are_for() -> None:
    listing = (
        "Export list for master00:\n/data *\n/home 172.19.0.0/24,slave01\n/opt (everyone)\n/my disk @nodes\n/srv\n"
    )

    assert [(entry.path, entry.clients) for entry in parse_showmount(listing)] == [
        ("/data", ("*",)),
        ("/home", ("172.19.0.0/24", "slave01")),
        ("/opt", ()),
        ("/my disk", ("@nodes",)),
        ("/srv", ()),
    ]


@pytest.mark.parametrize(
    ("clients", "admitted"),
    [
        ((), True),
        (("*",), True),
        (("172.19.0.0/24",), True),
        (("172.19.0.0/255.255.255.0",), True),
        (("slave06.cluster", "10.0.0.1"), True),
        (("172.19.0.205", "10.0.0.0/8"), False),
        (("172.19.0.205", "@nodes"), None),
        (("slave01",), None),
    ],
)
def test_a_machine_is_admitted_by_address_or_name_or_it_cannot_be_told(
    clients: tuple[str, ...], admitted: bool | None
) -> None:
    assert admits(clients, ["127.0.0.1", "172.19.0.206"], "slave06") is admitted


def test_lines_that_go_on_are_one_and_defaults_hold_for_all_clients() -> None:
    (one,) = parse_exports(EXPORTS, '# x\n"/my data" -ro,sync a(rw) \\\n b\n')

    assert one.path == "/my data" and one.evidence.line == 2
    assert [(client.name, client.options) for client in one.clients] == [
        ("a", ("ro", "sync", "rw")),
        ("b", ("ro", "sync")),
    ]
