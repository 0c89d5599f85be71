"""Containers of Docker's that have ended: what lingers of them, and what ended them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from hrm.doctor.docker import ends, lingering
from hrm.doctor.docker.containers import as_time
from hrm.model.findings import Severity
from hrm.testing.machines import Machine
from tests.unit.doctor.docker_machines import (
    ENDED,
    ID,
    NO_DRIVER,
    NOW,
    container,
    with_containers,
    with_daemon_process,
    with_docker,
)

OLD_SHIM = f"containerd-shim -namespace moby -workdir /var/lib/containerd/io.containerd.runtime.v1.linux/moby/{ID}"
OLDER_SHIM = f"docker-containerd-shim -namespace moby -workdir /var/lib/docker/containerd/daemon/moby/{ID}"
NEW_SHIM = f"/usr/bin/containerd-shim-runc-v2 -namespace moby -id {ID} -address /run/containerd/containerd.sock"
EXISTS = (
    "failed to create shim task: OCI runtime create failed: runc create failed: container with given ID already exists"
)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return with_docker(Machine(tmp_path))


def at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@pytest.mark.parametrize("shim", [OLD_SHIM, OLDER_SHIM, NEW_SHIM])
def test_the_shim_of_a_container_that_does_not_run_is_ended_and_the_container_started(
    machine: Machine, shim: str
) -> None:
    with_containers(machine, container(ExitCode=137, Error=EXISTS)).process(13786, shim)

    (found,) = machine.findings(lingering.nothing_lingers)

    assert (found.code, found.severity) == ("HRM-DOCKER-010", Severity.ERROR)
    assert found.title.en == "Container bb does not run, but its shim (pid 13786) does"
    assert found.evidence[0].text == shim
    assert [step.command for step in found.cure] == ["kill 13786", "docker start bb"]
    assert found.cure[0].ends is not None
    assert found.cure[0].ends.command_line == shim


@pytest.mark.parametrize(
    "other",
    [
        NEW_SHIM.replace(ID, ID[:12]),
        NEW_SHIM.replace(ID, "f" * 64),
        f"grep --color=auto {ID}",
        f"runc --root /run/docker/runtime-runc/moby delete {ID}",
    ],
)
def test_a_process_that_is_not_this_containers_shim_is_left_alone(machine: Machine, other: str) -> None:
    with_containers(machine, container(ExitCode=137)).process(13786, other)

    assert machine.findings(lingering.nothing_lingers) == []


def test_processes_of_a_container_that_does_not_run_are_ended(machine: Machine) -> None:
    with_containers(machine, container()).process(4242, "python train.py")
    machine.file("/proc/4242/cgroup", f"9:memory:/docker/{ID}\n1:name=systemd:/docker/{ID}\n")

    (found,) = machine.findings(lingering.nothing_lingers)

    assert (found.code, found.title.en) == (
        "HRM-DOCKER-011",
        "Container bb does not run, but processes of it do: 4242",
    )
    assert [step.command for step in found.cure] == ["kill 4242"]


def test_processes_are_known_by_the_one_hierarchy_of_cgroup_v2_too(machine: Machine) -> None:
    with_containers(machine, container()).process(4242, "python train.py")
    machine.file("/proc/4242/cgroup", f"0::/system.slice/docker-{ID}.scope\n")

    assert [found.code for found in machine.findings(lingering.nothing_lingers)] == ["HRM-DOCKER-011"]


def test_a_container_that_ended_just_now_may_still_have_its_shim(machine: Machine) -> None:
    with_containers(machine, container(FinishedAt=at(NOW - 1))).process(13786, NEW_SHIM)

    assert machine.findings(lingering.nothing_lingers) == []


def test_a_container_that_was_started_between_two_looks_is_well(machine: Machine) -> None:
    with_containers(machine, container()).process(13786, NEW_SHIM).command(*ENDED, stdout="")

    assert machine.findings(lingering.nothing_lingers) == []


def test_where_nothing_lingers_all_is_well(machine: Machine) -> None:
    with_containers(machine, container(), container("aa", "5c08" * 16)).process(1, "/sbin/init")

    assert machine.findings(lingering.nothing_lingers) == []


def test_a_container_that_ended_with_the_daemon_and_has_no_policy_is_found(machine: Machine) -> None:
    with_daemon_process(machine, started_s_ago=600)
    with_containers(machine, container(ExitCode=137, FinishedAt=at(NOW - 600)))

    (found,) = machine.findings(ends.ended_containers_are_explained)

    assert (found.code, found.severity) == ("HRM-DOCKER-030", Severity.WARNING)
    assert found.evidence[0].text == "ExitCode=137 OOMKilled=false FinishedAt=2020-09-13T12:16:40Z RestartPolicy=no"
    assert [step.command for step in found.cure] == [
        "docker start bb",
        "docker update --restart unless-stopped bb",
    ]


def test_a_container_that_ended_with_a_daemon_stopped_hours_before_it_came_back_is_found(machine: Machine) -> None:
    with_daemon_process(machine, started_s_ago=600)
    stopped_after_boot_us = int((86_400 - 20_000) * 1e6)
    machine.command(*ends.STOPPED_AT, "docker", stdout=f"InactiveEnterTimestampMonotonic={stopped_after_boot_us}\n")
    with_containers(machine, container(ExitCode=137, FinishedAt=at(NOW - 20_008)))

    assert [found.code for found in machine.findings(ends.ended_containers_are_explained)] == ["HRM-DOCKER-030"]


def test_one_that_ended_before_the_machine_booted_went_down_with_it(machine: Machine) -> None:
    with_daemon_process(machine, started_s_ago=86_300)
    with_containers(machine, container(ExitCode=143, FinishedAt=at(NOW - 86_400 - 240)))

    assert [found.code for found in machine.findings(ends.ended_containers_are_explained)] == ["HRM-DOCKER-030"]


def test_a_container_that_somebody_killed_is_told_from_one_without_memory(machine: Machine) -> None:
    with_daemon_process(machine, started_s_ago=50_000)
    with_containers(
        machine,
        container("bb", ID, ExitCode=137, FinishedAt=at(NOW - 240)),
        container("aa", "5c08" * 16, ExitCode=137, OOMKilled=True, FinishedAt=at(NOW - 32_400), Memory=16 << 20),
    )

    killed, oom = sorted(machine.findings(ends.ended_containers_are_explained), key=lambda found: found.severity)

    assert (killed.code, killed.severity) == ("HRM-DOCKER-032", Severity.INFO)
    assert (oom.code, oom.severity) == ("HRM-DOCKER-031", Severity.WARNING)
    assert oom.title.en == "Container aa was killed for lack of memory (limit 16 MiB)"
    assert [step.command for step in killed.cure] == [
        "",
        "docker start bb",
        "docker update --restart unless-stopped bb",
    ]
    assert [step.command for step in oom.cure] == [
        "",
        "docker update --memory 32m --memory-swap 32m aa",
        "docker start aa",
    ]


def test_without_a_limit_it_was_the_machine_that_ran_out_of_memory(machine: Machine) -> None:
    with_containers(machine, container(ExitCode=137, OOMKilled=True, FinishedAt=at(NOW - 60)))

    (found,) = machine.findings(ends.ended_containers_are_explained)

    assert "ran out of memory" in found.cure[1].about.en


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (1, "1: its program failed."),
        (126, "126: its program cannot be executed."),
        (127, "127: its program was not found."),
        (139, "139: SIGSEGV: the program crashed."),
        (143, "143: SIGTERM: docker stop."),
        (152, "152: signal 24."),
    ],
)
def test_exit_codes_are_explained(machine: Machine, code: int, meaning: str) -> None:
    with_containers(machine, container(ExitCode=code, FinishedAt=at(NOW - 60)))

    (found,) = machine.findings(ends.ended_containers_are_explained)

    assert (found.code, found.severity, found.why.en) == ("HRM-DOCKER-033", Severity.INFO, meaning)


def test_one_that_is_started_again_by_its_policy_is_no_loss(machine: Machine) -> None:
    with_daemon_process(machine, started_s_ago=600)
    policy = {"Name": "always", "MaximumRetryCount": 0}
    with_containers(machine, container(ExitCode=137, FinishedAt=at(NOW - 600), RestartPolicy=policy))

    assert [found.severity for found in machine.findings(ends.ended_containers_are_explained)] == [Severity.INFO]


def test_what_ended_well_or_long_ago_or_never_ran_is_nothing_to_tell(machine: Machine) -> None:
    with_containers(
        machine,
        container("hello", "79" * 32, ExitCode=0, FinishedAt=at(NOW - 60)),
        container("old", "5d" * 32, ExitCode=137, FinishedAt=at(NOW - 30 * 86_400)),
        container(
            "never", "ab" * 32, Status="created", ExitCode=128, Error=NO_DRIVER, FinishedAt="0001-01-01T00:00:00Z"
        ),
    )

    assert machine.findings(ends.ended_containers_are_explained) == []


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2020-09-13T12:26:40Z", NOW),
        ("2020-09-13T12:26:40.5Z", NOW + 0.5),
        ("2020-09-13T20:26:40.123456789+08:00", NOW + 0.123456789),
        ("0001-01-01T00:00:00Z", 0.0),
        ("", 0.0),
    ],
)
def test_times_are_read_as_docker_writes_them(text: str, seconds: float) -> None:
    assert as_time(text) == pytest.approx(seconds)
