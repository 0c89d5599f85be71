"""Services of systemd, by their files and by what systemd says."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.doctor.system import CannotSee
from hrm.doctor.units import drop_ins, is_enabled, show_command, unit, unit_file
from hrm.testing.machines import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_service_that_runs_is_told_with_what_systemd_says(machine: Machine) -> None:
    system = machine.service("docker").system()

    docker = unit(system, "docker")

    assert (docker.name, docker.installed, docker.enabled, docker.runs) == ("docker.service", True, True, True)
    assert (docker.fails, docker.stopped, docker.masked) == (False, False, False)


@pytest.mark.parametrize(
    ("active", "sub", "fails", "stopped"),
    [
        ("failed", "failed", True, True),
        ("activating", "auto-restart", True, True),
        ("inactive", "dead", False, True),
        ("activating", "start", False, False),
    ],
)
def test_a_service_that_fails_is_told_from_one_that_was_stopped_or_starts(
    machine: Machine, active: str, sub: str, fails: bool, stopped: bool
) -> None:
    kubelet = unit(machine.service("kubelet", active, sub=sub).system(), "kubelet")

    assert (kubelet.runs, kubelet.fails, kubelet.stopped) == (False, fails, stopped)


def test_evidence_says_how_it_ended(machine: Machine) -> None:
    system = machine.service("kubelet", "failed", Result="exit-code", ExecMainStatus="255").system()

    assert str(unit(system, "kubelet").evidence) == (
        "systemctl show kubelet.service: ActiveState=failed SubState=failed Result=exit-code ExecMainStatus=255"
    )


def test_files_alone_say_whether_it_is_installed_and_starts_with_the_machine(machine: Machine) -> None:
    machine.file("/usr/lib/systemd/system/docker.service")
    machine.link("/etc/systemd/system/multi-user.target.wants/docker.service", "/usr/lib/systemd/system/docker.service")

    docker = unit(machine.system(), "docker")

    assert (docker.installed, docker.enabled, docker.active) == (True, True, "")
    assert not docker.runs
    assert not docker.stopped


def test_a_service_that_is_not_installed_is_not_asked_for(machine: Machine) -> None:
    system = machine.directory("/run/systemd/system").system()

    assert not unit(system, "docker").installed
    assert unit_file(system, "docker") is None
    assert system.ran == []


def test_a_masked_service_is_told(machine: Machine) -> None:
    machine.link("/etc/systemd/system/docker.service", "/dev/null")

    docker = unit(machine.system(), "docker.service")

    assert (docker.installed, docker.masked, docker.enabled) == (True, True, False)


def test_systemd_that_does_not_answer_cannot_be_seen(machine: Machine) -> None:
    machine.directory("/run/systemd/system").file("/lib/systemd/system/docker.service")
    machine.command(*show_command("docker"), hangs=True)

    with pytest.raises(CannotSee, match=r"docker\.service: systemctl says nothing in time"):
        unit(machine.system(), "docker")


def test_a_unit_of_another_kind_keeps_its_ending(machine: Machine) -> None:
    machine.file("/lib/systemd/system/docker.socket")
    machine.link("/etc/systemd/system/sockets.target.wants/docker.socket", "/lib/systemd/system/docker.socket")

    assert is_enabled(machine.system(), "docker.socket")


def test_drop_ins_are_told_in_their_order_and_the_administrators_count_before_the_packages(machine: Machine) -> None:
    machine.file("/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf")
    machine.file("/etc/systemd/system/kubelet.service.d/10-kubeadm.conf")
    machine.file("/lib/systemd/system/kubelet.service.d/05-limits.conf").file("/etc/systemd/system/kubelet.service.d/x")

    assert drop_ins(machine.system(), "kubelet") == [
        "/lib/systemd/system/kubelet.service.d/05-limits.conf",
        "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf",
    ]
