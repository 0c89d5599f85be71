"""Spark's external shuffle service beside HRM's containers: what executors wrote is read when they are gone."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hrm.testing import eventually
from hrm.testing.hadoop import DEADLINE_S, Hadoop
from hrm.testing.pyspark import VERSIONS
from tests.acceptance.conftest import Hrm, hrm_home
from tests.acceptance.spark_programs import (
    BY_SERVICE,
    DYNAMIC,
    GOES_ON,
    READS_AGAIN,
    program,
    shuffle_service,
    tasks_by_stage,
    yarn_ports,
)

pytestmark = [pytest.mark.real, pytest.mark.yarn]


@contextmanager
def served(**yarn: object) -> Iterator[Hrm]:
    """A server whose ports stay the same when it is started again; in front of it research gets nearly all."""
    with hrm_home() as hrm:
        hrm.configure(
            "node: {vcores: 6, memory: 8G}\n"
            "queues:\n"
            "  research: {weight: 20, fair_share_preemption_timeout: 2s, fair_share_preemption_threshold: 0.9}\n"
            "scheduler: {default_queue: default, wait_before_kill: 3s, master_timeout: 10m}\n"
            "server: {port: 0}\n"
            f"yarn: {json.dumps({'enabled': True, **yarn_ports(), **yarn})}\n"
        )
        assert hrm("up", "--detach").code == 0
        yield hrm
        assert hrm("down", "--kill").code == 0


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def hrm(version: str) -> Iterator[Hrm]:
    """One whose node runs the service that comes with Spark."""
    with served(auxiliary_services={"spark_shuffle": shuffle_service(version)}) as hrm:
        eventually(lambda: "auxiliary service spark_shuffle" in hrm("nodes", "-o", "json").out, DEADLINE_S)
        yield hrm


def hadoop_of(hrm: Hrm, version: str) -> Hadoop:
    result = hrm("yarn", "env")
    assert result.code == 0, result.err
    return Hadoop(hrm.home / "hadoop-conf", env=hrm.env, version=version)


def executors(hrm: Hrm, state: str) -> list[str]:
    rows = json.loads(hrm("history", "-o", "json").out)
    return [row["container_id"] for row in rows if row["task_index"] > 0 and row["state"] == state]


def test_what_executors_wrote_that_were_let_go_is_read_and_nothing_is_worked_out_again(
    hrm: Hrm, version: str, tmp_path: Path
) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "mark").touch()
    conf = {**DYNAMIC, **BY_SERVICE, "spark.eventLog.dir": tmp_path / "log"}
    ended = hadoop_of(hrm, version).spark_submit(
        program(tmp_path, READS_AGAIN), tmp_path / "mark", mode="client", conf=conf
    )
    assert "first 499500" in ended.text, ended.text
    assert "again 499507" in ended.text, ended.text
    # Two jobs of a stage that writes and one that reads: the writing one ran once, all four tasks of it.
    assert tasks_by_stage(tmp_path / "log") == {0: 4, 1: 3, 3: 3}
    # What it left went with the application.
    eventually(lambda: os.listdir(hrm.home / "node" / "applications") == [], DEADLINE_S)


def test_what_executors_wrote_that_ended_for_another_queue_is_read_also_after_a_crash_of_server_and_service(
    hrm: Hrm, version: str, tmp_path: Path
) -> None:
    (tmp_path / "log").mkdir()
    mark = tmp_path / "mark"
    conf = {**BY_SERVICE, "spark.executor.instances": 2, "spark.eventLog.dir": tmp_path / "log"}
    with hadoop_of(hrm, version).started(program(tmp_path, READS_AGAIN), mark, mode="client", conf=conf) as spark:
        eventually((tmp_path / "mark.first").exists, DEADLINE_S)
        waits = f"while ! test -e {mark}; do sleep 0.1; done"
        job = hrm("submit", "--queue", "research", "--tasks", 5, "--", "sh", "-c", waits).out.split()[-1]
        eventually(lambda: len(executors(hrm, "PREEMPTED")) >= 2, DEADLINE_S)
        os.kill(json.loads((hrm.home / "server.json").read_text())["pid"], signal.SIGKILL)
        os.kill(pid_of_service(hrm), signal.SIGKILL)
        eventually(lambda: hrm("status").code != 0, DEADLINE_S)
        assert hrm("up", "--detach").code == 0
        eventually(lambda: "auxiliary service spark_shuffle" in hrm("nodes", "-o", "json").out, DEADLINE_S)
        mark.touch()
        assert hrm("wait", job).code == 0
        ended = spark.ended()
    assert "again 499507" in ended.text, ended.text
    assert tasks_by_stage(tmp_path / "log") == {0: 4, 1: 3, 3: 3}


def pid_of_service(hrm: Hrm) -> int:
    (record,) = (hrm.home / "node" / "running").glob("service_spark_shuffle_*")
    return int(json.loads(record.read_text().splitlines()[0])["pid"])


def test_where_nodes_run_no_service_the_masters_log_says_so(version: str, tmp_path: Path) -> None:
    with served() as hrm:
        conf = {**BY_SERVICE, "spark.eventLog.enabled": "false"}
        with hadoop_of(hrm, version).started(program(tmp_path, GOES_ON), tmp_path / "mark", mode="client", conf=conf):
            said = "The auxService:spark_shuffle does not exist: yarn.auxiliary_services in hrm.yaml has none"
            eventually(lambda: said in hrm("logs", "--stderr", "last").out, DEADLINE_S)
