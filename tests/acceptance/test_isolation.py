"""What people see of isolation: on the command line, with this machine's own cgroups."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import pytest

from hrm.nm.cgroups import hierarchies, machine
from hrm.testing import eventually, shepherd_pid
from hrm.testing.shepherds import cgroups_of
from tests.acceptance.conftest import CONFIGURATION, Hrm, server_up

pytestmark = pytest.mark.root
GREEDY = (sys.executable, "-I", "-S", "-c", "x = bytearray(300 << 20)")


@pytest.fixture(scope="module")
def held() -> Iterator[Hrm]:
    """A server that enforces all that containers could take from each other."""
    found = machine.find(hierarchies.here(), f"probe-{os.getpid()}")
    if found.pool:
        found.pool.close()
    if missing := {"memory", "cpus", "processes", "devices"} - set(found.held):
        pytest.skip(f"this machine has no cgroups to hold {', '.join(sorted(missing))}")
    with server_up(CONFIGURATION, "--isolation", "full") as hrm:
        yield hrm


def test_out_of_memory_ends_a_run_with_137_and_says_the_limit(held: Hrm) -> None:
    result = held("run", "--memory", "64M", "--", *GREEDY)

    assert result.code == 137
    assert "hrm: out of memory: used 64 MiB of 64 MiB" in result.err.splitlines()


def test_an_array_says_it_too_and_the_other_tasks_live(held: Hrm) -> None:
    script = f"[ $HRM_TASK_INDEX != 1 ] || exec {GREEDY[0]} -I -S -c 'x = bytearray(300 << 20)'; sleep 0.3; echo well"
    result = held("run", "--memory", "64M", "--cpus", "0.1", "--tasks", "3", "--", "sh", "-c", script)

    assert result.code == 137
    assert "out of memory: used 64 MiB of 64 MiB" in result.err
    assert result.out == "well\nwell\n"


def test_nodes_show_what_is_enforced_in_a_line_and_by_resource(held: Hrm) -> None:
    # Not from the table: what the doctor finds on this machine would stand there instead.
    [node] = held("nodes", "-o", "json").json
    assert "enforced: memory, cpus, processes, gpus" in node["isolation"]
    guards = {guard["resource"]: guard["means"] for guard in node["guards"]}
    assert guards["memory"] == guards["users"] == "enforced"
    assert guards["disk"] == "advice"


def test_throughput_is_measured_with_everything_enforced(held: Hrm) -> None:
    result = held("bench", "tasks", "--count", "50", "--isolation", "full", "-o", "json").json

    assert (result["count"], result["failed"]) == (50, 0)
    refused = held("bench", "tasks", "--count", "50", "--isolation", "none")
    assert refused.code == 2
    assert "it has enforced: memory" in refused.err


def test_a_server_leaves_no_cgroup_behind(hrm: Hrm) -> None:
    hrm("run", "--", "true")
    bases = cgroups_of(hrm.home / "node")
    assert bases
    hrm("down", "--kill")
    pid = shepherd_pid(hrm.home / "node")
    assert pid is not None

    # It would leave by itself when nobody has needed it for a while.
    os.kill(pid, signal.SIGTERM)

    eventually(lambda: not any(base.exists() for base in bases))
