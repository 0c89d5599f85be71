"""Gangs over several machines of a Ray cluster."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hrm.testing import eventually
from hrm.testing.ray_server import RayServer, ray_server

pytestmark = [pytest.mark.ray, pytest.mark.real]
NODES = ("one", "two", "three")
EXAMPLE = Path(__file__).parents[2] / "examples" / "all_reduce.py"
SMALL = ("--memory", "128M", "--cpus", "0.5")
DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def server() -> Iterator[RayServer]:
    with ray_server() as server:
        if not server.machines.in_namespaces:
            pytest.skip("needs network namespaces, and so root")
        server.up(engine={"node_timeout": "6s"})
        for name in NODES:
            server.machines.add(name, "--cpus=2", "--memory-mib=1024")
        server.all_up(NODES)
        yield server


def test_the_processes_of_the_example_add_up_together_over_three_machines(server: RayServer) -> None:
    gang = ("--gang", "--tasks", 3, "--tasks-per-node", 1)
    application_id = server.hrm("submit", *gang, *SMALL, "--", sys.executable, EXAMPLE).split()[-1]
    server.hrm("wait", application_id)

    history = server.json("history", application_id)
    assert sorted(one["node_id"] for one in history) == sorted(NODES)
    said = sorted(server.hrm("logs", application_id, "--task", task) for task in range(3))
    assert said == [f"rank {rank} of 3: 5 sums of 100000 numbers agree\n" for rank in range(3)]


def test_hosts_are_the_addresses_of_the_machines_in_the_order_of_ranks(server: RayServer) -> None:
    gang = ("--gang", "--tasks", 3, "--tasks-per-node", 1)
    program = "echo $HRM_NODE_ID $HRM_HOSTS $MASTER_ADDR"
    application_id = server.hrm("submit", *gang, *SMALL, "--", "sh", "-c", program).split()[-1]
    server.hrm("wait", application_id)

    for rank in range(3):
        node_id, hosts, master = server.hrm("logs", application_id, "--task", rank).split()
        assert hosts.split(",")[rank] == server.machines.workers[node_id].address
        assert master == hosts.split(",")[0]


def test_a_machine_that_is_lost_takes_its_gang_along_which_begins_again_on_the_others(
    server: RayServer, tmp_path: Path
) -> None:
    gang = ("--gang", "--tasks", 2, "--tasks-per-node", 1)
    program = f"touch {tmp_path}/$HRM_TASK_ATTEMPT.$HRM_NODE_RANK; [ $HRM_RESTART_COUNT -gt 0 ] || sleep 1000"
    application_id = server.hrm("submit", *gang, *SMALL, "--", "sh", "-c", program).split()[-1]
    eventually(lambda: len(list(tmp_path.glob("1.*"))) == 2, DEADLINE_S, describe="both run")
    lost = server.json("history", application_id)[0]["node_id"]

    server.machines.workers[lost].kill()
    server.hrm("wait", application_id)

    history = server.json("history", application_id)
    first = {one["node_id"]: one["state"] for one in history if one["attempt"] == 1}
    again = {one["node_id"]: one["state"] for one in history if one["attempt"] == 2}
    assert sorted(first.values()) == ["KILLED", "LOST"]
    assert first[lost] == "LOST"
    assert [*again.values()] == ["SUCCEEDED"] * 2
    assert lost not in again
