"""Jobs of kind ray on this machine, with Ray's real processes."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from hrm.testing import eventually
from tests.acceptance.conftest import Hrm, hrm_home

pytestmark = [pytest.mark.real, pytest.mark.ray]
DEADLINE_S = 180.0
EXAMPLE = Path(__file__).parents[2] / "examples" / "ray_job.py"
FAILS = """
import sys, ray
ray.init(log_to_driver=False)
print(len(ray.nodes()), ray.cluster_resources()["CPU"], sys.argv[1:], flush=True)
sys.exit(7)
"""
WAITS = """
import time, ray
ray.init(log_to_driver=False)
@ray.remote
def wait():
    print("never shown")
    time.sleep(1000)
waiting = [wait.remote() for _ in range(2)]
print("waits", flush=True)
ray.get(waiting)
"""


@pytest.fixture(scope="module")
def hrm() -> Iterator[Hrm]:
    """A server, and a PATH that leads to a Python with Ray."""
    with hrm_home() as hrm:
        hrm.configure("node: {vcores: 8, memory: 6G}\nserver: {port: 0}\n")
        hrm.env["PATH"] = f"{Path(sys.executable).parent}:{hrm.env['PATH']}"
        hrm.env["TMPDIR"] = tempfile.mkdtemp(prefix="hrm-rj-", dir="/tmp")
        assert hrm("up", "--detach").code == 0
        yield hrm
        os.rmdir(hrm.env["TMPDIR"])


def submitted(hrm: Hrm, *arguments: object) -> str:
    result = hrm("submit", "--kind", "ray", "--tasks", "2", "--memory", "1500M", *arguments)
    assert result.code == 0, result.err
    return result.out.split()[0]


def ended(hrm: Hrm, app: str) -> str:
    states = ("FINISHED", "FAILED", "KILLED")
    return eventually(lambda: (state := hrm.state(app)) in states and state, timeout_s=DEADLINE_S)


def processes_of(hrm: Hrm) -> list[str]:
    """Those whose command names the folder of the jobs' clusters."""
    commands = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    return [" ".join(command)[:200] for command in commands if any(hrm.env["TMPDIR"] in word for word in command)]


def assert_all_is_gone(hrm: Hrm) -> None:
    eventually(lambda: not processes_of(hrm), timeout_s=DEADLINE_S, describe="its processes end")
    assert os.listdir(hrm.env["TMPDIR"]) == []


def test_a_script_runs_on_the_containers_of_its_job_and_its_output_is_the_jobs(hrm: Hrm) -> None:
    app = submitted(hrm, "--", EXAMPLE, "200000")

    assert ended(hrm, app) == "FINISHED", hrm("logs", "--stderr", app).out
    assert hrm("logs", app).out.startswith("2 containers, 2 CPUs: pi is about 3.1")
    assert_all_is_gone(hrm)


def test_the_exit_code_of_the_script_is_the_jobs_and_cpus_are_those_that_were_granted(hrm: Hrm, tmp_path: Path) -> None:
    (tmp_path / "fails.py").write_text(FAILS)
    app = submitted(hrm, "--cpus", "2", "--", tmp_path / "fails.py", "--one", "2")

    assert ended(hrm, app) == "FAILED"
    assert hrm.apps(app)[0]["exit_code"] == 7
    assert hrm("logs", app).out == "2 4.0 ['--one', '2']\n"
    assert_all_is_gone(hrm)


def test_one_that_is_killed_leaves_nothing(hrm: Hrm, tmp_path: Path) -> None:
    (tmp_path / "waits.py").write_text(WAITS)
    app = submitted(hrm, "--", tmp_path / "waits.py")
    eventually(lambda: "waits" in hrm("logs", app).out, timeout_s=DEADLINE_S)
    hrm("kill", app)

    assert ended(hrm, app) == "KILLED"
    assert_all_is_gone(hrm)
