"""Through the front door: tasks a second, submit to first instruction, and what an idle server costs.

    python benches/front_door.py [--count 1000] [--latency-count 100] [--idle-s 20]

All through REST with the store on. The targets, on two cores: 500 tasks/s, p50 of 30 ms, idle under 1 % of a CPU and
150 MB of resident memory.
"""

from __future__ import annotations

import argparse
import time

import psutil

from _server import BenchServer, bench_server
from hrm.model.resources import Resources
from hrm.sdk.measure import SMALL, measure_latency, measure_throughput

CASES = {
    "20 at once per CPU pair (0.1 CPU each)": SMALL,
    "one on each CPU (1 CPU each)": Resources(memory_mib=64, vcores_milli=1000),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency-count", type=int, default=100)
    parser.add_argument("--idle-s", type=float, default=20.0)
    options = parser.parse_args()
    with bench_server() as server:
        for name, resources in CASES.items():
            measured = [
                measure_throughput(server.client, count=options.count, resources=resources).tasks_per_s
                for _ in range(options.rounds)
            ]
            print(f"{options.count} x true, {name}: {', '.join(f'{one:.0f}' for one in measured)} tasks/s")
        latency = measure_latency(server.client, count=options.latency_count)
        print(
            f"submit to first instruction: p50 {latency.p50_ms:.1f} ms, p90 {latency.p90_ms:.1f} ms, "
            f"p99 {latency.p99_ms:.1f} ms ({latency.count} jobs)"
        )
        report_idle(server, options.idle_s)
        print(f"longest turn of the loop: {server.client.server().loop_lag_max_ms:.1f} ms")


def report_idle(server: BenchServer, idle_s: float) -> None:
    """CPU of server and shepherd over a while in which nothing happens, and the server's memory."""
    process = psutil.Process(server.pid)
    family = [one for one in psutil.process_iter() if str(server.home) in " ".join(_words(one))]
    time.sleep(2.0)
    before = {one.pid: sum(one.cpu_times()[:2]) for one in family if one.is_running()}
    time.sleep(idle_s)
    used = {one.pid: sum(one.cpu_times()[:2]) - before[one.pid] for one in family if one.pid in before}
    percent = 100 * sum(used.values()) / idle_s
    rss_mb = process.memory_info().rss / 1e6
    print(f"idle for {idle_s:.0f} s: {percent:.2f} % of a CPU, server RSS {rss_mb:.0f} MB ({len(used)} processes)")


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


if __name__ == "__main__":
    main()
