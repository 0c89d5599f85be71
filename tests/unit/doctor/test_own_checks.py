"""Checks that a site makes in its configuration: lines, and a health script."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hrm.config.documents import BadDocument
from hrm.config.loader import parse_plain
from hrm.doctor.expected import Expected
from hrm.doctor.expected.own import HealthScript
from hrm.doctor.own.checks import health_script_says_nothing, own_lines_hold
from hrm.doctor.own.lines import parse_line
from hrm.testing.machines import Machine

MOUNTS = (
    "20 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"
    "36 20 0:40 / /data rw,relatime - nfs4 master00:/data rw,hard,addr=172.19.0.200\n"
    "37 20 0:41 / /soft ro,relatime - nfs4 master00:/soft ro,hard\n"
)
TCP = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    "   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0     0 111 1 0 100\n"
)
SCRIPT = "/opt/site/health.sh"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """gpu07, with two mounts, an sshd, and a disk that is half full."""
    machine = Machine(tmp_path).file("/proc/sys/kernel/hostname", "gpu07\n").file("/proc/self/mountinfo", MOUNTS)
    machine.file("/proc/net/tcp", TCP).process(70, "/usr/sbin/sshd -D", holds=["socket:[111]"])
    machine.process(71, "/usr/bin/python3 /opt/site/agent.py").file("/proc/meminfo", "MemTotal: 16777216 kB\n")
    head = "Filesystem 1024-blocks Used Available Capacity Mounted on\n"
    machine.command("df", "-Pk", "/scratch", stdout=head + "/dev/sdb1 41943040 20971520 20971520 50% /scratch\n")
    machine.command("df", "-Pi", "/scratch", stdout=head + "/dev/sdb1 1000000 999000 1000 100% /scratch\n")
    machine.command("id", "-u", "root", stdout="0\n").command("id", "-u", "hrm", stdout="1000\n")
    for option, path in (("-f", "/etc/motd"), ("-d", "/scratch"), ("-e", "/etc/nologin")):
        machine.command("test", option, path, status=0 if path != "/etc/nologin" else 1)
    for option in ("-f", "-d", "-x", "-r"):
        machine.command("test", option, "/etc/absent", status=1)
    machine.command("test", "-f", "/dead/file", hangs=True)
    machine.command("/opt/site/check.sh", "gpus", stdout="4 GPUs\n")
    machine.command("/opt/site/bad.sh", status=3, stdout="\nno license server\n")
    machine.command("/opt/site/slow.sh", hangs=True)
    said = [{"ifname": "ib0", "addr_info": [{"local": "10.0.0.7", "prefixlen": 24}]}]
    machine.command("ip", "-j", "address", stdout=json.dumps(said)).port("172.19.0.200:2049")
    machine.file("/sys/class/net/ib0/flags", "0x1003\n").file("/sys/class/net/ib0/carrier", "1\n")
    return machine.file("/etc/hosts", "172.19.0.200 master00\n").command("getent", "ahostsv4", "nowhere", status=2)


def problems(machine: Machine, *lines: str) -> list[str]:
    return [found.title.en for found in machine.findings(own_lines_hold, Expected(checks=lines))]


@pytest.mark.parametrize(
    "line",
    [
        "mounted /data nfs rw",
        "mounted /soft nfs4 ro",
        "mounted /",
        "file /etc/motd",
        "directory /scratch",
        "no-file /etc/nologin",
        "process sshd",
        "process sshd root",
        "process agent.py",
        "no-process xmrig",
        "listening 22",
        "listening 22 172.19.0.7",
        "command /opt/site/check.sh gpus",
        "free-space /scratch 10G",
        "free-space /scratch 50%",
        "free-inodes /scratch 1000",
        "memory 16G",
        "reachable 172.19.0.200:2049",
        "lookup master00",
        "interface ib0",
        "* || check_fs_mount_rw -f /data",
        "gpu* || check_fs_mount_rw -t nfs* -s master00:/data -o *hard* -f /data",
        "{gpu[01-08]} || check_fs_mount_ro /soft master00:/soft nfs4",
        "/^gpu0[0-9]$/ || check_fs_free /scratch 10GB",
        "check_fs_used /scratch 90%",
        "check_fs_ifree /scratch 100",
        "check_file_test -f /etc/motd",
        "check_ps_service -u root -S sshd",
        "check_ps_daemon sshd root",
        "check_cmd_status -t 1 -r 3 /opt/site/bad.sh",
        "check_cmd_output -t 1 -r 0 -m '/^4 GPU/' -m '!*error*' -e '/opt/site/check.sh gpus'",
        "check_net_socket -n 'SSH daemon' -p tcp -s LISTEN -l '0.0.0.0:22' -d sshd",
        "check_hw_physmem 16G 32G 5%",
        "check_hw_eth ib0",
        "mem* || mounted /only-on-mem",
        "!gpu* || mounted /only-on-others",
        "{gpu[08-20],gpu[1-9]} || mounted /only-on-others",
    ],
)
def test_a_line_that_holds_or_is_for_others_is_well(machine: Machine, line: str) -> None:
    assert problems(machine, line) == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("mounted /scratch", "nothing is mounted at /scratch"),
        ("mounted /data ext4", "/data is nfs4, not ext4"),
        ("mounted /soft nfs rw", "/soft is mounted ro"),
        ("file /etc/absent", "/etc/absent is no file"),
        ("file /dead/file", "/dead/file does not answer"),
        ("no-file /etc/motd", None),
        ("process slurmd", "no process slurmd runs"),
        ("process sshd hrm", "no process sshd of hrm runs"),
        ("no-process sshd", "/usr/sbin/sshd -D (pid 70) runs"),
        ("listening 5050", "nothing listens on port 5050"),
        ("command /opt/site/bad.sh", "it ended with 3: no license server"),
        ("command /opt/site/slow.sh", "it did not end within 5 s"),
        ("command /opt/site/absent.sh", "it ended with 127: /opt/site/absent.sh: not found"),
        ("free-space /scratch 30G", "/scratch has 20971520 KiB left, not 30G"),
        ("free-space /scratch 60%", "/scratch has 50% left, not 60%"),
        ("free-inodes /scratch 5%", "/scratch has 0% left, not 5%"),
        ("memory 32G", "MemTotal is 16384 MiB, not 32G"),
        ("reachable 172.19.0.200:111", "172.19.0.200:111 is not reached: refused"),
        ("lookup nowhere", "nowhere has no address"),
        ("interface eth9", "there is no interface eth9"),
        ("gpu* || check_fs_mount_rw -f /tmp", "nothing is mounted at /tmp"),
        ("check_fs_mount -s other:/data -f /data", "/data is master00:/data, not other:/data"),
        ("check_file_test -d -x /etc/absent", "/etc/absent is no directory"),
        ("check_ps_service -k sshd", "/usr/sbin/sshd -D (pid 70) runs"),
        ("check_cmd_output -m '*8 GPUs*' /opt/site/check.sh gpus", "its output has no line *8 GPUs*"),
        ("check_fs_used /scratch 40%", "/scratch has 50% used, not 40%"),
    ],
)
def test_a_line_that_does_not_hold_is_found(machine: Machine, line: str, problem: str | None) -> None:
    machine.command("test", "-e", "/etc/motd")

    found = machine.findings(own_lines_hold, Expected(checks=(line,)))

    assert found[0].title.en == f"{line}: {problem or '/etc/motd is there'}"
    assert (found[0].code, found[0].severity) == ("HRM-OWN-001", "critical")


def test_a_line_says_how_bad_it_is(machine: Machine) -> None:
    lines = ("warning: mounted /scratch", "check_fs_mount -0 -f /scratch", "error: process slurmd")

    found = machine.findings(own_lines_hold, Expected(checks=lines))

    assert [(one.title.en.partition(":")[0], str(one.severity)) for one in found] == [
        ("error", "error"),
        ("warning", "warning"),
        ("check_fs_mount -0 -f /scratch", "warning"),
    ]


def test_a_service_cannot_be_seen_without_systemd(machine: Machine) -> None:
    report = machine.report([own_lines_hold], Expected(checks=("service docker",)))

    assert report.checks_run[0].unseen == ("service docker: service docker: systemd does not run here",)


WRONG = [
    ("mount /data", "there is no check 'mount'"),
    ("mounted", "mounted takes 1 or more words after it"),
    ("mounted /data nfs hard rw", "mounted takes"),
    ("listening ssh", "'ssh' is no port"),
    ("free-space /scratch lots", "'lots' is no size"),
    ("reachable master00", "reachable takes HOST:PORT"),
    ("command", "command takes"),
    ("file 'unfinished", "No closing quotation"),
    ("* || ", "the line has no check"),
    ("check_dmi_data_match x", "there is no check 'check_dmi_data_match'"),
    ("check_file_test -O /x", "-O is not supported"),
    ("check_cmd_status true", "it needs -r STATUS"),
    ("check_fs_mount_rw -z /x", "option -z not recognized"),
    ("check_fs_free /x", "it takes 2 words"),
]


@pytest.mark.parametrize(("line", "problem"), WRONG)
def test_a_line_that_is_not_understood_says_why(line: str, problem: str) -> None:
    with pytest.raises(ValueError, match="^" + problem.replace("(", r"\(")):
        parse_line(line)


def test_a_line_that_is_not_understood_is_refused_with_its_place_in_hrm_yaml() -> None:
    data = {"doctor": {"checks": ["process sshd", "mount /data"], "health_script": {"path": SCRIPT, "timeout": "1h"}}}

    with pytest.raises(BadDocument) as refused:
        parse_plain(data, "hrm.yaml")

    told = str(refused.value)
    assert "there is no check 'mount'" in told
    assert "3600 s: at most 12s" in told


def test_lines_and_script_of_the_configuration_reach_the_doctor() -> None:
    data = {"doctor": {"checks": ["process sshd"], "health_script": {"path": SCRIPT, "timeout": "5s"}}}

    expected = parse_plain(data, "hrm.yaml").doctor

    assert expected.checks == ("process sshd",)
    assert expected.health_script == HealthScript(path=SCRIPT, timeout_s=5.0)


def test_a_node_with_an_older_servers_line_says_that_it_is_not_understood(machine: Machine) -> None:
    (found,) = machine.findings(own_lines_hold, Expected(checks=("mount /data",)))

    assert (found.code, found.severity) == ("HRM-OWN-002", "warning")


def script(machine: Machine, *, mode: int = 0o755, **said: object) -> list[tuple[str, str, str]]:
    machine.file(SCRIPT, "#!/bin/sh\n", mode=mode).command(SCRIPT, "-q", **said)  # type: ignore[arg-type]
    expected = Expected(health_script=HealthScript(path=SCRIPT, arguments=("-q",)))
    found = machine.findings(health_script_says_nothing, expected)
    return [(one.code, str(one.severity), one.title.en) for one in found]


def test_a_health_script_that_prints_error_makes_the_node_sick(machine: Machine) -> None:
    assert script(machine, stdout="checking\nERROR scratch is read-only\nERROR two\n") == [
        ("HRM-OWN-003", "critical", "The health script says: ERROR scratch is read-only")
    ]


@pytest.mark.parametrize("printed", ["", "OK\n", "no ERROR here\n", " ERROR indented\n", "error: small\n"])
def test_a_health_script_without_error_at_the_beginning_of_a_line_is_well(machine: Machine, printed: str) -> None:
    assert script(machine, stdout=printed) == []


def test_what_a_health_script_prints_as_its_errors_does_not_count(machine: Machine) -> None:
    assert script(machine, stderr="ERROR from the shell\n") == []


def test_a_health_script_that_hangs_makes_the_node_sick(machine: Machine) -> None:
    assert script(machine, hangs=True) == [
        ("HRM-OWN-004", "critical", f"The health script {SCRIPT} does not end within 10 s")
    ]


def test_a_health_script_that_fails_without_error_leaves_the_node_well(machine: Machine) -> None:
    assert script(machine, status=2, stderr="syntax error\n") == [
        ("HRM-OWN-006", "info", f"The health script {SCRIPT} ended with 2, and said no ERROR")
    ]


def test_a_health_script_that_cannot_be_run_is_told(machine: Machine) -> None:
    assert [code for code, _, _ in script(machine, mode=0o644)] == ["HRM-OWN-005"]


def test_a_health_script_that_is_missing_is_told(machine: Machine) -> None:
    expected = Expected(health_script=HealthScript(path="/opt/site/absent.sh"))

    (found,) = machine.findings(health_script_says_nothing, expected)

    assert (found.code, found.evidence[0].text) == ("HRM-OWN-005", "it is not there")


def test_without_lines_and_script_nothing_is_asked(machine: Machine) -> None:
    system = machine.system()

    assert list(own_lines_hold.look(system, Expected())) == []
    assert list(health_script_says_nothing.look(system, Expected())) == []
    assert system.ran == []
