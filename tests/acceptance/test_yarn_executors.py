"""Spark's executors in HRM's containers: lost and replaced, with a GPU, more and fewer, warned, and over a restart."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hrm.testing import eventually
from hrm.testing.hadoop import Hadoop
from hrm.testing.pyspark import VERSIONS
from tests.acceptance.conftest import Hrm, hrm_home

pytestmark = [pytest.mark.real, pytest.mark.yarn]

SPARK = """\
import json, os, sys, time
from pathlib import Path
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
sc = spark.sparkContext
"""
#: The first task ends the JVM that it runs in.
LOSES_ONE = f"""{SPARK}
def work(number, mark=sys.argv[1]):
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return number
    parent = int(Path(f"/proc/{{os.getppid()}}/stat").read_text().rsplit(")", 1)[1].split()[1])
    os.kill(parent, 9)
    time.sleep(60)

print("the sum is", sc.parallelize(range(10), 10).map(work).sum())
"""
SAYS_ITS_GPUS = f"""{SPARK}
def work(_):
    return [[os.environ["HRM_GPUS"], os.environ["CUDA_VISIBLE_DEVICES"]]]

# Both tasks run at once, and so on both executors.
print("gpus", json.dumps([*work(0), *sc.parallelize([0, 1], 2).barrier().mapPartitions(work).collect()]))
"""
GROWS_AND_SHRINKS = f"""{SPARK}
import threading

def executors():
    return sc._jsc.sc().getExecutorMemoryStatus().size() - 1

def work(number, mark=sys.argv[1]):
    while not os.path.exists(mark):
        time.sleep(0.1)
    return number

def wait_for(count):
    for _ in range(1800):
        if executors() == count:
            return count
        time.sleep(0.1)

# A job that goes on in the background keeps tasks waiting until there are as many as may be.
job = threading.Thread(target=lambda: print("the sum is", sc.parallelize(range(8), 8).map(work).sum(), flush=True))
job.start()
print("up to", wait_for(3), flush=True)
Path(sys.argv[1]).touch()
job.join()
print("down to", wait_for(0), flush=True)
print("again", sc.parallelize(range(4), 4).map(work).sum(), flush=True)
"""
#: It goes on until somebody makes the file.
GOES_ON = f"""{SPARK}
def work(number, mark=sys.argv[1]):
    while not os.path.exists(mark):
        time.sleep(0.2)
    return number

print("the sum is", sc.parallelize(range(6), 6).map(work).sum())
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def hrm() -> Iterator[Hrm]:
    """A server whose ports stay the same when it is started again: masters know it by them."""
    ports = ", ".join(f"{name}_port: {free_port()}" for name in ("client", "master", "web", "node"))
    with hrm_home() as hrm:
        hrm.configure(
            "node: {vcores: 6, memory: 8G, virtual_gpus: 2}\n"
            "queues: {research: {weight: 1, fair_share_preemption_timeout: 2s}, batch: {weight: 1}}\n"
            "scheduler: {default_queue: batch, wait_before_kill: 3s, master_timeout: 10m}\n"
            "server: {port: 0}\n"
            f"yarn: {{enabled: true, {ports}}}\n"
        )
        assert hrm("up", "--detach").code == 0
        yield hrm


@pytest.fixture(params=VERSIONS)
def hadoop(hrm: Hrm, request: pytest.FixtureRequest) -> Hadoop:
    result = hrm("yarn", "env")
    assert result.code == 0, result.err
    return Hadoop(hrm.home / "hadoop-conf", env=hrm.env, version=request.param)


def program(folder: Path, text: str) -> Path:
    path = folder / "program.py"
    path.write_text(text)
    return path


def executors(hrm: Hrm) -> list[dict[str, object]]:
    """What Spark's masters launched, as history tells it."""
    return [row for row in json.loads(hrm("history", "-o", "json").out) if row["task_index"] > 0]


