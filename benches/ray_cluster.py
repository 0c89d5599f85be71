"""Three machines in network namespaces: how fast they join, run and are missed.

    python benches/ray_cluster.py [--count 1000] [--latency-count 100]

Needs root. The targets, on two cores: join to first container within 10 s; submit to first instruction p50 of 100 ms;
1,000 × true over three nodes at 150/s; a node seen as dead within 5 s of the KILL of its raylet and all its children,
and within 10 s of its link's end.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from hrm.sdk.measure import measure_latency, measure_throughput
from hrm.testing.conditions import eventually
from hrm.testing.ray_machines import RayMachine
from hrm.testing.ray_server import RayServer, ray_server

NODES = ("one", "two", "three")
MACHINE = ("--cpus=4", "--memory-mib=4096", "--virtual-gpus=2")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--latency-count", type=int, default=100)
    options = parser.parse_args()
    with ray_server() as server:
        if not server.machines.in_namespaces:
            print("needs network namespaces, and so root: nothing was measured")
            return
        began = time.monotonic()
        server.up()
        print(f"head and server: {time.monotonic() - began:.1f} s")
        for name in NODES:
            began = time.monotonic()
            server.machines.add(name, *MACHINE)
            joined_s = time.monotonic() - began
            if name == NODES[0]:
                server.hrm("run", "--", "true")
                what = "first container"
            else:
                server.all_up(NODES[: NODES.index(name) + 1])
                what = "node"
            print(
                f"join of {name}: in the cluster after {joined_s:.1f} s, {what} after {time.monotonic() - began:.1f} s"
            )
        with server.client() as client:
            latency = measure_latency(client, count=options.latency_count)
            print(
                f"submit to first instruction: p50 {latency.p50_ms:.1f} ms, p90 {latency.p90_ms:.1f} ms "
                f"({latency.count} jobs)"
            )
            measured = [measure_throughput(client, count=options.count).tasks_per_s for _ in range(3)]
            print(
                f"{options.count} x true over {len(NODES)} nodes: {', '.join(f'{one:.0f}' for one in measured)} tasks/s"
            )
            print(f"longest turn of the loop: {client.server().loop_lag_max_ms:.1f} ms")
        machine = server.machines.workers["one"]
        print(f"raylet and all its children killed: lost after {lost_after_s(server, machine, machine.kill):.1f} s")
        machine = server.machines.workers["two"]
        print(f"link down: lost after {lost_after_s(server, machine, machine.cut_off):.1f} s")
        began = time.monotonic()
        machine.reconnect()
        eventually(lambda: server.nodes()["two"] == "RUNNING", 60)
        print(f"link up: back after {time.monotonic() - began:.1f} s")


def lost_after_s(server: RayServer, machine: RayMachine, harm: Callable[[], None]) -> float:
    """From the beginning of the harm until the server says so."""
    with server.client() as client:
        began = time.monotonic()
        harm()

        def is_lost() -> bool:
            return any(node.node_id == machine.name and node.state == "LOST" for node in client.nodes())

        eventually(is_lost, 60, describe=f"{machine.name} is lost")
    return time.monotonic() - began


if __name__ == "__main__":
    main()
