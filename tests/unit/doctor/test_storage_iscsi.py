"""The initiator's name, sessions with the disk array, the disks that they bring, and targets without a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.doctor.expected import Expected
from hrm.doctor.expected.storage import IscsiExpected, StorageExpected
from hrm.doctor.storage import initiator, iscsi, sessions, targets
from hrm.model.findings import Risk, Severity
from hrm.testing.machines import Machine

TARGET = "iqn.2004-12.com.inspur:mcs.cluster192.168.0.100.node1"
NAME = "iqn.1993-08.org.debian:01:219b5d4f819a"
INITIATOR_FILE = f"""\
## DO NOT EDIT OR REMOVE THIS FILE!
## If you remove this file, the iSCSI daemon will not start.
## If you change the InitiatorName, existing access control lists
## may reject this initiator. The InitiatorName must be unique
## for each iSCSI initiator. Do NOT duplicate iSCSI InitiatorNames.
InitiatorName={NAME}
"""
PORTAL, SECOND = "172.19.0.208:3260", "172.19.0.209:3260"
#: Of the 32.5 TiB disk of an array.
SECTORS = 69771743724


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path).file("/etc/hostname", "master00\n")


def expecting(**said: object) -> Expected:
    said = {"node": "master00", "target": TARGET, "portals": ("172.19.0.208",), **said}
    return Expected(storage=StorageExpected(iscsi=(IscsiExpected(**said),)))  # type: ignore[arg-type]


def session(
    machine: Machine, *, state: str = "LOGGED_IN", disk: str = "running", address: str = "172.19.0.208"
) -> Machine:
    number = 2 if address.endswith("208") else 3
    place = f"/sys/devices/platform/host{number}/session{number}"
    machine.file(f"{place}/iscsi_session/session{number}/targetname", f"{TARGET}\n")
    machine.file(f"{place}/iscsi_session/session{number}/state", f"{state}\n")
    machine.link(f"{place}/iscsi_session/session{number}/device", f"../../../session{number}")
    machine.link(f"{iscsi.SESSIONS}/session{number}", f"../../..{place}/iscsi_session/session{number}")
    machine.file(f"/sys/class/iscsi_connection/connection{number}:0/persistent_address", f"{address}\n")
    machine.file(f"/sys/class/iscsi_connection/connection{number}:0/persistent_port", "3260\n")
    if disk:
        lun = f"{place}/target{number}:0:0/{number}:0:0:0"
        machine.file(f"{lun}/state", f"{disk}\n").file(f"{lun}/block/sd{'xxbc'[number]}/size", f"{SECTORS}\n")
    return machine


def record(machine: Machine, startup: str | None, portal: str = PORTAL, *, top: str = iscsi.RECORDS[0]) -> Machine:
    host, _, port = portal.rpartition(":")
    line = "" if startup is None else f"node.startup = {startup}\n"
    content = f"# BEGIN RECORD 2.0-874\nnode.name = {TARGET}\nnode.tpgt = 4\n{line}# END RECORD\n"
    return machine.file(f"{top}/{TARGET}/{host},{port},4/default", content)


# --- the initiator's name


def test_the_recorded_name_is_well_and_is_what_nodes_are_compared_by(machine: Machine) -> None:
    machine.file(iscsi.INITIATOR, INITIATOR_FILE)

    assert machine.findings(initiator.initiator_is_the_recorded_one, expecting(initiator=NAME)) == []
    assert initiator.initiator_name.tell(machine.system()) == NAME
    assert initiator.initiator_name.unique


def test_a_name_that_a_reinstall_made_anew_is_found_with_the_line_the_old_name_and_the_guide_for_the_array(
    machine: Machine,
) -> None:
    machine.file(iscsi.INITIATOR, INITIATOR_FILE.replace("219b5d4f819a", "76394e672ee"))

    (found,) = machine.findings(initiator.initiator_is_the_recorded_one, expecting(initiator=NAME))

    assert found.code == "HRM-ISCSI-002"
    assert str(found.evidence[0]) == f"{iscsi.INITIATOR}:6: InitiatorName=iqn.1993-08.org.debian:01:76394e672ee"
    write, restart, guide = found.cure
    assert write.writes is not None and write.writes.content == f"InitiatorName={NAME}\n"
    assert restart.command == "systemctl restart iscsid"
    assert guide.by_hand and "port = iqn.1993-08.org.debian:01:76394e672ee" in guide.about.en
    assert "degraded" in guide.about.en and "已降级" in guide.about.zh


@pytest.mark.parametrize(
    "content",
    [
        "# InitiatorName=iqn.1993-08.org.debian:01:a\n",
        "GenerateName=yes\n",
        "InitiatorName=\n",
        "InitiatorName=master00\n",
        f"InitiatorName={NAME}\nInitiatorName={NAME}2\n",
    ],
)
def test_a_file_without_one_usable_name_is_found_where_there_are_targets(machine: Machine, content: str) -> None:
    machine.file(iscsi.INITIATOR, content)

    assert machine.findings(initiator.initiator_is_the_recorded_one) == []
    record(machine, "automatic")
    (found,) = machine.findings(initiator.initiator_is_the_recorded_one)

    assert found.code == "HRM-ISCSI-001"
    assert found.evidence[0].source == iscsi.INITIATOR


def test_a_node_that_is_to_hold_the_disk_and_has_no_name_is_found(machine: Machine) -> None:
    codes = [
        found.code for found in machine.findings(initiator.initiator_is_the_recorded_one, expecting(initiator=NAME))
    ]

    assert codes == ["HRM-ISCSI-001"]


def test_names_of_other_nodes_are_none_of_this_nodes_business(machine: Machine) -> None:
    machine.file(iscsi.INITIATOR, INITIATOR_FILE)
    other = expecting(node="slave01", initiator="iqn.1993-08.org.debian:01:other")

    assert machine.findings(initiator.initiator_is_the_recorded_one, other) == []


# --- sessions


def test_a_machine_without_iscsi_is_well(machine: Machine) -> None:
    for check in (sessions.sessions_are_there, sessions.sessions_bring_disks, targets.targets_without_a_session):
        assert machine.findings(check) == []


def test_a_session_with_its_disk_is_well(machine: Machine) -> None:
    record(session(machine), "automatic")

    expected = expecting(size_mib=32 << 20)
    assert machine.findings(sessions.sessions_are_there, expected) == []
    assert machine.findings(sessions.sessions_bring_disks, expected) == []
    assert machine.findings(targets.targets_without_a_session, expected) == []


def test_a_target_that_is_not_logged_in_to_is_found_and_the_login_counts_as_done_where_it_is(machine: Machine) -> None:
    (found,) = machine.findings(sessions.sessions_are_there, expecting())

    assert found.code == "HRM-ISCSI-010"
    discover, login = found.cure
    assert discover.command == f"iscsiadm -m discovery -t st -p {PORTAL}"
    assert login.command == f"iscsiadm -m node -T {TARGET} -p {PORTAL} --login"
    assert "already present" in login.done_if and login.risk is Risk.SAFE


@pytest.mark.parametrize("top", iscsi.RECORDS)
def test_a_recorded_target_with_automatic_startup_and_no_session_is_found(machine: Machine, top: str) -> None:
    record(machine, "automatic", top=top)

    (found,) = machine.findings(sessions.sessions_are_there)

    assert found.code == "HRM-ISCSI-010"
    assert found.evidence[0].text == "node.startup = automatic"
    assert found.evidence[0].source == f"{top}/{TARGET}/172.19.0.208,3260,4/default"


def test_a_recorded_target_with_manual_startup_and_no_session_is_nobodys_loss(machine: Machine) -> None:
    record(machine, "manual")

    assert machine.findings(sessions.sessions_are_there) == []


@pytest.mark.parametrize("state", ["FAILED", "FREE"])
def test_a_session_that_has_lost_its_array_is_found(machine: Machine, state: str) -> None:
    session(machine, state=state)

    (found,) = machine.findings(sessions.sessions_are_there)

    assert (found.code, found.evidence[0].text) == ("HRM-ISCSI-011", state)
    assert PORTAL in found.title.en


@pytest.mark.parametrize("startup", ["manual", None])
def test_a_session_that_the_next_boot_does_not_bring_back_is_found(machine: Machine, startup: str | None) -> None:
    record(session(machine), startup)

    (found,) = machine.findings(sessions.sessions_are_there)

    assert (found.code, found.severity) == ("HRM-ISCSI-013", Severity.WARNING)
    assert found.cure[0].command.endswith(f"-p {PORTAL} --op update -n node.startup -v automatic")


def test_the_second_controller_without_a_session_is_found_by_configuration_or_by_what_was_discovered(
    machine: Machine,
) -> None:
    session(machine)

    (by_configuration,) = machine.findings(
        sessions.sessions_are_there, expecting(portals=("172.19.0.208", "172.19.0.209"))
    )
    record(record(machine, "automatic"), "automatic", SECOND)
    (by_record,) = machine.findings(sessions.sessions_are_there)

    assert by_configuration.code == by_record.code == "HRM-ISCSI-012"
    assert SECOND in by_record.title.en
    assert by_record.cure[0].command == "apt-get install -y multipath-tools"


def test_two_sessions_at_two_controllers_are_well(machine: Machine) -> None:
    session(session(machine), address="172.19.0.209")
    record(record(machine, "automatic"), "automatic", SECOND)

    assert machine.findings(sessions.sessions_are_there) == []
    assert iscsi.devices(iscsi.sessions(machine.system())) == {"sdb", "sdc"}


def test_two_ways_are_enough_though_the_array_has_a_third(machine: Machine) -> None:
    session(session(machine), address="172.19.0.209")
    expected = expecting(portals=("172.19.0.208", "172.19.0.209", "172.19.0.210"))

    assert machine.findings(sessions.sessions_are_there, expected) == []


@pytest.mark.parametrize(("service", "is_well"), [("open-iscsi", False), ("iscsi", False), ("open-iscsi", True)])
def test_a_service_that_does_not_log_in_at_boot_is_found(machine: Machine, service: str, is_well: bool) -> None:
    record(session(machine), "automatic").service(service, enabled=is_well)

    codes = [found.code for found in machine.findings(sessions.sessions_are_there)]

    assert codes == ([] if is_well else ["HRM-ISCSI-014"])


def test_sessions_are_read_from_what_iscsiadm_prints_where_the_kernels_files_are_not_there(machine: Machine) -> None:
    machine.directory("/sys/class/iscsi_transport").command(
        "iscsiadm", "-m", "session", stdout=f"tcp: [2] 172.19.0.208:3260,4 {TARGET} (non-flash)\n"
    )

    (found,) = iscsi.sessions(machine.system())

    assert (found.number, found.target, found.portal, found.disks) == (2, TARGET, PORTAL, None)
    assert machine.findings(sessions.sessions_are_there, expecting()) == []
    assert machine.findings(sessions.sessions_bring_disks, expecting()) == []


def test_what_iscsiadm_says_where_there_is_no_session_names_none(machine: Machine) -> None:
    machine.directory("/sys/class/iscsi_transport").command(
        "iscsiadm", "-m", "session", stderr="iscsiadm: No active sessions.\n", status=21
    )

    assert iscsi.sessions(machine.system()) == []


# --- disks


def test_a_session_without_a_disk_is_found_with_the_guide_for_the_host_mapping(machine: Machine) -> None:
    session(machine, disk="").file(iscsi.INITIATOR, INITIATOR_FILE)

    (found,) = machine.findings(sessions.sessions_bring_disks)

    assert found.code == "HRM-ISCSI-015"
    assert f"port = {NAME}" in found.cure[0].about.en
    assert found.cure[1].command == "iscsiadm -m session --rescan"


@pytest.mark.parametrize("state", ["offline", "transport-offline", "blocked"])
def test_a_disk_that_the_kernel_gave_up_is_found(machine: Machine, state: str) -> None:
    session(machine, disk=state)

    (found,) = machine.findings(sessions.sessions_bring_disks)

    assert (found.code, found.evidence[0].text) == ("HRM-ISCSI-016", state)
    assert "/dev/sdb" in found.title.en


def test_a_disk_of_another_size_is_found(machine: Machine) -> None:
    session(machine)

    (found,) = machine.findings(sessions.sessions_bring_disks, expecting(size_mib=10 << 20))

    assert found.code == "HRM-ISCSI-017"
    assert found.title.en == f"The disk of {TARGET} has 32.5 TiB, expected are 10.0 TiB"


# --- targets without a session

LISTING = ("iscsi-ls", "-i", NAME, "-s", f"iscsi://{PORTAL}")
DISCOVERY = ("iscsiadm", "-m", "discovery", "-t", "st", "-p", PORTAL, "-o", "nonpersistent")
OFFERED = f"Target:{TARGET} Portal:172.19.0.208:3260,1\n"


@pytest.mark.parametrize("answer", ["refused", "timeout", "unreachable"])
def test_a_portal_that_does_not_answer_is_found(machine: Machine, answer: str) -> None:
    machine.port(PORTAL, answer)

    (found,) = machine.findings(targets.targets_without_a_session, expecting())

    assert found.code == "HRM-ISCSI-030"
    assert str(found.evidence[0]) == f"connect {PORTAL}: {answer}"


@pytest.mark.parametrize(
    ("stdout", "stderr", "code"),
    [
        ("", "", "HRM-ISCSI-031"),
        (
            "Target:iqn.2004-12.com.inspur:mcs.other Portal:172.19.0.208:3260,1\nLun:1 Type:DIRECT_ACCESS\n",
            "",
            "HRM-ISCSI-031",
        ),
        (OFFERED + "Lun:0    Type:STORAGE_ARRAY_CONTROLLER\n", "", "HRM-ISCSI-033"),
        (OFFERED, "", "HRM-ISCSI-033"),
        (
            OFFERED,
            "list_luns: iscsi_connect failed. Failed to log in to target. Status: Authentication failure(513)\n",
            "HRM-ISCSI-032",
        ),
    ],
)
def test_what_the_array_lacks_for_this_node_is_told_by_libiscsis_tool_though_it_ends_with_0(
    machine: Machine, stdout: str, stderr: str, code: str
) -> None:
    machine.file(iscsi.INITIATOR, INITIATOR_FILE).port(PORTAL).command(*LISTING, stdout=stdout, stderr=stderr)

    (found,) = machine.findings(targets.targets_without_a_session, expecting())

    assert found.code == code


def test_a_target_that_is_offered_and_mapped_lacks_nothing_at_the_array(machine: Machine) -> None:
    listing = OFFERED + "Lun:0    Type:STORAGE_ARRAY_CONTROLLER\nLun:1    Type:DIRECT_ACCESS (Size:32T)\n"
    machine.file(iscsi.INITIATOR, INITIATOR_FILE).port(PORTAL).command(*LISTING, stdout=listing)

    assert machine.findings(targets.targets_without_a_session, expecting()) == []


def test_without_libiscsis_tool_discovery_tells_whether_the_target_is_offered(machine: Machine) -> None:
    machine.port(PORTAL)
    machine.command(*DISCOVERY, stdout=f"172.19.0.208:3260,1 {TARGET}\n")
    machine.command(*DISCOVERY, stderr="iscsiadm: No portals found\n", status=21)

    system = machine.system()
    offered = list(targets.targets_without_a_session.look(system, expecting()))
    not_offered = list(targets.targets_without_a_session.look(system, expecting()))

    assert offered == []
    assert [getattr(found, "code", found) for found in not_offered] == ["HRM-ISCSI-031"]


@pytest.mark.parametrize(
    ("stderr", "code"),
    [
        ("iscsiadm: iSCSI driver tcp is not loaded. Load the module then retry the command.\n", "HRM-ISCSI-034"),
        ("iscsiadm: Could not scan /sys/class/iscsi_transport.\n", "HRM-ISCSI-034"),
        ("iscsiadm: Login failed to authenticate with target\n", "HRM-ISCSI-032"),
        (
            "iscsiadm: initiator reported error (24 - iSCSI login failed due to authorization failure)\n",
            "HRM-ISCSI-032",
        ),
    ],
)
def test_what_iscsiadm_complains_of_is_understood(machine: Machine, stderr: str, code: str) -> None:
    machine.port(PORTAL).command(*DISCOVERY, stderr=stderr, status=12)

    (found,) = machine.findings(targets.targets_without_a_session, expecting())

    assert found.code == code
    assert found.evidence[0].text == stderr.strip()


def test_a_portal_that_answers_and_says_nothing_in_time_is_unseen(machine: Machine) -> None:
    machine.port(PORTAL).command(*DISCOVERY, hangs=True)

    report = machine.report([targets.targets_without_a_session], expecting())

    assert report.findings == ()
    assert "did not answer in time" in report.checks_run[0].unseen[0]


@pytest.mark.parametrize(
    ("portal", "full"),
    [
        ("172.19.0.208", PORTAL),
        ("array:3261", "array:3261"),
        ("[fe80::1]", "[fe80::1]:3260"),
        ("[fe80::1]:1", "[fe80::1]:1"),
    ],
)
def test_a_portal_has_a_port(portal: str, full: str) -> None:
    assert iscsi.with_port(portal) == full
