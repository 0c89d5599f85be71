"""What Docker needs of the machine: room on its disk, and kubelet's cgroup driver."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hrm.doctor.docker import cgroups, disk, flags
from hrm.doctor.kubelet import CONFIG, FLAGS
from hrm.model.findings import Severity
from hrm.testing.machines import Machine
from tests.unit.doctor.docker_machines import INFO, with_docker

DF = ("df", "--portability", "--block-size=1M", "/var/lib/docker")
SYSTEM_DF = ("docker", "system", "df", "--format", "{{json .}}")
USAGE = (
    '{"Active":"4","Reclaimable":"182.4GB (76%)","Size":"239.1GB","TotalCount":"61","Type":"Images"}\n'
    '{"Active":"2","Reclaimable":"3.1GB (99%)","Size":"3.1GB","TotalCount":"17","Type":"Containers"}\n'
    '{"Active":"1","Reclaimable":"512GB (90%)","Size":"600GB","TotalCount":"9","Type":"Local Volumes"}\n'
    '{"Active":"0","Reclaimable":"0B","Size":"0B","TotalCount":"0","Type":"Build Cache"}\n'
)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return with_docker(Machine(tmp_path))


def df(used: int) -> str:
    return (
        "Filesystem     1048576-blocks   Used Available Capacity Mounted on\n"
        f"/dev/sda2              457448 {4574 * used} {4574 * (100 - used)}      {used}% /\n"
    )


@pytest.mark.parametrize(("used", "severity"), [(91, Severity.WARNING), (99, Severity.ERROR)])
def test_a_disk_that_is_nearly_full_is_found_with_what_can_be_freed(
    machine: Machine, used: int, severity: Severity
) -> None:
    machine.command(*DF, stdout=df(used)).command(*SYSTEM_DF, stdout=USAGE)

    (found,) = machine.findings(disk.disk_has_room)

    assert (found.code, found.severity) == ("HRM-DOCKER-040", severity)
    assert found.title.en == (
        f"The disk with Docker's data (/var/lib/docker) is {used}% full; "
        "Images 182.4GB (76%), Containers 3.1GB (99%) can be freed"
    )
    # Files in containers, and images that were built here alone, are somebody's.
    assert [step.command for step in found.cure] == ["docker builder prune --force", "docker image prune --force", ""]


def test_a_disk_with_room_is_well(machine: Machine) -> None:
    machine.command(*DF, stdout=df(55))

    assert machine.findings(disk.disk_has_room) == []


def test_a_disk_that_does_not_answer_is_said_to_be_unseen(machine: Machine) -> None:
    machine.command(*DF, hangs=True)

    assert machine.report([disk.disk_has_room]).checks_run[0].unseen == ("df /var/lib/docker: no answer in time",)


def test_what_docker_uses_may_take_too_long_to_count(machine: Machine) -> None:
    machine.command(*DF, stdout=df(95)).command(*SYSTEM_DF, hangs=True)

    report = machine.report([disk.disk_has_room])

    assert [found.code for found in report.findings] == ["HRM-DOCKER-040"]
    assert report.checks_run[0].unseen == ("docker system df: no answer in time",)


def test_while_the_daemon_is_down_the_disk_is_known_by_its_configuration(tmp_path: Path) -> None:
    machine = Machine(tmp_path).file("/usr/bin/dockerd", mode=0o755)
    machine.file("/etc/docker/daemon.json", '{"data-root": "/data/docker"}')
    machine.command(*DF[:-1], "/data/docker", stdout=df(100))
    machine.command(*INFO, stderr="Cannot connect to the Docker daemon at unix:///var/run/docker.sock.\n", status=1)

    (found,) = machine.findings(disk.disk_has_room)

    assert "/data/docker" in found.title.en


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (CONFIG, "apiVersion: kubelet.config.k8s.io/v1beta1\ncgroupDriver: systemd\nclusterDomain: cluster.local\n"),
        (FLAGS, 'KUBELET_KUBEADM_ARGS="--cgroup-driver=systemd --network-plugin=cni"\n'),
    ],
)
def test_a_cgroup_driver_other_than_kubelets_is_found_and_only_that_is_changed(
    tmp_path: Path, path: str, content: str
) -> None:
    machine = with_docker(Machine(tmp_path), CgroupDriver="cgroupfs").file("/usr/bin/kubelet", mode=0o755)
    machine.file(path, content).file(
        "/etc/docker/daemon.json",
        '{"data-root": "/data", "exec-opts": ["native.cgroupdriver=cgroupfs", "isolation=x"]}',
    )

    (found,) = machine.findings(cgroups.cgroup_drivers_agree)

    assert found.title.en == "Docker's cgroup driver is cgroupfs, kubelet's is systemd"
    assert found.evidence[1].source == path
    written = found.cure[0].writes
    assert written is not None
    assert json.loads(written.content) == {
        "data-root": "/data",
        "exec-opts": ["isolation=x", "native.cgroupdriver=systemd"],
    }
    assert [step.command for step in found.cure[1:]] == ["systemctl restart docker", "systemctl restart kubelet"]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/lib/systemd/system/docker.service", "ExecStart=/usr/bin/dockerd --exec-opt native.cgroupdriver=cgroupfs\n"),
        ("/etc/docker/daemon.json", '{"data-root": "/data",}'),
    ],
)
def test_a_configuration_that_would_not_start_or_cannot_be_read_is_left_to_a_person(
    tmp_path: Path, path: str, content: str
) -> None:
    machine = with_docker(Machine(tmp_path), CgroupDriver="cgroupfs").file("/usr/bin/kubelet", mode=0o755)
    machine.file(CONFIG, "cgroupDriver: systemd\n").file(path, content)

    (found,) = machine.findings(cgroups.cgroup_drivers_agree)

    assert found.cure[0].by_hand
    assert path in found.cure[0].about.en


UNIT = "/lib/systemd/system/docker.service"
FD = "ExecStart=/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock"


@pytest.mark.parametrize(
    ("unit", "said", "key"),
    [
        (FD, {"hosts": ["tcp://0.0.0.0:2375"]}, "hosts"),
        (
            "ExecStart=/usr/bin/dockerd --host=fd:// \\\n  --data-root=/data",
            {"data-root": "/var/lib/docker"},
            "data-root",
        ),
        ("ExecStart=/usr/bin/dockerd --exec-opt native.cgroupdriver=systemd", {"exec-opts": ["x=y"]}, "exec-opts"),
        ("ExecStart=/usr/bin/dockerd --insecure-registry a:5", {"insecure-registries": ["b"]}, "insecure-registries"),
    ],
)
def test_what_is_set_in_both_places_is_found_with_both_lines(
    machine: Machine, unit: str, said: dict[str, object], key: str
) -> None:
    machine.file(UNIT, f"[Service]\n{unit}\n").file("/etc/docker/daemon.json", json.dumps(said))

    (found,) = machine.findings(flags.nothing_is_set_twice)

    assert (found.code, found.title.en) == (
        "HRM-DOCKER-006",
        f"{key}: set in daemon.json and by arguments of Docker's daemon",
    )
    assert [(evidence.source, evidence.line) for evidence in found.evidence] == [
        (UNIT, 2),
        ("/etc/docker/daemon.json", 1),
    ]


def test_arguments_of_debians_own_file_count_where_its_unit_reads_it(machine: Machine) -> None:
    machine.file(UNIT, f"[Service]\n{FD} $DOCKER_OPTS\n").file(
        flags.DEFAULTS, 'DOCKER_OPTS="--dns 8.8.8.8 -s overlay2"\n'
    )
    machine.file("/etc/docker/daemon.json", '{"storage-driver": "overlay2"}')

    (found,) = machine.findings(flags.nothing_is_set_twice)

    assert found.evidence[0].source == flags.DEFAULTS


@pytest.mark.parametrize("said", [{"log-driver": "json-file"}, {"data-root": "/data", "exec-opts": ["x=y"]}, {}])
def test_what_only_one_of_them_sets_is_well(machine: Machine, said: dict[str, object]) -> None:
    machine.file(UNIT, f"[Service]\n{FD}\n").file("/etc/docker/daemon.json", json.dumps(said))

    assert machine.findings(flags.nothing_is_set_twice) == []


def test_a_drop_in_that_starts_it_without_the_argument_is_well(machine: Machine) -> None:
    machine.file(UNIT, f"[Service]\n{FD}\n").file("/etc/docker/daemon.json", '{"hosts": ["fd://"]}')
    machine.file(
        "/etc/systemd/system/docker.service.d/hosts.conf", "[Service]\nExecStart=\nExecStart=/usr/bin/dockerd\n"
    )

    assert machine.findings(flags.nothing_is_set_twice) == []


@pytest.mark.parametrize(
    "config",
    [
        "cgroupDriver: systemd\n",
        "cgroupDriver: cgroupfs\ncontainerRuntimeEndpoint: unix:///run/containerd/containerd.sock\n",
        "clusterDomain: cluster.local\n",
    ],
)
def test_a_kubelet_that_has_the_same_driver_or_another_runtime_is_well(machine: Machine, config: str) -> None:
    machine.file("/usr/bin/kubelet", mode=0o755).file(CONFIG, config)

    assert machine.findings(cgroups.cgroup_drivers_agree) == []


def test_a_machine_without_kubelet_is_well(machine: Machine) -> None:
    assert machine.findings(cgroups.cgroup_drivers_agree) == []
