"""Adoption: how long after a ``kill -9`` a new server has taken over everything that runs.

    python benches/adoption.py [--count 200] [--rounds 3]

From the start of the new server's process to the moment at which it has reconciled its store with the node and says so
through REST. The target, on two cores: 2 s with 200 running.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from hrm.model.errors import HrmError
from hrm.model.jobs import JobSpec, TaskGroupSpec
from hrm.model.resources import Resources
from hrm.model.states import ContainerState
from hrm.testing.conditions import eventually
from hrm.testing.mortal import MortalServer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hrm-bench-") as directory:
        server = MortalServer(Path(directory) / "home", "node: {vcores: 64, memory: 64G}\nserver: {port: 0}\n")
        try:
            times_s = [measure(server, options.count) for _ in range(options.rounds)]
        finally:
            server.close()
    with tempfile.TemporaryDirectory(prefix="hrm-bench-") as directory:
        idle = MortalServer(Path(directory) / "home", "server: {port: 0}\n")
        began = time.perf_counter()
        try:
            idle.start()
            start_s = time.perf_counter() - began
        finally:
            idle.close()
    print(f"{options.count} running, adopted after {', '.join(f'{one:.2f}' for one in times_s)} s")
    print(f"a server with nothing to adopt is ready after {start_s:.2f} s")


def measure(server: MortalServer, count: int) -> float:
    """Seconds from the start of the process; all that ran before must run after."""
    if not server.alive:
        server.start()
        group = TaskGroupSpec(command=("sleep", "1000000"), tasks=count, resources=Resources(16, 100))
        server.submit(JobSpec(groups=(group,)), "bench")
    before = eventually(lambda: running(server, count), 60)
    server.kill()
    began = time.perf_counter()
    server.start()
    after = eventually(lambda: running(server, count), 60)
    took_s = time.perf_counter() - began
    assert before == after, "not what had run before"
    return took_s


def running(server: MortalServer, count: int) -> dict[str, int | None]:
    """Pid by id of the containers that run, once there are ``count`` and the node has spoken; {} until then."""
    try:
        with server.client() as client:
            reports = client.containers() if client.nodes() else []
    except HrmError:
        return {}
    pids = {one.container_id: one.pid for one in reports if one.state == ContainerState.RUNNING}
    return pids if len(pids) == count else {}


if __name__ == "__main__":
    main()
