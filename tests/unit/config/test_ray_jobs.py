"""Jobs of kind ray: what is submitted for them, and what each container tells Ray of its share."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hrm.config.jobs import load_job
from hrm.config.ray_jobs import PROGRAM, TOKEN, ray_job
from hrm.config.ray_program import MIB, Member, Trouble, private_folder
from hrm.model.errors import InvalidInput
from hrm.model.jobs import GangSpec, JobSpec, MasterSpec, TaskGroupSpec
from hrm.model.resources import Resources

SCRIPT = TaskGroupSpec(command=("script.py", "--epochs", "3"), tasks=4, env={"A": "1"}, resources=Resources(4096, 2000))
CONTAINER = {
    "HRM_NODE_RANK": "0",
    "HRM_GANG_SIZE": "3",
    "HRM_HOSTS": "10.0.0.1,10.0.0.1,10.0.0.2",
    "MASTER_ADDR": "10.0.0.1",
    "MASTER_PORT": "16000",
    "HRM_CPUS_PER_TASK": "2.5",
    "HRM_MEMORY_MIB": "4096",
    "CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b",
    TOKEN: "secret",
}


def options(command: list[str]) -> dict[str, str]:
    return dict(word.partition("=")[::2] for word in command if word.startswith("--"))


def test_it_is_a_gang_whose_tasks_run_the_script_by_a_program_that_goes_along() -> None:
    job = ray_job(JobSpec(groups=(SCRIPT,)))

    [group] = job.groups
    assert job.gang == GangSpec()
    assert group.command[:2] == ("python3", "-c") and group.command[3:] == SCRIPT.command
    assert group.env["A"] == "1" and "def main(" in group.env[PROGRAM]
    assert (group.tasks, group.resources) == (SCRIPT.tasks, SCRIPT.resources)


def test_the_limits_of_its_gang_stay_and_each_job_has_a_token_of_its_own() -> None:
    job = JobSpec(groups=(SCRIPT,), gang=GangSpec(tasks_per_node=1))

    one, other = ray_job(job), ray_job(job)

    assert one.gang == job.gang
    assert one.groups[0].env[TOKEN] != other.groups[0].env[TOKEN]


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (JobSpec(groups=(SCRIPT, TaskGroupSpec(name="other", command=("true",)))), "has one group"),
        (JobSpec(groups=(TaskGroupSpec(command=("m",)),), master=MasterSpec()), "no master of its own"),
        (JobSpec(groups=(TaskGroupSpec(command=("s.py",), resources=Resources(512, 1000)),)), "needs 768 MiB"),
    ],
)
def test_what_cannot_be_one_is_refused(job: JobSpec, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        ray_job(job)


def test_a_job_file_can_say_so(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("{kind: ray, command: [script.py], tasks: 2, memory: 2G}\n")
    (tmp_path / "small.yaml").write_text("{kind: ray, command: [script.py], tasks: 2, memory: 100M}\n")

    assert load_job(tmp_path / "job.yaml").job.gang == GangSpec()
    with pytest.raises(InvalidInput, match="needs 768 MiB"):
        load_job(tmp_path / "small.yaml")


def test_rank_0_is_the_head_where_all_meet_with_the_share_of_its_container() -> None:
    said = options(Member(CONTAINER).command("/tmp/f", (1001, 1002), "/dev/shm"))

    assert "--head" in said and "--address" not in said
    assert (said["--port"], said["--node-ip-address"]) == ("16000", "10.0.0.1")
    assert (said["--num-cpus"], said["--num-gpus"]) == ("2", "2")
    store, work = int(said["--object-store-memory"]), int(said["--memory"])
    assert store == 1228 * MIB
    assert store + work + 600 * MIB == 4096 * MIB, "what Ray gives out and what its processes need is the container's"
    assert (said["--temp-dir"], said["--plasma-directory"]) == ("/tmp/f", "/dev/shm")


def test_the_others_join_it_from_where_they_are() -> None:
    said = options(Member({**CONTAINER, "HRM_NODE_RANK": "2", "CUDA_VISIBLE_DEVICES": ""}).command("/f", (1, 2), "/s"))

    assert "--head" not in said
    assert (said["--address"], said["--node-ip-address"]) == ("10.0.0.1:16000", "10.0.0.2")
    assert said["--num-gpus"] == "0"


def test_a_part_of_a_cpu_counts_as_one_and_too_little_memory_is_said() -> None:
    assert Member({**CONTAINER, "HRM_CPUS_PER_TASK": "0.5"}).cpus == 1
    with pytest.raises(Trouble, match="needs 768 MiB for each task, this one has 500") as raised:
        Member({**CONTAINER, "HRM_MEMORY_MIB": "500"})
    assert raised.value.code == 2


def test_its_processes_hear_nothing_of_another_cluster_and_the_token_only_by_a_file() -> None:
    environ = {**CONTAINER, "RAY_ADDRESS": "elsewhere:1", "RAY_AUTH_TOKEN": "another", PROGRAM: "text", "PATH": "/bin"}

    env = Member(environ).environment(environ, "/f")

    assert (env["RAY_ADDRESS"], env["RAY_AUTH_TOKEN_PATH"], env["PATH"]) == ("10.0.0.1:16000", "/f/token", "/bin")
    assert not {"RAY_AUTH_TOKEN", PROGRAM, TOKEN} & env.keys()


def test_its_directory_goes_with_it_and_with_it_those_of_jobs_that_were_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    killed, in_use = (tmp_path / f"hrm-ray-{os.getuid()}-{name}" for name in ("killed", "used"))
    for folder in (killed, in_use):
        folder.mkdir()
        (folder / "lock").touch()
    with (in_use / "lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with private_folder() as folder:
            assert Path(folder).stat().st_mode & 0o777 == 0o700
            assert sorted(path.name for path in tmp_path.iterdir()) == sorted([in_use.name, Path(folder).name])

    assert [path.name for path in tmp_path.iterdir()] == [in_use.name]


def test_a_directory_that_another_job_took_for_a_left_one_before_it_was_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    taken: list[Path] = []

    def lock(descriptor: int, operation: int) -> None:
        if not taken:
            taken.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).parent)
            shutil.rmtree(taken[0])

    monkeypatch.setattr("fcntl.flock", lock)

    with private_folder() as folder:
        assert Path(folder).is_dir()
        assert Path(folder) != taken[0]


def test_where_ray_is_not_installed_that_is_said_with_what_to_do(tmp_path: Path) -> None:
    [group] = ray_job(JobSpec(groups=(SCRIPT,))).groups
    (tmp_path / "ray.py").write_text("raise ModuleNotFoundError(\"No module named 'ray'\")\n")
    env = {**os.environ, **CONTAINER, **group.env, "HRM_HOSTS": "127.0.0.1", "HRM_GANG_SIZE": "1"}

    done = subprocess.run(
        [sys.executable, *group.command[1:]],
        env={**env, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 2
    assert "Ray is not installed for" in done.stderr and "next: pip install ray" in done.stderr
