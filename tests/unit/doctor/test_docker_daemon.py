"""Docker's daemon: down, denied, hanging, open to all, or with a configuration that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.doctor.docker import daemon
from hrm.doctor.docker.engine import Engine
from hrm.doctor.expected import Expected
from hrm.doctor.expected.docker import DockerExpected
from hrm.model.findings import Severity
from hrm.testing.machines import Machine
from tests.unit.doctor.docker_machines import VERSION, with_docker

REQUIRED = Expected(docker=DockerExpected(required=True))
JOURNAL = ("journalctl", "--unit", "docker.service", "--lines", "50", "--no-pager", "--output", "cat")
DOWN = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n"
DENIED_20 = (
    "Got permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: "
    'Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.40/version": dial unix /var/run/docker.sock: connect: permission denied'
)
DENIED_28 = (
    "permission denied while trying to connect to the docker API at unix:///var/run/docker.sock: "
    'Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.50/version": dial unix /var/run/docker.sock: connect: permission denied'
)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(
    "said",
    [
        DOWN,
        "error during connect: Get http://localhost:2375/v1.40/version: dial tcp 127.0.0.1:2375: connection refused\n",
        "failed to connect to the docker API at unix:///var/run/docker.sock; check if the path is correct and if the "
        "daemon is running: dial unix /var/run/docker.sock: connect: no such file or directory\n",
    ],
)
def test_a_daemon_that_failed_is_found_with_its_last_words(machine: Machine, said: str) -> None:
    machine.file("/usr/bin/dockerd", mode=0o755).command(*VERSION, stderr=said, status=1)
    machine.service("docker", "failed", Result="exit-code", ExecMainStatus="1")
    fatal = "failed to start daemon: pid file found, ensure docker is not running or delete /var/run/docker.pid"
    machine.command(*JOURNAL, stdout=f"Starting up\n{fatal}\ndocker.service: Start request repeated too quickly.\n")

    (found,) = machine.findings(daemon.daemon_answers)

    assert (found.code, found.severity) == ("HRM-DOCKER-001", Severity.ERROR)
    assert found.title.en == "Docker's daemon does not run (docker.service: failed, exit-code)"
    assert found.evidence[-1].text == fatal
    assert [step.command for step in found.cure] == [
        "systemctl reset-failed docker.service",
        "systemctl enable --now docker.service",
    ]


def test_a_daemon_that_was_stopped_and_starts_with_the_machine_is_found(machine: Machine) -> None:
    machine.file("/usr/bin/dockerd", mode=0o755).command(*VERSION, stderr=DOWN, status=1).service("docker", "inactive")

    (found,) = machine.findings(daemon.daemon_answers)

    assert found.severity is Severity.ERROR
    assert [step.command for step in found.cure] == ["systemctl enable --now docker.service"]


def test_a_daemon_that_is_not_to_start_is_worth_knowing_only(machine: Machine) -> None:
    machine.file("/usr/bin/dockerd", mode=0o755).command(*VERSION, stderr=DOWN, status=1)
    machine.service("docker", "inactive", enabled=False)

    assert [found.severity for found in machine.findings(daemon.daemon_answers)] == [Severity.INFO]


def test_where_jobs_run_in_docker_a_daemon_that_is_down_is_critical(machine: Machine) -> None:
    machine.command(*VERSION, stderr=DOWN, status=1)

    (found,) = machine.findings(daemon.daemon_answers, REQUIRED)

    assert found.severity is Severity.CRITICAL
    assert [step.by_hand for step in found.cure] == [True]


def test_a_masked_service_is_unmasked_first(machine: Machine) -> None:
    machine.file("/usr/bin/dockerd", mode=0o755).command(*VERSION, stderr=DOWN, status=1).directory(
        "/run/systemd/system"
    )
    machine.link("/etc/systemd/system/docker.service", "/dev/null")
    machine.command(
        *("systemctl", "show"),
        "--property=LoadState,ActiveState,SubState,UnitFileState,Result,ExecMainStatus,NRestarts,NeedDaemonReload",
        *("--", "docker.service"),
        stdout="LoadState=masked\nActiveState=inactive\n",
    )

    (found,) = machine.findings(daemon.daemon_answers)

    assert found.cure[0].command == "systemctl unmask docker.service"


def test_the_docker_command_alone_is_no_reason_to_look_for_a_daemon(machine: Machine) -> None:
    machine.command(*VERSION, stderr=DOWN, status=1)

    assert machine.findings(daemon.daemon_answers) == []


def test_a_daemon_that_answers_is_well(machine: Machine) -> None:
    with_docker(machine)

    report = machine.report(
        [daemon.daemon_answers, daemon.configuration_can_be_read, daemon.socket_is_kept_from_others]
    )

    assert report.findings == ()
    assert [run.unseen for run in report.checks_run] == [(), (), ()]


@pytest.mark.parametrize("said", [DENIED_20, DENIED_28])
def test_a_user_who_is_not_in_the_sockets_group_is_found_with_what_lets_him_in(machine: Machine, said: str) -> None:
    machine.file("/usr/bin/dockerd", mode=0o755).command(*VERSION, stderr=said, status=1).seen_by(1001)
    machine.file("/etc/passwd", "root:x:0:0::/root:/bin/sh\nada:x:1001:1001::/home/ada:/bin/bash\n")
    machine.file("/etc/group", "root:x:0:\ndocker:x:998:li\n")

    (found,) = machine.findings(daemon.daemon_answers)

    assert (found.code, found.severity) == ("HRM-DOCKER-002", Severity.INFO)
    assert found.title.en == "User ada may not use Docker's socket /var/run/docker.sock"
    assert "permission denied" in found.evidence[0].text
    assert [step.command for step in found.cure] == ["usermod --append --groups docker ada", ""]


def test_a_member_of_the_group_has_only_to_log_in_again(machine: Machine) -> None:
    machine.file("/usr/bin/dockerd", mode=0o755).command(*VERSION, stderr=DENIED_28, status=1).seen_by(1001)
    machine.file("/etc/passwd", "ada:x:1001:1001::/home/ada:/bin/bash\n")
    machine.file("/etc/group", "docker:x:998:li,ada\n")

    (found,) = machine.findings(daemon.daemon_answers, REQUIRED)

    assert found.severity is Severity.CRITICAL
    assert [step.by_hand for step in found.cure] == [True]


def test_a_daemon_that_does_not_answer_is_found(machine: Machine) -> None:
    machine.file("/usr/bin/dockerd", mode=0o755).command(*VERSION, hangs=True).service("docker")

    (found,) = machine.findings(daemon.daemon_answers)

    assert (found.code, found.evidence[0].text) == ("HRM-DOCKER-004", "no answer in time")
    assert [step.command for step in found.cure] == ["systemctl restart docker"]


def test_another_answer_is_said_to_be_unseen(machine: Machine) -> None:
    machine.file("/usr/bin/dockerd", mode=0o755).command(*VERSION, stderr="client version 1.40 is too old\n", status=1)

    (run,) = machine.report([daemon.daemon_answers]).checks_run

    assert "client version 1.40 is too old" in run.unseen[0]


def test_a_socket_that_is_open_to_all_is_found(machine: Machine) -> None:
    with_docker(machine).file("/run/docker.sock", mode=0o666).link("/var/run", "/run")

    (found,) = machine.findings(daemon.socket_is_kept_from_others)

    assert found.code == "HRM-DOCKER-003"
    assert [step.command for step in found.cure] == ["chmod o-rwx /var/run/docker.sock"]


def test_a_socket_of_root_and_its_group_is_well(machine: Machine) -> None:
    with_docker(machine).file("/run/docker.sock", mode=0o660).link("/var/run", "/run")

    assert machine.findings(daemon.socket_is_kept_from_others) == []


@pytest.mark.parametrize(
    ("content", "line", "text"),
    [
        ('{\n  "data-root": "/data"\n  "exec-opts": []\n}\n', 3, '"exec-opts": []'),
        ('{\n  "data-root": "/data",\n}\n', None, ""),
    ],
)
def test_a_configuration_that_is_no_json_is_found_at_its_line(
    machine: Machine, content: str, line: int | None, text: str
) -> None:
    with_docker(machine).file("/etc/docker/daemon.json", content)

    (found,) = machine.findings(daemon.configuration_can_be_read)

    assert found.code == "HRM-DOCKER-005"
    assert line in (None, found.evidence[0].line)
    assert text in found.evidence[0].text


@pytest.mark.parametrize(
    ("host", "pid"),
    [(None, 800), ("unix:///run/docker.sock", 800), ("unix:///run/other.sock", 900), ("tcp://a:1", None)],
)
def test_of_several_daemons_the_one_at_its_address_is_looked_at(
    machine: Machine, host: str | None, pid: int | None
) -> None:
    machine.process(700, "/usr/sbin/dockerd --host=unix:///run/user/1000/docker.sock")
    machine.process(800, "/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock")
    machine.process(900, "/usr/sbin/dockerd -H unix:///run/other.sock")

    running = Engine(machine.system(), host).process()

    assert (running.pid if running else None) == pid


def test_the_address_that_is_expected_is_asked_and_none_else(machine: Machine) -> None:
    expected = Expected(docker=DockerExpected(host="unix:///run/other.sock"))
    system = machine.command("docker", "--host", "unix:///run/other.sock", *VERSION[1:], stderr=DOWN, status=1).system()

    (found,) = daemon.daemon_answers.look(system, expected)

    assert found.severity is Severity.ERROR
    assert system.ran == [("docker", "--host", "unix:///run/other.sock", *VERSION[1:])]
