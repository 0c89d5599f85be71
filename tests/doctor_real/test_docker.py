"""Faults of a real daemon of Docker's, made, found and cured."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hrm.doctor.checks import Check
from hrm.doctor.cures import Result
from hrm.doctor.docker import CHECKS, daemon, disk, ends, flags, gpus, lingering
from hrm.doctor.docker.engine import DAEMON_JSON, engine
from hrm.doctor.expected import Expected
from hrm.doctor.expected.docker import DockerExpected
from hrm.doctor.processes import processes, runs
from hrm.doctor.runner import examine
from hrm.doctor.system import LocalSystem
from hrm.model.findings import DoctorReport, Finding, Severity
from hrm.testing.conditions import eventually
from hrm.testing.other_user import OtherUser
from tests.doctor_real.docker_engine import IMAGE, PROGRAMS, RealDocker, cured
from tests.doctor_real.live import WithFiles

pytestmark = [pytest.mark.real, pytest.mark.doctor_real, pytest.mark.root]

#: Long enough for a shim of a container that has just ended to end as well.
SETTLED_S = lingering.SETTLE_S + 60


@pytest.fixture(scope="module")
def running() -> Iterator[RealDocker]:
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root and {', '.join(missing) or 'root'}: apt-get install docker.io busybox-static")
    docker = RealDocker()
    try:
        docker.start()
        docker.make_image()
        yield docker
    finally:
        docker.close()


@pytest.fixture
def docker(running: RealDocker) -> Iterator[RealDocker]:
    yield running
    running.remove_containers()


def report(docker: RealDocker, *checks: Check, expected: Expected | None = None) -> DoctorReport:
    found = examine("here", LocalSystem(), expected or docker.expected, checks)
    assert [what for run in found.checks_run for what in run.unseen] == []
    return found


def findings(docker: RealDocker, *checks: Check, expected: Expected | None = None) -> list[Finding]:
    return list(report(docker, *checks, expected=expected).findings)


def seen_by_another(host: str) -> list[Finding]:
    expected = Expected(docker=DockerExpected(host=host))
    return [one for one in daemon.daemon_answers.look(LocalSystem(), expected) if isinstance(one, Finding)]


def kept_busy(docker: RealDocker, name: str) -> str:
    """A container that runs until it is ended; its id."""
    return docker.docker("run", "--detach", "--name", name, "--network", "none", IMAGE, "sleep", "86400").stdout.strip()


def test_a_daemon_with_a_container_that_runs_is_well(docker: RealDocker) -> None:
    kept_busy(docker, "busy")

    assert report(docker, *CHECKS).findings == ()


def test_a_daemon_that_was_stopped_is_found_and_one_that_is_back_is_well(docker: RealDocker) -> None:
    docker.stop()

    try:
        (found,) = findings(docker, daemon.daemon_answers)
    finally:
        docker.start()

    assert (found.code, found.severity) == ("HRM-DOCKER-001", Severity.ERROR)
    assert "Cannot connect to the Docker daemon" in found.evidence[0].text
    assert findings(docker, daemon.daemon_answers) == []


def test_what_a_real_daemon_will_not_start_with_is_found_before_it_is_started(docker: RealDocker) -> None:
    configuration = '{"hosts": ["unix:///nowhere.sock"], "exec-opts": ["native.cgroupdriver=cgroupfs"]}'
    (docker.place / "daemon.json").write_text(configuration)
    command = ("/usr/sbin/dockerd", "-H", "fd://", "--exec-opt", "native.cgroupdriver=systemd")
    refused = subprocess.run(
        [*command, "--config-file", f"{docker.place}/daemon.json"], capture_output=True, text=True, timeout=60
    )
    assert "the following directives are specified both as a flag and in the configuration file" in refused.stderr
    system = WithFiles(
        {"/etc/systemd/system/docker.service": f"ExecStart={' '.join(command)}\n", DAEMON_JSON: configuration}
    )

    (found,) = (one for one in flags.nothing_is_set_twice.look(system, Expected()) if isinstance(one, Finding))

    assert found.code == "HRM-DOCKER-006"
    told = found.title.en.partition(":")[0].split(", ")
    assert told == [key for key in ("exec-opts", "hosts") if f"{key}: (from flag" in refused.stderr]


def test_another_user_may_not_use_the_socket(nobody: OtherUser, docker: RealDocker) -> None:
    (found,) = nobody.do(seen_by_another, docker.host)

    assert (found.code, found.severity) == ("HRM-DOCKER-002", Severity.ERROR)
    assert "User nobody may not use" in found.title.en
    assert "permission denied" in found.evidence[0].text
    assert any("usermod --append --groups" in step.command for step in found.cure)


def test_a_socket_that_is_open_to_all_is_found_and_closed(docker: RealDocker) -> None:
    socket = Path(docker.host.removeprefix("unix://"))
    socket.chmod(0o666)

    (found,) = findings(docker, daemon.socket_is_kept_from_others)

    assert found.code == "HRM-DOCKER-003"
    assert cured(found) == [Result.DONE]
    assert socket.stat().st_mode & 0o777 == 0o660
    assert findings(docker, daemon.socket_is_kept_from_others) == []


def test_gpus_that_docker_cannot_give_are_found_until_the_hook_is_there_and_the_daemon_has_seen_it(
    docker: RealDocker,
) -> None:
    refused = docker.docker("run", "--name", "bb", "--gpus", "all", "--network", "none", IMAGE, "true", check=False)
    assert 'could not select device driver "" with capabilities: [[gpu]]' in refused.stderr

    (found,) = findings(docker, gpus.containers_get_gpus)
    assert found.code == "HRM-DOCKER-022"
    assert 'could not select device driver "" with capabilities: [[gpu]]' in found.evidence[0].text

    # Whole seconds of the machine's boot time go into when a process started.
    eventually(lambda: time.time() > (engine(LocalSystem(), docker.expected).started_at() or 0) + 2)
    hook = docker.programs / "nvidia-container-runtime-hook"
    hook.write_text("#!/bin/sh\nexit 0\n")
    hook.chmod(0o755)
    (found,) = findings(docker, gpus.containers_get_gpus)
    assert found.code == "HRM-DOCKER-023"

    docker.stop()
    # As a package has it, whose files are older than the daemon.
    os.utime(hook, (time.time() - 3600, time.time() - 3600))
    docker.start()
    (found,) = findings(docker, gpus.containers_get_gpus)
    assert (found.code, found.severity) == ("HRM-DOCKER-020", Severity.WARNING)

    assert cured(found) == [Result.DONE]
    eventually(lambda: docker.status("bb") == "exited")
    assert findings(docker, gpus.containers_get_gpus) == []


def test_a_shim_that_lingers_keeps_its_container_from_starting_until_it_is_ended(docker: RealDocker) -> None:
    identity = kept_busy(docker, "lingers")
    docker.kill()
    docker.forget_containers()
    docker.start()
    eventually(lambda: docker.status("lingers") == "exited")
    refused = docker.docker("start", "lingers", check=False)
    assert refused.returncode != 0

    (found,) = eventually(lambda: findings(docker, lingering.nothing_lingers), SETTLED_S)

    assert found.code == "HRM-DOCKER-010"
    assert "containerd-shim-runc-v2" in found.evidence[0].text
    assert f"-id {identity}" in found.evidence[0].text
    assert [step.command for step in found.cure][-1] == f"docker --host {docker.host} start lingers"
    assert set(cured(found)) <= {Result.DONE, Result.ALREADY}
    assert docker.status("lingers") == "running"
    assert findings(docker, lingering.nothing_lingers) == []
    # What it ran before is gone, too.
    inside = [one.command_line for one in processes(LocalSystem()) if identity in docker.cgroup(one.pid)]
    assert inside == ["sleep 86400"]


def test_a_process_that_lingers_without_its_shim_is_found_and_ended(docker: RealDocker) -> None:
    identity = kept_busy(docker, "orphaned")
    docker.kill()
    (shim,) = (one for one in processes(LocalSystem()) if f"-id {identity}" in one.command_line)
    os.kill(shim.pid, signal.SIGKILL)
    eventually(lambda: not runs(LocalSystem(), shim.pid))
    docker.forget_containers()
    docker.start()
    eventually(lambda: docker.status("orphaned") == "exited")

    (found,) = eventually(lambda: findings(docker, lingering.nothing_lingers), SETTLED_S)

    assert found.code == "HRM-DOCKER-011"
    assert [evidence.text for evidence in found.evidence] == ["sleep 86400"]
    assert cured(found) == [Result.DONE]
    assert findings(docker, lingering.nothing_lingers) == []


def test_a_container_that_was_killed_is_told_from_one_that_lacked_memory(docker: RealDocker) -> None:
    kept_busy(docker, "killed")
    # Before that the daemon's own start could have ended it.
    started_at = engine(LocalSystem(), docker.expected).started_at()
    assert started_at is not None
    eventually(lambda: time.time() > started_at + 65, 180)
    docker.docker("kill", "killed")
    grows = ("sh", "-c", "x=a; while :; do x=$x$x; done")
    docker.docker("run", "--name", "grows", "--network", "none", "--memory", "16m", IMAGE, *grows, check=False)

    by_name = {found.title.en.split()[1]: found for found in findings(docker, ends.ended_containers_are_explained)}

    assert (by_name["killed"].code, by_name["killed"].severity) == ("HRM-DOCKER-032", Severity.INFO)
    assert (by_name["grows"].code, by_name["grows"].severity) == ("HRM-DOCKER-031", Severity.WARNING)
    assert "ExitCode=137 OOMKilled=true" in by_name["grows"].evidence[0].text
    # Somebody ended it, and somebody decides about it.
    assert cured(by_name["killed"]) == [Result.LEFT]
    assert docker.status("killed") == "exited"


def test_a_container_that_went_down_with_the_daemon_and_has_no_policy_is_found_and_brought_back(
    docker: RealDocker,
) -> None:
    kept_busy(docker, "down")
    docker.docker(
        "run", "--detach", "--name", "back", "--restart", "always", "--network", "none", IMAGE, "sleep", "86400"
    )
    docker.kill()
    docker.start()
    eventually(lambda: docker.status("down") == "exited")
    eventually(lambda: docker.status("back") == "running")

    (found,) = findings(docker, ends.ended_containers_are_explained)

    assert (found.code, found.severity) == ("HRM-DOCKER-030", Severity.WARNING)
    assert "Container down is down" in found.title.en
    assert cured(found) == [Result.DONE, Result.DONE]
    policy = docker.docker("inspect", "--format", "{{.HostConfig.RestartPolicy.Name}} {{.State.Status}}", "down").stdout
    assert policy.split() == ["unless-stopped", "running"]


def test_exit_codes_of_real_containers_are_explained(docker: RealDocker) -> None:
    docker.docker("run", "--name", "missing", "--network", "none", IMAGE, "no-such-program", check=False)
    docker.docker("run", "--name", "fails", "--network", "none", IMAGE, "sh", "-c", "exit 3", check=False)

    told = {found.title.en: found.why.en for found in findings(docker, ends.ended_containers_are_explained)}

    assert told["Container fails ended with exit code 3"] == "3: its program failed."


def test_a_disk_is_measured_where_the_daemon_has_its_data(docker: RealDocker) -> None:
    nearly_full = Expected(docker=DockerExpected(host=docker.host, full_part=0.0))

    (found,) = findings(docker, disk.disk_has_room, expected=nearly_full)

    assert found.code == "HRM-DOCKER-040"
    assert f"{docker.place}/data" in found.title.en
    assert any(evidence.source == "docker system df" for evidence in found.evidence)
