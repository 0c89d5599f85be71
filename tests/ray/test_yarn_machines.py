"""Spark's executors on several machines: masters start them at each machine's own address."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hrm.testing.hadoop import Hadoop
from hrm.testing.ray_server import RayServer, ray_server
from tests.acceptance.test_yarn_executors import free_port

pytestmark = [pytest.mark.ray, pytest.mark.real, pytest.mark.yarn]
NODES = ("one", "two", "three")
SAYS_WHERE = """\
import os, time
from pyspark.sql import SparkSession

def work(_):
    time.sleep(1)
    return os.environ["HRM_NODE_ID"]

spark = SparkSession.builder.getOrCreate()
print("nodes", *sorted(set(spark.sparkContext.parallelize(range(24), 24).map(work).collect())))
"""


@pytest.fixture
def server() -> Iterator[RayServer]:
    with ray_server() as server:
        if not server.machines.in_namespaces:
            pytest.skip("needs network namespaces, and so root")
        ports = ", ".join(f"{name}_port: {free_port()}" for name in ("client", "master", "web", "node"))
        server.up(
            engine={"head_runs_containers": "false"},
            more="scheduler: {placement_strategy: spread, master_timeout: 10m}\n"
            f"yarn: {{enabled: true, host: {server.machines.head.address}, {ports}, users: [root], "
            f"hosts: [{server.machines.head.address}]}}\n",
        )
        for name in NODES:
            server.machines.add(name, "--cpus=3", "--memory-mib=3072")
        server.all_up(NODES)
        yield server


def test_a_job_has_executors_on_all_machines_that_do_its_work(server: RayServer, tmp_path: Path) -> None:
    server.hrm("yarn", "env")
    program = tmp_path / "where.py"
    program.write_text(SAYS_WHERE)
    conf = {"spark.executor.instances": 3, "spark.executor.cores": 2}
    ended = Hadoop(server.home / "hadoop-conf").spark_submit(program, mode="cluster", conf=conf)
    assert ended.code == 0, ended.text
    (app,) = server.json("ps", "--all")
    assert "nodes one three two" in server.hrm("logs", app["application_id"])
