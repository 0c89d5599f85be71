"""Tasks a second: HRM and HyperQueue (`pip install hyperqueue`) in one run, in turn, on the same machine.

    python benches/against_hyperqueue.py [--count 1000] [--rounds 3]

Each runs ``count`` times `true`, submitted at once, one CPU each, as many at a time as the machine has CPUs. HRM goes
through REST with its store on disk (each decision is synced before it is acted on); HyperQueue's server and worker are
those that its Python package brings, with its journal off, which is its default. The ratio pairs rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import tempfile
import time

from hyperqueue import Job, LocalCluster
from hyperqueue.cluster import WorkerConfig

from _server import bench_server
from hrm.model.resources import Resources
from hrm.sdk.measure import measure_throughput

ONE_CPU = Resources(memory_mib=64, vcores_milli=1000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    cpus = len(os.sched_getaffinity(0))
    ratios = []
    with bench_server() as server, LocalCluster() as cluster:
        cluster.start_worker(WorkerConfig(cores=cpus))
        peer = cluster.client()
        print(f"{options.count} x true, 1 CPU each, {cpus} CPUs")
        for number in range(1, options.rounds + 1):
            ours = measure_throughput(server.client, count=options.count, resources=ONE_CPU).tasks_per_s
            theirs = hyperqueue_tasks_per_s(peer, options.count)
            ratios.append(ours / theirs)
            print(f"round {number}: HRM {ours:6.0f} tasks/s, HyperQueue {theirs:6.0f} tasks/s, ratio {ratios[-1]:.2f}")
    print(f"median ratio HRM / HyperQueue: {statistics.median(ratios):.2f}")


def hyperqueue_tasks_per_s(client: object, count: int) -> float:
    # Both write each task's output to files, HRM below its home, HyperQueue below this.
    with tempfile.TemporaryDirectory(prefix="hq-bench-") as directory:
        return _timed(client, count, directory)


def _timed(client: object, count: int, directory: str) -> float:
    job = Job(default_workdir=directory)
    for _ in range(count):
        job.program(["true"])
    begin = time.perf_counter()
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
        client.wait_for_jobs([client.submit(job)])  # type: ignore[attr-defined]
    return count / (time.perf_counter() - begin)


if __name__ == "__main__":
    main()
