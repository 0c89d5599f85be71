"""The whole of it: a server, machines that are cut off, and a ledger of who ran when."""

from __future__ import annotations

import os
import shlex
import socket
import stat
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

import hrm.nm.shepherd
from hrm.cli.units import NODE, SHEPHERD, Installation
from hrm.config.home import Home
from hrm.testing import eventually
from hrm.testing.ray_server import RayServer, ray_server

pytestmark = [pytest.mark.ray, pytest.mark.real]
NODES = ("left", "right")
DEADLINE_S = 60.0
#: Each task writes its name, its container, its node and the time 20 times a second, until it has done so long enough.
TASK = """
n=0
while [ $n -lt {turns} ]; do
  echo $HRM_TASK_INDEX $HRM_CONTAINER_ID $HRM_NODE_ID $(date +%s.%N)
  n=$((n+1)); sleep 0.05
done >>{file}
"""


def start(server: RayServer, on_partition: str) -> None:
    server.up(
        engine={"on_partition": on_partition, "node_timeout": "6s"}, more="scheduler: {placement_strategy: spread}\n"
    )


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def submit(server: RayServer, file: Path, *, tasks: int, turns: int) -> str:
    command = TASK.format(turns=turns, file=file)
    return server.hrm("submit", "--tasks", tasks, "--memory", "64M", "--", "sh", "-c", command).split()[-1]


def state(server: RayServer, application_id: str) -> str:
    found: str = server.json("ps", application_id)[0]["state"]
    return found


@pytest.fixture(scope="module")
def server() -> Iterator[RayServer]:
    with ray_server() as server:
        if not server.machines.in_namespaces:
            pytest.skip("needs network namespaces, and so root")
        start(server, "keep")
        for name in NODES:
            server.machines.add(name, "--cpus=6", "--memory-mib=2048")
        server.all_up(NODES)
        yield server


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


def cut_off_and_wait_for_the_second_run(server: RayServer, file: Path, turns: int) -> str:
    """The left machine while it runs something; returns when all that ran there has begun anew on the right."""
    application_id = submit(server, file, tasks=6, turns=turns)
    eventually(lambda: file.exists() and len(read(file)) == 6, DEADLINE_S, describe="all run")
    hit = {index for index, runs in read(file).items() if runs[0][1] == "left"}
    assert hit, "nothing ran on the left"
    server.machines.workers["left"].cut_off()
    try:
        eventually(
            lambda: all(len(read(file)[index]) == 2 for index in hit),
            DEADLINE_S,
            describe="what ran there begins anew",
        )
    finally:
        server.machines.workers["left"].reconnect()
    return application_id


def test_a_server_that_was_killed_adopts_all_that_runs_on_its_machines(server: RayServer, tmp_path: Path) -> None:
    application_id = submit(server, tmp_path / "ledger", tasks=4, turns=200)
    eventually(lambda: (tmp_path / "ledger").exists() and len(read(tmp_path / "ledger")) == 4, DEADLINE_S)
    server.kill()
    start(server, "keep")
    server.hrm("wait", application_id)
    assert state(server, application_id) == "FINISHED"
    assert [len(runs) for runs in read(tmp_path / "ledger").values()] == [1] * 4, "none was run again"


def test_a_run_that_went_on_behind_a_dead_link_is_ended_when_it_is_back_and_does_not_count(
    server: RayServer, tmp_path: Path
) -> None:
    file = tmp_path / "ledger"
    application_id = cut_off_and_wait_for_the_second_run(server, file, turns=400)
    server.all_up(NODES)
    back_at = max(last for runs in read(file).values() for *_, last in runs)
    server.hrm("wait", application_id)
    assert state(server, application_id) == "FINISHED"
    for runs in read(file).values():
        if len(runs) == 2:
            stale, counted = runs
            assert stale[1:2] + counted[1:2] == ("left", "right")
            assert stale[3] > counted[2], "with `keep` the two runs overlap"
            assert stale[3] < back_at + 2.0, "and the stale one ends within a heartbeat or two of the return"
    attempts = server.json("history", application_id)
    succeeded = [attempt["task_index"] for attempt in attempts if attempt["state"] == "SUCCEEDED"]
    assert sorted(succeeded) == list(range(6)), "each task counts once"


