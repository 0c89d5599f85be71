"""Spark's executors in HRM's containers: lost and replaced, with a GPU, more and fewer, warned, and over a restart."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from hrm.testing import eventually
from hrm.testing.hadoop import DEADLINE_S, Hadoop
from hrm.testing.pyspark import VERSIONS
from tests.acceptance.conftest import Hrm, hrm_home
from tests.acceptance.spark_programs import (
    DYNAMIC,
    GOES_ON,
    GROWS_AND_SHRINKS,
    LOSES_ONE,
    SAYS_ITS_GPUS,
    a_gpu_each,
    program,
    yarn_ports,
)

pytestmark = [pytest.mark.real, pytest.mark.yarn]


@pytest.fixture
def hrm() -> Iterator[Hrm]:
    """A server whose ports stay the same when it is started again: masters know it by them."""
    ports = json.dumps(yarn_ports())[1:-1]
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


def executors(hrm: Hrm) -> list[dict[str, object]]:
    """What Spark's masters launched, as history tells it."""
    return [row for row in json.loads(hrm("history", "-o", "json").out) if row["task_index"] > 0]


def test_an_executor_that_is_lost_is_replaced_and_the_job_ends_well(hrm: Hrm, hadoop: Hadoop, tmp_path: Path) -> None:
    ended = hadoop.spark_submit(program(tmp_path, LOSES_ONE), tmp_path / "mark", mode="client")
    assert "the sum is 45" in ended.text, ended.text
    assert "Exit status: 137" in ended.text
    assert 137 in {row["exit_code"] for row in executors(hrm)}


def test_executors_with_a_gpu_each_see_that_one_and_their_master_none(hrm: Hrm, hadoop: Hadoop, tmp_path: Path) -> None:
    gpu = a_gpu_each(tmp_path, executors=2)
    ended = hadoop.spark_submit(program(tmp_path, SAYS_ITS_GPUS), mode="cluster", conf=gpu)
    assert ended.code == 0, ended.text
    (app,) = {row["application_id"] for row in executors(hrm)}
    (said,) = [line for line in hrm("logs", app).out.splitlines() if line.startswith("gpus")]
    master, *workers = json.loads(said.removeprefix("gpus"))
    assert master[1:] == ["", ""]
    # One whole device each, and not the same.
    assert sorted(visible for _, _, visible in workers) == ["0", "1"]
    assert len({granted for _, granted, _ in workers}) == 2
    assert all(re.fullmatch(r"[^,]+:1", granted) for _, granted, _ in workers), workers


def test_executors_become_more_and_fewer_with_what_there_is_to_do(hadoop: Hadoop, tmp_path: Path) -> None:
    grows = program(tmp_path, GROWS_AND_SHRINKS)
    ended = hadoop.spark_submit(grows, tmp_path / "mark", mode="client", conf=DYNAMIC)
    for said in ("up to 3", "the sum is 28", "down to 0", "again [(0, 2), (1, 4)]"):
        assert said in ended.text, ended.text


def test_executors_end_for_another_queue_and_the_job_ends_all_the_same(
    hrm: Hrm, hadoop: Hadoop, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    with hadoop.started(program(tmp_path, GOES_ON), mark, mode="client", conf={"spark.executor.instances": 5}) as spark:
        eventually(lambda: len([row for row in executors(hrm) if row["state"] == "RUNNING"]) == 5, DEADLINE_S)
        job = hrm("submit", "--queue", "research", "--tasks", 2, "--", "true").out.split()[-1]
        assert hrm("wait", job).code == 0
        eventually(lambda: [row for row in executors(hrm) if row["state"] == "PREEMPTED"], DEADLINE_S)
        mark.touch()
        ended = spark.ended()
    assert "the sum is 15" in ended.text, ended.text
    assert "was preempted" in ended.text


def test_a_job_goes_on_while_the_server_is_killed_and_comes_back(hrm: Hrm, hadoop: Hadoop, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with hadoop.started(program(tmp_path, GOES_ON), mark, mode="cluster") as spark:
        eventually(lambda: [row for row in executors(hrm) if row["state"] == "RUNNING"], DEADLINE_S)
        os.kill(json.loads((hrm.home / "server.json").read_text())["pid"], signal.SIGKILL)
        eventually(lambda: hrm("status").code != 0, DEADLINE_S)
        assert hrm("up", "--detach").code == 0
        mark.touch()
        ended = spark.ended()
    assert "final status: SUCCEEDED" in ended.text, ended.text
    assert {row["exit_code"] for row in executors(hrm)} <= {0, 143}
