"""GPUs in Docker's containers: the causes of "could not select device driver", told apart."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from hrm.doctor.docker import gpus
from hrm.doctor.expected import Expected
from hrm.doctor.expected.docker import DockerExpected
from hrm.model.findings import Severity
from hrm.testing.machines import Machine
from tests.unit.doctor.docker_machines import (
    ID,
    NO_DRIVER,
    NOW,
    container,
    with_containers,
    with_daemon_process,
    with_docker,
)

HOOK = "/usr/bin/nvidia-container-runtime-hook"
GPU = "/proc/driver/nvidia/gpus/0000:3d:00.0/information"
SHIM = f"containerd-shim -namespace moby -workdir /var/lib/containerd/io.containerd.runtime.v1.linux/moby/{ID}"
REQUIRED = Expected(docker=DockerExpected(required=True))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return with_docker(Machine(tmp_path))


def refused(error: str = NO_DRIVER, **more: Any) -> dict[str, Any]:
    asks = [{"Driver": "", "Count": -1, "DeviceIDs": None, "Capabilities": [["gpu"]], "Options": {}}]
    return container(ExitCode=128, Error=error, DeviceRequests=asks, **more)


def with_hook(machine: Machine, tmp_path: Path, *, installed_s_ago: float, path: str = HOOK) -> None:
    machine.file(path, mode=0o755)
    os.utime(tmp_path / path.lstrip("/"), (NOW - installed_s_ago, NOW - installed_s_ago))


@pytest.mark.parametrize(
    "error",
    [
        NO_DRIVER,
        'could not select device driver "nvidia" with capabilities: [[gpu utility]]',
        "Cannot restart container bb: " + NO_DRIVER,
    ],
)
def test_a_hook_that_is_not_installed_is_found_by_what_containers_died_of(machine: Machine, error: str) -> None:
    with_containers(with_daemon_process(machine.file(GPU), 86_000), refused(error))

    (found,) = machine.findings(gpus.containers_get_gpus)

    assert (found.code, found.severity) == ("HRM-DOCKER-022", Severity.ERROR)
    assert error in found.evidence[0].text
    assert [step.command for step in found.cure] == [
        "apt-get install --yes nvidia-container-toolkit",
        "nvidia-ctk runtime configure --runtime=docker",
        "systemctl restart docker",
        "docker start bb",
    ]


def test_on_a_machine_without_gpus_that_is_said_first(machine: Machine) -> None:
    with_containers(with_daemon_process(machine, 86_000), refused())

    (found,) = machine.findings(gpus.containers_get_gpus)

    assert found.cure[0].by_hand
    assert "no NVIDIA GPU" in found.cure[0].about.en


def test_a_container_that_failed_as_the_daemon_started_is_started_again(machine: Machine, tmp_path: Path) -> None:
    with_hook(machine, tmp_path, installed_s_ago=90_000)
    with_containers(with_daemon_process(machine.file(GPU), 20), refused())

    (found,) = machine.findings(gpus.containers_get_gpus)

    assert (found.code, found.severity) == ("HRM-DOCKER-020", Severity.WARNING)
    assert "20 s ago" in found.why.en
    assert [step.command for step in found.cure] == ["docker start bb"]


def test_a_shim_of_the_same_container_comes_before_what_is_wrong_with_the_daemon(
    machine: Machine, tmp_path: Path
) -> None:
    with_hook(machine, tmp_path, installed_s_ago=90_000)
    with_containers(with_daemon_process(machine.file(GPU), 20), refused()).process(13786, SHIM)

    (found,) = machine.findings(gpus.containers_get_gpus)

    assert (found.code, found.severity) == ("HRM-DOCKER-021", Severity.ERROR)
    assert [step.command for step in found.cure] == ["kill 13786", "docker start bb"]


def test_a_hook_that_was_installed_after_the_daemon_started_needs_a_restart(machine: Machine, tmp_path: Path) -> None:
    with_hook(machine, tmp_path, installed_s_ago=3_600)
    with_containers(with_daemon_process(machine.file(GPU), 86_000), refused())

    (found,) = machine.findings(gpus.containers_get_gpus)

    assert (found.code, found.title.en) == (
        "HRM-DOCKER-023",
        f"Docker's daemon has run since before {HOOK} was installed",
    )
    assert [step.command for step in found.cure] == ["systemctl restart docker", "docker start bb"]


def test_when_a_package_was_installed_is_known_also_where_its_files_keep_older_times(
    machine: Machine, tmp_path: Path
) -> None:
    with_hook(machine, tmp_path, installed_s_ago=9_000_000)
    with_hook(machine, tmp_path, installed_s_ago=60, path="/var/lib/dpkg/info/nvidia-container-toolkit.list")
    with_containers(with_daemon_process(machine.file(GPU), 86_000), refused())

    assert [found.code for found in machine.findings(gpus.containers_get_gpus)] == ["HRM-DOCKER-023"]


def test_the_hook_counts_only_on_the_daemons_own_path(machine: Machine, tmp_path: Path) -> None:
    with_hook(machine, tmp_path, installed_s_ago=90_000, path="/opt/nvidia/bin/nvidia-container-runtime-hook")
    with_containers(with_daemon_process(machine.file(GPU), 86_000), refused())

    assert [found.code for found in machine.findings(gpus.containers_get_gpus)] == ["HRM-DOCKER-022"]


def test_docker_from_a_snap_is_found(machine: Machine, tmp_path: Path) -> None:
    with_hook(machine, tmp_path, installed_s_ago=90_000)
    snap = "/snap/docker/471/bin/dockerd --group docker"
    with_containers(with_daemon_process(machine.file(GPU), 86_000, program=snap), refused())

    (found,) = machine.findings(gpus.containers_get_gpus)

    assert found.code == "HRM-DOCKER-024"
    assert "snap remove docker" in [step.command for step in found.cure]
    assert found.cure[0].by_hand


@pytest.mark.parametrize("hook", [HOOK, "/usr/bin/nvidia-cdi-hook"])
def test_a_machine_with_gpus_and_what_docker_needs_for_them_is_well(
    machine: Machine, tmp_path: Path, hook: str
) -> None:
    with_hook(machine, tmp_path, installed_s_ago=90_000, path=hook)
    with_containers(with_daemon_process(machine.file(GPU), 86_000), container(ExitCode=0))

    assert machine.findings(gpus.containers_get_gpus, REQUIRED) == []


def test_an_update_of_the_hook_while_the_daemon_runs_is_well(machine: Machine, tmp_path: Path) -> None:
    with_hook(machine, tmp_path, installed_s_ago=60)
    with_containers(with_daemon_process(machine.file(GPU), 86_000))

    assert machine.findings(gpus.containers_get_gpus, REQUIRED) == []


def test_where_nobody_asked_docker_for_gpus_that_it_has_none_is_worth_knowing_only(machine: Machine) -> None:
    with_containers(with_daemon_process(machine.file(GPU), 86_000))

    assert [found.severity for found in machine.findings(gpus.containers_get_gpus)] == [Severity.INFO]


def test_where_jobs_run_in_docker_gpus_without_a_hook_are_an_error(machine: Machine) -> None:
    with_containers(with_daemon_process(machine.file(GPU), 86_000))

    assert [found.severity for found in machine.findings(gpus.containers_get_gpus, REQUIRED)] == [Severity.ERROR]


def test_a_machine_without_gpus_and_without_containers_that_ask_is_well(machine: Machine) -> None:
    with_containers(with_daemon_process(machine, 86_000))

    assert machine.findings(gpus.containers_get_gpus) == []


@pytest.mark.parametrize("error", ["Unknown runtime specified nvidia", "unknown or invalid runtime name: nvidia"])
def test_a_runtime_that_the_daemon_does_not_know_is_added(machine: Machine, error: str) -> None:
    with_containers(with_daemon_process(machine, 86_000), container(ExitCode=128, Error=error, Runtime="nvidia"))

    (found,) = machine.findings(gpus.containers_get_gpus)

    assert found.code == "HRM-DOCKER-025"
    assert "nvidia-ctk runtime configure --runtime=docker" in [step.command for step in found.cure]


def test_a_runtime_whose_program_is_gone_is_found_in_daemon_json(machine: Machine) -> None:
    runtime = {"path": "/usr/bin/nvidia-container-runtime", "runtimeArgs": []}
    said = {"default-runtime": "nvidia", "runtimes": {"nvidia": runtime}}
    machine.file("/etc/docker/daemon.json", json.dumps(said, indent=4))

    (found,) = machine.findings(gpus.runtimes_are_there, REQUIRED)

    assert (found.code, found.severity) == ("HRM-DOCKER-026", Severity.CRITICAL)
    assert (found.evidence[0].line, found.evidence[0].text) == (5, '"path": "/usr/bin/nvidia-container-runtime",')


@pytest.mark.parametrize("path", ["/usr/bin/nvidia-container-runtime", "nvidia-container-runtime"])
def test_a_runtime_whose_program_is_there_is_well(machine: Machine, path: str) -> None:
    machine.file("/usr/bin/nvidia-container-runtime", mode=0o755)
    machine.file("/etc/docker/daemon.json", json.dumps({"runtimes": {"nvidia": {"path": path}}}))

    assert machine.findings(gpus.runtimes_are_there) == []