def test_with_stop_no_two_runs_of_a_task_ever_overlap(server: RayServer, tmp_path: Path) -> None:
    server.hrm("down")
    start(server, "stop")
    server.all_up(NODES)
    file = tmp_path / "ledger"
    application_id = cut_off_and_wait_for_the_second_run(server, file, turns=150)
    server.hrm("wait", application_id)
    assert state(server, application_id) == "FINISHED"
    ledger = read(file)
    repeated = [runs for runs in ledger.values() if len(runs) > 1]
    assert repeated
    for runs in repeated:
        for (_, _, _, last), (_, _, first, _) in pairwise(runs):
            assert last < first, "the first run had ended before the second began"
    server.all_up(NODES)


def test_a_machine_joins_and_leaves_by_the_commands_that_people_type(server: RayServer, tmp_path: Path) -> None:
    machines = server.machines
    machine = machines.make("third")
    token_file = tmp_path / "token"
    token_file.write_text(machines.token + "\n")

    def on_it(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            machines.command(machine, str(Path(sys.executable).with_name("hrm")), *arguments),
            env={**os.environ, "HRM_HOME": str(machine.folder)},
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )

    join = ("join", machines.address, "--token-file", str(token_file), "--node-address", machine.address or "")
    joined = on_it(*join, "--node-id", "third", "--cpus", "20", "--memory", "1G")
    assert (joined.returncode, "`hrm leave` takes it out" in joined.stdout) == (0, True), joined.stderr
    assert stat.S_IMODE(machine.folder.stat().st_mode) == 0o711, "its containers run as their users"
    again = on_it(*join)
    assert (again.returncode, "in a cluster already" in again.stderr) == (2, True), again.stderr
    server.all_up((*NODES, "third"))
    # It is the only one that is large enough.
    application_id = server.hrm("submit", "--cpus", 15, "--", "sleep", "1000").split()[-1]
    eventually(lambda: any(row["containers"] for row in server.json("nodes")), DEADLINE_S)
    refused = on_it("leave")
    assert (refused.returncode, "1 containers run here" in refused.stderr) == (2, True), refused.stderr
    left = on_it("leave", "--kill")
    assert left.returncode == 0, left.stderr
    eventually(lambda: server.nodes()["third"] == "LOST", DEADLINE_S)
    # Lost, not failed: it waits for a machine of that size.
    assert server.json("ps", application_id)[0]["state"] in ("ACCEPTED", "RUNNING")
    server.hrm("kill", application_id)


def test_a_machine_that_systemd_has_joined_keeps_its_containers_while_its_unit_is_stopped(server: RayServer) -> None:
    """The units' own commands, in the order of systemd, and what it does at a stop (TERM to the main process)."""
    # With `stop` an outage would end them.
    server.hrm("down")
    start(server, "keep")
    machines = server.machines
    machine = machines.make("fourth")
    where = ("--node-address", machine.address or "", "--node-id", "fourth", "--cpus", "20", "--memory", "1G")
    machine.membership.write_token(machines.token)
    home = Home(machine.folder)
    home.admit_others()
    units = Installation(
        python=Path(sys.executable),
        shepherd=Path(hrm.nm.shepherd.__file__).parent,
        home=machine.folder,
        user=None,
        join=(machines.address, *where),
    ).units()
    shepherd, node = Unit(units[SHEPHERD], machines.command(machine)), Unit(units[NODE], machines.command(machine))
    home.node_dir.mkdir()
    shepherd.start()
    node.start()
    try:
        server.all_up((*NODES, "fourth"))
        # It is the only one that is large enough.
        application_id = server.hrm("submit", "--cpus", 15, "--", "sleep", "1000").split()[-1]
        eventually(lambda: server.json("ps", application_id)[0]["tasks_running"] == 1, DEADLINE_S)
        [container_id] = [one["container_id"] for one in server.json("history", application_id)]
        running = home.node_dir / "running" / container_id

        node.stop()
        eventually(lambda: server.nodes()["fourth"] == "LOST", DEADLINE_S)
        assert running.exists(), "it goes on"
        assert shepherd.is_up
        server.hrm("kill", application_id)

        node.start()
        eventually(lambda: server.nodes()["fourth"] == "RUNNING", DEADLINE_S)
        eventually(lambda: not running.exists(), DEADLINE_S, describe="what nobody wants any more is ended")
    finally:
        node.stop()
        shepherd.stop()
    eventually(lambda: server.nodes()["fourth"] == "LOST", DEADLINE_S)


