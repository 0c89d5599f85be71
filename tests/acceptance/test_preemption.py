"""A starved queue gets its GPUs from one above its share; who ended goes on from its checkpoint; nothing ping-pongs."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hrm.rm.pacer import TICK_S
from hrm.testing import eventually
from tests.acceptance.conftest import Hrm

EXAMPLE = Path(__file__).parents[2] / "examples" / "checkpointed_task.py"
TIMEOUT_S = 2.0
WAIT_S = 20.0
ROUNDS = 20
#: With a shell of its own, so that it waits without a handler of TERM.
UNTIL_TOLD = 'while [ ! -e "$1" ]; do sleep 0.1; done'


@pytest.fixture
def shared(hrm: Hrm) -> Iterator[Hrm]:
    """A server with 4 virtual GPUs, which two queues share by half."""
    configure(hrm)
    assert hrm("up", "--detach", "--virtual-gpus", 4).code == 0
    yield hrm


def configure(hrm: Hrm, wait_s: float = WAIT_S) -> None:
    hrm.configure(f"""\
        node: {{vcores: 8, memory: 8G}}
        scheduler:
          policy: drf
          root:
            fair_share_preemption_timeout: {TIMEOUT_S}s
            fair_share_preemption_threshold: 1.0
          wait_before_kill: {wait_s}s
        queues:
          batch: {{policy: drf}}
          research: {{policy: drf}}
        server: {{port: 0}}
        """)


def submit(hrm: Hrm, queue: str, *command: object) -> str:
    small = ("--gpus", 1, "--cpus", 0.1, "--memory", "64M")
    result = hrm("submit", "--queue", queue, "--tasks", 4, *small, "-o", "json", "--", *command)
    assert result.code == 0, result.err
    return result.json["application_id"]


def running(hrm: Hrm, app: str) -> int:
    return hrm.apps(app)[0]["tasks_running"]


def history(hrm: Hrm, app: str, state: str) -> list[dict[str, Any]]:
    return [one for one in hrm("history", app, "-o", "json").json if one["state"] == state]


def test_a_starved_queue_gets_its_gpus_in_time_and_the_others_go_on_from_their_checkpoints(
    shared: Hrm, tmp_path: Path
) -> None:
    state, go = tmp_path / "state", tmp_path / "go"
    batch = submit(shared, "batch", sys.executable, EXAMPLE, "--state", state, "--steps", 300, "--step-s", 0.1)
    eventually(lambda: running(shared, batch) == 4)

    research = submit(shared, "research", "sh", "-c", UNTIL_TOLD, "sh", go)
    eventually(lambda: running(shared, research) >= 2)

    preempted = history(shared, batch, "PREEMPTED")
    assert len(preempted) == 2
    assert {one["exit_code"] for one in preempted} == {75}, "who saves its work is not killed when its time is over"
    assert {one["message"].rpartition(" for ")[0] for one in preempted} == {
        f"preempted for {research} of queue research, which had 0 of its fair share of 2 GPUs"
    }

    containers = {one["container_id"] for one in history(shared, research, "RUNNING")}
    end = time.monotonic() + ROUNDS * TICK_S
    while time.monotonic() < end:
        assert {one["container_id"] for one in history(shared, research, "RUNNING")} >= containers
        assert len(history(shared, batch, "PREEMPTED")) == 2

    go.touch()
    assert shared("wait", research).code == 0
    assert shared("wait", batch).code == 0
    report = shared.apps(batch)[0]
    assert (report["state"], report["tasks_succeeded"], report["tasks_failed"]) == ("FINISHED", 4, 0)
    for one in preempted:
        first = shared("logs", batch, "--task", one["task_index"], "--attempt", 1).out
        second = shared("logs", batch, "--task", one["task_index"], "--attempt", 2).out
        saved = int(first.partition("saved step ")[2].partition(":")[0])
        assert "which had 0 of its fair share of 2 GPUs" in first
        assert saved > 0
        assert second == f"goes on after step {saved}, restart 1\ndone after step 300\n"


def test_a_server_that_is_killed_between_warning_and_kill_starts_afresh_and_the_starved_get_theirs(
    hrm: Hrm, tmp_path: Path
) -> None:
    wait_s = 4.0
    configure(hrm, wait_s)
    assert hrm("up", "--detach", "--virtual-gpus", 4).code == 0
    go = tmp_path / "go"
    batch = submit(hrm, "batch", "sh", "-c", UNTIL_TOLD, "sh", go)
    eventually(lambda: running(hrm, batch) == 4)
    research = submit(hrm, "research", "sh", "-c", UNTIL_TOLD, "sh", go)
    folders = hrm.home / "node" / "containers"
    eventually(lambda: len(list(folders.glob("*/.hrm-preemption"))) == 2)

    assert hrm.pid is not None
    os.kill(hrm.pid, signal.SIGKILL)
    assert hrm("up", "--detach", "--virtual-gpus", 4).code == 0
    began_at = hrm("status", "-o", "json").json["started_at"]
    eventually(lambda: running(hrm, research) == 2)

    killed = history(hrm, batch, "PREEMPTED")
    assert all(one["ended_at"] > began_at + wait_s for one in killed), "nobody was killed by the restart"
    assert [one["exit_code"] for one in killed] == [137, 137]
    go.touch()
    assert hrm("wait", batch, research).code == 0
    assert hrm.apps(batch)[0]["tasks_failed"] == 0
