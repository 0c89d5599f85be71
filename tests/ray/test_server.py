"""The whole of it: a server, machines that are cut off, and a ledger of who ran when."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from hrm.testing import eventually
from hrm.testing.ray_machines import RayMachines, ray_machines

pytestmark = [pytest.mark.ray, pytest.mark.real]
HRM = str(Path(sys.executable).with_name("hrm"))
DEADLINE_S = 60.0
NODE_TIMEOUT_S = 6.0
#: Each task writes its name, its container, its node and the time 20 times a second, until it has done so long enough.
TASK = """
n=0
while [ $n -lt {turns} ]; do
  echo $HRM_TASK_INDEX $HRM_CONTAINER_ID $HRM_NODE_ID $(date +%s.%N)
  n=$((n+1)); sleep 0.05
done >>{file}
"""


class Cluster:
    """A server over two machines."""

    def __init__(self, machines: RayMachines) -> None:
        self.machines = machines
        self.home = machines.head.folder

    def hrm(self, *arguments: object) -> str:
        environ = {key: value for key, value in os.environ.items() if not key.startswith(("HRM_", "RAY_"))}
        done = subprocess.run(
            [HRM, *map(str, arguments)],
            env={**environ, "HRM_HOME": str(self.home)},
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def json(self, *arguments: object) -> Any:
        return json.loads(self.hrm(*arguments, "-o", "json"))

    def up(self, on_partition: str) -> None:
        (self.home / "hrm.yaml").write_text(
            f"engine: {{kind: ray, host: {self.machines.head.address}, port: {self.machines.port},"
            f" on_partition: {on_partition}, node_timeout: {NODE_TIMEOUT_S:g}s}}\n"
            "server: {port: 0}\nscheduler: {placement_strategy: spread}\n"
        )
        assert "hrm join" in self.hrm("up", "--detach")

    def submit(self, file: Path, *, tasks: int, turns: int) -> str:
        command = TASK.format(turns=turns, file=file)
        return self.hrm("submit", "--tasks", tasks, "--memory", "64M", "--", "sh", "-c", command).split()[-1]

    def nodes(self) -> dict[str, str]:
        return {node["node_id"]: node["state"] for node in self.json("nodes")}

    def both_are_up(self) -> None:
        eventually(
            lambda: self.nodes() == {"left": "RUNNING", "right": "RUNNING"}, DEADLINE_S, describe="two nodes are up"
        )

    def state(self, application_id: str) -> str:
        state: str = self.json("ps", application_id)[0]["state"]
        return state


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with ray_machines() as machines:
        if not machines.in_namespaces:
            pytest.skip("needs network namespaces, and so root")
        cluster = Cluster(machines)
        cluster.home.mkdir(mode=0o700)
        cluster.up("keep")
        machines.took_over_head()
        try:
            for name in ("left", "right"):
                machines.add(name, "--cpus=6", "--memory-mib=2048")
            cluster.both_are_up()
            yield cluster
        finally:
            cluster.hrm("down", "--kill")


Ledger = dict[int, list[tuple[str, str, float, float]]]


def read(file: Path) -> Ledger:
    """Of each task, its runs in order: container, node, first and last sign of life."""
    signs: dict[tuple[int, str, str], list[float]] = defaultdict(list)
    for line in file.read_text().splitlines():
        index, container_id, node_id, at = line.split()
        signs[int(index), container_id, node_id].append(float(at))
    ledger: Ledger = defaultdict(list)
    for (index, container_id, node_id), times in sorted(signs.items(), key=lambda item: min(item[1])):
        ledger[index].append((container_id, node_id, min(times), max(times)))
    return ledger


def cut_off_and_wait_for_the_second_run(cluster: Cluster, file: Path, turns: int) -> str:
    """The left machine while it runs something; returns when all that ran there has begun anew on the right."""
    application_id = cluster.submit(file, tasks=6, turns=turns)
    eventually(lambda: file.exists() and len(read(file)) == 6, DEADLINE_S, describe="all run")
    hit = {index for index, runs in read(file).items() if runs[0][1] == "left"}
    assert hit, "nothing ran on the left"
    cluster.machines.workers["left"].cut_off()
    try:
        eventually(
            lambda: all(len(read(file)[index]) == 2 for index in hit),
            DEADLINE_S,
            describe="what ran there begins anew",
        )
    finally:
        cluster.machines.workers["left"].reconnect()
    return application_id


def test_a_server_that_was_killed_adopts_all_that_runs_on_its_machines(cluster: Cluster, tmp_path: Path) -> None:
    application_id = cluster.submit(tmp_path / "ledger", tasks=4, turns=200)
    eventually(lambda: (tmp_path / "ledger").exists() and len(read(tmp_path / "ledger")) == 4, DEADLINE_S)
    os.kill(json.loads((cluster.home / "server.json").read_text())["pid"], signal.SIGKILL)
    cluster.up("keep")
    cluster.hrm("wait", application_id)
    assert cluster.state(application_id) == "FINISHED"
    assert [len(runs) for runs in read(tmp_path / "ledger").values()] == [1] * 4, "none was run again"


def test_a_run_that_went_on_behind_a_dead_link_is_ended_when_it_is_back_and_does_not_count(
    cluster: Cluster, tmp_path: Path
) -> None:
    file = tmp_path / "ledger"
    application_id = cut_off_and_wait_for_the_second_run(cluster, file, turns=400)
    cluster.both_are_up()
    back_at = max(last for runs in read(file).values() for *_, last in runs)
    cluster.hrm("wait", application_id)
    assert cluster.state(application_id) == "FINISHED"
    for runs in read(file).values():
        if len(runs) == 2:
            stale, counted = runs
            assert stale[1:2] + counted[1:2] == ("left", "right")
            assert stale[3] > counted[2], "with `keep` the two runs overlap"
            assert stale[3] < back_at + 2.0, "and the stale one ends within a heartbeat or two of the return"
    attempts = cluster.json("history", application_id)
    succeeded = [attempt["task_index"] for attempt in attempts if attempt["state"] == "SUCCEEDED"]
    assert sorted(succeeded) == list(range(6)), "each task counts once"


def test_with_stop_no_two_runs_of_a_task_ever_overlap(cluster: Cluster, tmp_path: Path) -> None:
    cluster.hrm("down")
    cluster.up("stop")
    cluster.both_are_up()
    file = tmp_path / "ledger"
    application_id = cut_off_and_wait_for_the_second_run(cluster, file, turns=150)
    cluster.hrm("wait", application_id)
    assert cluster.state(application_id) == "FINISHED"
    ledger = read(file)
    repeated = [runs for runs in ledger.values() if len(runs) > 1]
    assert repeated
    for runs in repeated:
        for (_, _, _, last), (_, _, first, _) in pairwise(runs):
            assert last < first, "the first run had ended before the second began"
    cluster.both_are_up()