class Unit:
    """Of Type=notify: up when its process says READY=1. ``where`` comes before its command."""

    def __init__(self, text: str, where: list[str]) -> None:
        command = next(line for line in text.splitlines() if line.startswith("ExecStart="))
        self._command = [*where, *shlex.split(command.removeprefix("ExecStart="))]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (
            tempfile.TemporaryDirectory(prefix="hrm-n-") as folder,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told,
        ):
            told.bind(f"{folder}/notify")
            told.settimeout(DEADLINE_S)
            env = {key: value for key, value in os.environ.items() if not key.startswith(("HRM_", "RAY_"))}
            self._process = subprocess.Popen(
                self._command, start_new_session=True, env={**env, "NOTIFY_SOCKET": f"{folder}/notify"}
            )
            assert told.recv(100) == b"READY=1"

    @property
    def is_up(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(DEADLINE_S)


def test_when_ray_s_head_dies_the_server_says_so_comes_back_by_itself_and_adopts_what_runs(server: RayServer) -> None:
    # Not as the server before it may have been: this outage is longer than a lease.
    server.hrm("down")
    start(server, "keep")
    eventually(lambda: [server.nodes().get(name) for name in NODES] == ["RUNNING"] * 2, DEADLINE_S)
    application_id = server.hrm("submit", "--tasks", 2, "--", "sleep", "60").split()[-1]
    eventually(lambda: server.json("ps", application_id)[0]["tasks_running"] == 2, DEADLINE_S)
    home = Home(server.home)
    pid, log = home.server_pid, (server.home / "server.log").read_text()
    head = server.machines.head
    head.stay_down()
    eventually(home.away, DEADLINE_S, describe="the server has ended, and somebody waits for Ray's head")
    status = server.tried("status")
    assert (status.returncode, "waits for its engine to be back" in status.stderr) == (3, True), status.stderr
    head.come_back()
    eventually(lambda: home.server_pid not in (None, pid), DEADLINE_S, describe="another server is up")
    eventually(lambda: home.away() is None, DEADLINE_S)
    eventually(lambda: [server.nodes().get(name) for name in NODES] == ["RUNNING"] * 2, DEADLINE_S)
    server.hrm("wait", application_id)
    attempts = server.json("history", application_id)
    assert [attempt["state"] for attempt in attempts] == ["SUCCEEDED"] * 2
    said = (server.home / "server.log").read_text().removeprefix(log)
    assert "the server ended with its engine: Ray's head at" in said


def test_who_waits_for_ray_s_head_can_be_told_to_stop(server: RayServer) -> None:
    home = Home(server.home)
    eventually(lambda: home.server_pid, DEADLINE_S, describe="a server is up")
    server.machines.head.stay_down()
    eventually(home.away, DEADLINE_S, describe="it has ended")
    assert "is not started again; containers go on" in server.hrm("down")
    assert home.away() is None
    assert "no server is up" in server.tried("status").stderr
    server.machines.head.come_back()
    eventually(lambda: "raylet" in {one.name() for one in server.machines.head.processes()}, DEADLINE_S)
