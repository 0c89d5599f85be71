"""Spark's executors on several machines: masters start them at each machine's own address."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hrm.testing import eventually
from hrm.testing.hadoop import DEADLINE_S, Hadoop
from hrm.testing.pyspark import VERSIONS
from hrm.testing.ray_server import RayServer, ray_server
from tests.acceptance.spark_programs import (
    DYNAMIC,
    GOES_ON,
    GROWS_AND_SHRINKS,
    SAYS_ITS_GPUS,
    SPARK,
    a_gpu_each,
    program,
    yarn_ports,
)

pytestmark = [pytest.mark.ray, pytest.mark.real, pytest.mark.yarn]
NODES = ("one", "two", "three")
#: Each task waits until tasks run on three nodes.
SAYS_WHERE = f"""{SPARK}
def work(_, folder=Path(sys.argv[1])):
    (folder / os.environ["HRM_NODE_ID"]).touch()
    while len(list(folder.iterdir())) < 3:
        time.sleep(0.1)
    return os.environ["HRM_NODE_ID"]

print("nodes", *sorted(set(sc.parallelize(range(3), 3).map(work).collect())))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[RayServer]:
    with ray_server() as server:
        if not server.machines.in_namespaces:
            pytest.skip("needs network namespaces, and so root")
        ports = json.dumps(yarn_ports())[1:-1]
        server.up(
            engine={"head_runs_containers": "false"},
            more="scheduler: {placement_strategy: spread, master_timeout: 10m}\n"
            f"yarn: {{enabled: true, host: {server.machines.head.address}, {ports}, users: [root], "
            f"hosts: [{server.machines.head.address}]}}\n",
        )
        for name in NODES:
            server.machines.add(name, "--cpus=3", "--memory-mib=3072", "--virtual-gpus=1")
        server.all_up(NODES)
        server.hrm("yarn", "env")
        yield server


@pytest.fixture(params=VERSIONS)
def hadoop(server: RayServer, request: pytest.FixtureRequest) -> Hadoop:
    # A driver in client mode is on the head, at the address that machines know.
    env = {**os.environ, "SPARK_LOCAL_IP": str(server.machines.head.address)}
    return Hadoop(server.home / "hadoop-conf", env=env, version=request.param)


def applications(server: RayServer) -> set[str]:
    return {app["application_id"] for app in server.json("ps", "--all")}


def new_since(server: RayServer, before: set[str]) -> str:
    """The application that is there now and was not before."""
    (app,) = eventually(lambda: applications(server) - before, DEADLINE_S)
    return app


def containers(server: RayServer, app: str) -> list[dict[str, Any]]:
    """All that ran for it, its master too."""
    return list(server.json("history", app))


def running(server: RayServer, app: str) -> dict[str, str]:
    """Nodes of its executors by container."""
    return {
        row["container_id"]: row["node_id"]
        for row in containers(server, app)
        if row["state"] == "RUNNING" and row["task_index"] > 0
    }


def test_a_job_has_executors_on_all_machines_that_do_its_work(
    server: RayServer, hadoop: Hadoop, tmp_path: Path
) -> None:
    folder = tmp_path / "nodes"
    folder.mkdir()
    before = applications(server)
    conf = {"spark.executor.instances": 3}
    ended = hadoop.spark_submit(program(tmp_path, SAYS_WHERE), folder, mode="cluster", conf=conf)
    assert ended.code == 0, ended.text
    assert "nodes one three two" in server.hrm("logs", new_since(server, before))


def test_a_driver_on_the_head_has_executors_with_a_gpu_on_each_machine(
    server: RayServer, hadoop: Hadoop, tmp_path: Path
) -> None:
    conf = a_gpu_each(tmp_path, executors=3)
    ended = hadoop.spark_submit(program(tmp_path, SAYS_ITS_GPUS), mode="client", conf=conf)
    assert ended.code == 0, ended.text
    (said,) = [line for line in ended.text.splitlines() if line.startswith("gpus")]
    _, *workers = json.loads(said.removeprefix("gpus"))
    assert sorted(workers) == [[name, f"VGPU-{name}-0:1", "0"] for name in sorted(NODES)]


def test_executors_become_more_and_fewer_on_several_machines(server: RayServer, hadoop: Hadoop, tmp_path: Path) -> None:
    before = applications(server)
    grows = program(tmp_path, GROWS_AND_SHRINKS)
    ended = hadoop.spark_submit(grows, tmp_path / "mark", mode="client", conf=DYNAMIC)
    for said in ("up to 3", "the sum is 28", "down to 0", "again [(0, 2), (1, 4)]"):
        assert said in ended.text, ended.text
    nodes = {row["node_id"] for row in containers(server, new_since(server, before)) if row["task_index"] > 0}
    assert len(nodes) > 1


def test_all_containers_on_all_machines_end_with_an_application_that_is_killed(
    server: RayServer, hadoop: Hadoop, tmp_path: Path
) -> None:
    before = applications(server)
    conf = {"spark.executor.instances": 3}
    with hadoop.started(program(tmp_path, GOES_ON), tmp_path / "mark", mode="cluster", conf=conf) as spark:
        app = new_since(server, before)
        eventually(lambda: set(running(server, app).values()) == set(NODES), DEADLINE_S)
        hadoop.cli("ApplicationCLI", "application", "-kill", app)
        ended = spark.ended()
    assert "final status: KILLED" in ended.text, ended.text
    eventually(lambda: not [row for row in containers(server, app) if row["state"] == "RUNNING"], DEADLINE_S)


def test_an_executor_is_replaced_when_its_machine_is_cut_off_and_the_job_ends_well(
    server: RayServer, hadoop: Hadoop, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    before = applications(server)
    conf = {"spark.executor.instances": 2, "spark.network.timeout": "60s", "spark.executor.heartbeatInterval": "5s"}
    with hadoop.started(program(tmp_path, GOES_ON), mark, mode="client", conf=conf) as spark:
        app = new_since(server, before)
        first = eventually(lambda: len(found := running(server, app)) == 2 and found, DEADLINE_S)
        (master,) = [row["node_id"] for row in containers(server, app) if row["task_index"] == 0]
        lost = next(node for node in first.values() if node != master)
        machine = server.machines.workers[lost]
        machine.cut_off()
        try:
            eventually(lambda: set(running(server, app).values()) == set(NODES) - {lost}, DEADLINE_S)
            mark.touch()
            ended = spark.ended()
        finally:
            machine.reconnect()
    assert "the sum is 15" in ended.text, ended.text
    server.all_up(NODES)
