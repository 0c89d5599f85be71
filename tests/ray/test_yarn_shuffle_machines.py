"""Spark's shuffle service on several machines: each node runs its own, and hands out what executors left there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hrm.testing import eventually
from hrm.testing.hadoop import DEADLINE_S, Hadoop
from hrm.testing.pyspark import INSTALLED
from hrm.testing.ray_server import RayServer, ray_server
from tests.acceptance.spark_programs import (
    BY_SERVICE,
    DYNAMIC,
    READS_AGAIN,
    program,
    shuffle_service,
    tasks_by_stage,
    yarn_ports,
)

pytestmark = [pytest.mark.ray, pytest.mark.real, pytest.mark.yarn]
NODES = ("one", "two")


@pytest.fixture
def server() -> Iterator[RayServer]:
    with ray_server() as server:
        if not server.machines.in_namespaces:
            pytest.skip("needs network namespaces, and so root")
        head = server.machines.head.address
        yarn = {
            "enabled": True,
            "host": head,
            **yarn_ports(),
            "users": ["root"],
            "hosts": [head],
            "auxiliary_services": {"spark_shuffle": shuffle_service(INSTALLED)},
        }
        server.up(
            engine={"head_runs_containers": "false"},
            more=f"scheduler: {{placement_strategy: spread, master_timeout: 10m}}\nyarn: {json.dumps(yarn)}\n",
        )
        for name in NODES:
            server.machines.add(name, "--cpus=3", "--memory-mib=3072")
        server.all_up(NODES)
        server.hrm("yarn", "env")
        yield server


def test_each_machine_hands_out_what_executors_left_there_until_the_application_is_over(
    server: RayServer, tmp_path: Path
) -> None:
    service = "auxiliary service spark_shuffle"
    eventually(lambda: [one["offers"] for one in server.json("nodes")] == [[service]] * len(NODES), DEADLINE_S)
    env = {**os.environ, "SPARK_LOCAL_IP": str(server.machines.head.address)}
    hadoop = Hadoop(server.home / "hadoop-conf", env=env, version=INSTALLED)
    (tmp_path / "log").mkdir()
    (tmp_path / "mark").touch()
    conf = {**DYNAMIC, **BY_SERVICE, "spark.dynamicAllocation.maxExecutors": 4, "spark.eventLog.dir": tmp_path / "log"}
    ended = hadoop.spark_submit(program(tmp_path, READS_AGAIN), tmp_path / "mark", mode="client", conf=conf)
    assert "again 499507" in ended.text, ended.text
    assert tasks_by_stage(tmp_path / "log") == {0: 4, 1: 3, 3: 3}
    (app,) = [one["application_id"] for one in server.json("ps", "--all")]
    assert {row["node_id"] for row in server.json("history", app) if row["task_index"] > 0} == set(NODES)
    folders = [*server.home.parent.glob("*/node/applications")]
    assert len(folders) == len(NODES)
    eventually(lambda: [os.listdir(folder) for folder in folders] == [[]] * len(NODES), DEADLINE_S)