def test_an_executor_that_is_lost_is_replaced_and_the_job_ends_well(hrm: Hrm, hadoop: Hadoop, tmp_path: Path) -> None:
    ended = hadoop.spark_submit(program(tmp_path, LOSES_ONE), tmp_path / "mark", mode="client")
    assert "the sum is 45" in ended.text, ended.text
    assert "Exit status: 137" in ended.text
    assert 137 in {row["exit_code"] for row in executors(hrm)}


def test_executors_with_a_gpu_each_see_that_one_and_their_master_none(hrm: Hrm, hadoop: Hadoop, tmp_path: Path) -> None:
    find = tmp_path / "find-gpus"
    find.write_text('#!/bin/sh\necho "{\\"name\\": \\"gpu\\", \\"addresses\\": [\\"${HRM_GPUS%%:*}\\"]}"\n')
    find.chmod(0o755)
    gpu = {
        "spark.executor.instances": 2,
        "spark.executor.resource.gpu.amount": 1,
        "spark.executor.resource.gpu.discoveryScript": find,
        "spark.task.resource.gpu.amount": 1,
    }
    ended = hadoop.spark_submit(program(tmp_path, SAYS_ITS_GPUS), mode="cluster", conf=gpu)
    assert ended.code == 0, ended.text
    (app,) = {row["application_id"] for row in executors(hrm)}
    (said,) = [line for line in hrm("logs", app).out.splitlines() if line.startswith("gpus")]
    master, *workers = json.loads(said.removeprefix("gpus"))
    assert master == ["", ""]
    # One whole device each, and not the same.
    assert sorted(visible for _, visible in workers) == ["0", "1"]
    assert len({granted for granted, _ in workers}) == 2
    assert all(re.fullmatch(r"[^,]+:1", granted) for granted, _ in workers), workers


def test_executors_become_more_and_fewer_with_what_there_is_to_do(hadoop: Hadoop, tmp_path: Path) -> None:
    dynamic = {
        "spark.dynamicAllocation.enabled": "true",
        "spark.dynamicAllocation.shuffleTracking.enabled": "true",
        "spark.dynamicAllocation.minExecutors": 0,
        "spark.dynamicAllocation.initialExecutors": 0,
        "spark.dynamicAllocation.maxExecutors": 3,
        "spark.dynamicAllocation.executorIdleTimeout": "2s",
        "spark.executor.instances": 0,
    }
    ended = hadoop.spark_submit(program(tmp_path, GROWS_AND_SHRINKS), tmp_path / "mark", mode="client", conf=dynamic)
    for said in ("up to 3", "the sum is 28", "down to 0", "again 6"):
        assert said in ended.text, ended.text


def test_executors_end_for_another_queue_and_the_job_ends_all_the_same(
    hrm: Hrm, hadoop: Hadoop, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    with hadoop.started(program(tmp_path, GOES_ON), mark, mode="client", conf={"spark.executor.instances": 5}) as spark:
        eventually(lambda: len([row for row in executors(hrm) if row["state"] == "RUNNING"]) == 5, 120)
        job = hrm("submit", "--queue", "research", "--tasks", 2, "--", "true").out.split()[-1]
        assert hrm("wait", job).code == 0
        eventually(lambda: [row for row in executors(hrm) if row["state"] == "PREEMPTED"], 60)
        mark.touch()
        ended = spark.ended()
    assert "the sum is 15" in ended.text, ended.text
    assert "was preempted" in ended.text


def test_a_job_goes_on_while_the_server_is_killed_and_comes_back(hrm: Hrm, hadoop: Hadoop, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with hadoop.started(program(tmp_path, GOES_ON), mark, mode="cluster") as spark:
        eventually(lambda: [row for row in executors(hrm) if row["state"] == "RUNNING"], 120)
        os.kill(json.loads((hrm.home / "server.json").read_text())["pid"], signal.SIGKILL)
        eventually(lambda: hrm("status").code != 0, 60)
        assert hrm("up", "--detach").code == 0
        mark.touch()
        ended = spark.ended()
    assert "final status: SUCCEEDED" in ended.text, ended.text
    assert {row["exit_code"] for row in executors(hrm)} <= {0, 143}
