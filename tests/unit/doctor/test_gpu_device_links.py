"""Links in /dev/char, by which systemd finds devices of containers."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.doctor.gpu import device_links
from hrm.model.findings import FileContent
from hrm.testing.machines import Machine

DOCKER_WITH_SYSTEMD = '{"exec-opts": ["native.cgroupdriver=systemd"]}'


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Two GPUs, and no links."""
    machine = Machine(tmp_path).device("/dev/nvidia0", 195, 0).device("/dev/nvidia1", 195, 1)
    return machine.device("/dev/nvidiactl", 195, 255).device("/dev/null", 1, 3)


def linked(machine: Machine) -> Machine:
    for name, minor in (("nvidia0", 0), ("nvidia1", 1), ("nvidiactl", 255)):
        machine.link(f"/dev/char/195:{minor}", f"../{name}")
    return machine


def test_missing_links_are_found_where_docker_leaves_cgroups_to_systemd(machine: Machine) -> None:
    (found,) = machine.file(device_links.DOCKER, DOCKER_WITH_SYSTEMD).findings(device_links.links)

    assert found.code == "HRM-GPU-130"
    assert found.title.en == "/dev/char has no links for nvidia0, nvidia1, nvidiactl"
    assert [step.command for step in found.cure] == [
        "ln -sfn ../nvidia0 /dev/char/195:0",
        "ln -sfn ../nvidia1 /dev/char/195:1",
        "ln -sfn ../nvidiactl /dev/char/195:255",
    ]


def test_one_missing_link_is_enough(machine: Machine) -> None:
    machine.file(device_links.DOCKER, DOCKER_WITH_SYSTEMD)
    linked(machine).device("/dev/nvidia-uvm", 510, 0)

    (found,) = machine.findings(device_links.links)

    assert found.title.en == "/dev/char has no links for nvidia-uvm"


def test_the_toolkit_makes_them_now_and_at_every_boot(machine: Machine) -> None:
    machine.file(device_links.DOCKER, DOCKER_WITH_SYSTEMD).file("/usr/bin/nvidia-ctk")

    (found,) = machine.findings(device_links.links)

    assert found.cure[0].command == "nvidia-ctk system create-dev-char-symlinks --create-all"
    assert found.cure[1].writes == FileContent(
        device_links.UDEV_RULE,
        'ACTION=="add", DEVPATH=="/bus/pci/drivers/nvidia", '
        'RUN+="/usr/bin/nvidia-ctk system create-dev-char-symlinks --create-all"\n',
    )


def test_docker_leaves_cgroups_of_version_2_to_systemd_unless_it_is_told_otherwise(machine: Machine) -> None:
    machine.file("/usr/bin/dockerd").file("/sys/fs/cgroup/cgroup.controllers", "cpu memory\n")
    machine.directory("/run/systemd/system")

    assert [found.code for found in machine.findings(device_links.links)] == ["HRM-GPU-130"]
    machine.file(device_links.DOCKER, '{"exec-opts": ["native.cgroupdriver=cgroupfs"]}')
    assert machine.findings(device_links.links) == []


def test_containerd_may_leave_them_to_systemd_too(machine: Machine) -> None:
    machine.file(device_links.CONTAINERD, "[plugins]\n  SystemdCgroup = true\n")

    (found,) = machine.findings(device_links.links)

    assert found.evidence[-1].text == "SystemdCgroup = true"


def test_links_that_are_there_are_well(machine: Machine) -> None:
    machine.file(device_links.DOCKER, DOCKER_WITH_SYSTEMD)

    assert linked(machine).findings(device_links.links) == []


def test_links_are_not_missed_where_systemd_keeps_no_cgroups_of_containers(machine: Machine) -> None:
    assert machine.findings(device_links.links) == []
