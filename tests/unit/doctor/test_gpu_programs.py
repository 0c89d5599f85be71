"""Programs on GPUs: jobs, others' containers, and strays."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.doctor.gpu import programs
from hrm.model.findings import Severity
from hrm.testing.machines import Machine

UUIDS = ("GPU-20fbec52-8c31-118f-52a7-8678af956128", "GPU-014deb77-a5fa-7ea2-eda6-a170cec4f64f")

ON_GPU = ("/dev/nvidiactl", "/dev/nvidia0")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    for minor, (bus, uuid) in enumerate(zip(("3d", "41"), UUIDS, strict=True)):
        about = f"Model: \t\t GeForce RTX 2080 Ti\nGPU UUID: \t {uuid}\nDevice Minor: \t {minor}\n"
        machine.file(f"/proc/driver/nvidia/gpus/0000:{bus}:00.0/information", about)
    machine.process(100, "python3 train.py", holds=ON_GPU).file(
        "/proc/100/environ", "PATH=/bin\0HRM_CONTAINER_ID=container_1\0"
    )
    machine.process(200, "python3 notebook.py", holds=ON_GPU).file("/proc/200/environ", "PATH=/bin\0")
    return machine


def on_gpus(machine: Machine, *apps: tuple[int, int]) -> Machine:
    """``apps``: number of a GPU, and a pid."""
    return machine.command(*programs.APPS, stdout="".join(f"{UUIDS[gpu]}, {pid}, 3023 MiB\n" for gpu, pid in apps))


def test_a_stray_beside_a_job_is_a_warning(machine: Machine) -> None:
    (found,) = on_gpus(machine, (0, 100), (0, 200)).findings(programs.strays)

    assert (found.code, found.severity, found.gpu) == ("HRM-GPU-120", Severity.WARNING, UUIDS[0])
    assert found.title.en == "Process 200 is on GPU 0 (0000:3d:00.0) beside a job that the GPU is lent to"
    assert [step.command for step in found.cure] == ["kill 200"]


def test_a_stray_on_a_gpu_without_a_job_is_worth_knowing(machine: Machine) -> None:
    (found,) = on_gpus(machine, (0, 100), (1, 200)).findings(programs.strays)

    assert (found.code, found.severity, found.gpu) == ("HRM-GPU-121", Severity.INFO, UUIDS[1])


def test_jobs_alone_are_well(machine: Machine) -> None:
    assert on_gpus(machine, (0, 100), (1, 100)).findings(programs.strays) == []


@pytest.mark.parametrize(
    "cgroup",
    [
        "12:devices:/docker/534917b1443a\n",
        "0::/system.slice/docker-534917b1443a.scope\n",
        "0::/kubepods.slice/kubepods-burstable.slice/cri-containerd-1.scope\n",
        "4:devices:/mesos/6c1e\n",
        "4:devices:/slurm/uid_1000/job_7\n",
    ],
)
def test_what_another_master_of_containers_runs_is_not_ours_to_judge(machine: Machine, cgroup: str) -> None:
    machine.file("/proc/200/cgroup", cgroup)

    assert on_gpus(machine, (0, 200)).findings(programs.strays) == []


def test_servers_and_processes_that_have_ended_are_passed_over(machine: Machine) -> None:
    machine.process(300, "nvidia-cuda-mps-server").process(301, "/usr/lib/xorg/Xorg -core :0")

    assert on_gpus(machine, (0, 300), (0, 301), (1, 999)).findings(programs.strays) == []


def test_a_pid_of_another_namespace_is_not_taken_for_a_process_here(machine: Machine) -> None:
    machine.process(400, "/usr/sbin/sshd -D", holds=("/dev/null",)).file("/proc/400/environ", "")

    assert on_gpus(machine, (0, 400)).findings(programs.strays) == []


def test_processes_of_others_are_unseen_without_root(machine: Machine) -> None:
    machine.denied("/proc/200/environ").seen_by(1000)

    (run,) = on_gpus(machine, (0, 200)).report([programs.strays]).checks_run

    assert run.unseen == ("whose 1 processes on GPUs are (needs root)",)


def test_nothing_is_asked_where_there_are_no_gpus(tmp_path: Path) -> None:
    assert Machine(tmp_path).command(*programs.APPS, hangs=True).findings(programs.strays) == []
