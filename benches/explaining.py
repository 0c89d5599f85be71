"""How long one explanation takes, and the reason that a list shows, on a full cluster.

Nodes with four GPUs of two models each take what is asked of them until they are full; then an application asks in
vain in several ways, and 10,000 more wait behind it.

    python benches/explaining.py [--nodes N]
"""

from __future__ import annotations

import argparse
import time

from hrm.core.events import AppAdded, AttemptAdded, NodeAdded, NodeUpdate, RequestsUpdated, UpdateShares
from hrm.core.explain.finding import ExpectedEnd
from hrm.core.scheduler import Scheduler
from hrm.model.explanations import EndBasis
from hrm.model.ids import ApplicationId, AttemptId, ContainerId
from hrm.model.nodes import DeviceSpec, NodeSpec
from hrm.model.queues import Policy, QueueSpec
from hrm.model.requests import ResourceRequest
from hrm.model.resources import Resources

NODE = Resources(16 * 1024, 8_000, 4_000)
LEAVES = tuple(QueueSpec(name=name, policy=Policy.DRF) for name in ("a", "b"))
WAITING = 10_000


def ask(scheduler: Scheduler, seq: int, queue: str, request: ResourceRequest) -> ApplicationId:
    application_id = ApplicationId(1, seq)
    attempt = AttemptId(application_id, 1)
    scheduler.handle(AppAdded(application_id, queue, "ada", float(seq)), 0.0)
    scheduler.handle(AttemptAdded(attempt), 0.0)
    scheduler.handle(RequestsUpdated(attempt, (request,)), 0.0)
    return application_id


def full_cluster(nodes: int) -> Scheduler:
    scheduler = Scheduler(QueueSpec(name="root", policy=Policy.DRF, children=LEAVES), epoch=1)
    for n in range(nodes):
        model = ("RTX 2080 Ti", "V100")[n % 2]
        devices = tuple(DeviceSpec(device_id=f"n{n}/{i}", index=i, model=model, virtual=True) for i in range(4))
        scheduler.handle(NodeAdded(NodeSpec(node_id=f"n{n}", total=NODE, devices=devices)), 0.0)
    for seq in range(1, 101):
        part = Resources(1024, 1000, 700 if seq % 2 else 1000)
        ask(scheduler, seq, "a", ResourceRequest(resources=part, count=nodes * 4 // 100))
    scheduler.handle(UpdateShares(), 0.0)
    for n in range(nodes):
        scheduler.handle(NodeUpdate(f"n{n}"), 0.0)
    return scheduler


def expected_end(container_id: ContainerId) -> ExpectedEnd:
    return ExpectedEnd(100.0 + container_id.seq % 7, EndBasis.PROGRESS)


def timed(scheduler: Scheduler, application_id: ApplicationId) -> float:
    """The best of five, in milliseconds."""
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        scheduler.explain(application_id, now=50.0, expected_end=expected_end)
        best = min(best, time.perf_counter() - began)
    return best * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=10_000)
    nodes = parser.parse_args().nodes
    scheduler = full_cluster(nodes)
    cases = {
        "two GPUs": ResourceRequest(resources=Resources(1024, 1000, 2000), count=3),
        "two of a model": ResourceRequest(resources=Resources(1024, 1000, 2000), count=3, gpu_model="V100"),
        "part of a GPU": ResourceRequest(resources=Resources(1024, 1000, 900), count=3),
        "memory": ResourceRequest(resources=Resources(15 * 1024, 1000), count=3),
    }
    for seq, (name, request) in enumerate(cases.items(), 1001):
        waiting = ask(scheduler, seq, "b", request)
        print(f"{name:<16} {timed(scheduler, waiting):7.1f} ms on {nodes} nodes")
    last = waiting
    for seq in range(2001, 2001 + WAITING):
        last = ask(scheduler, seq, "a", ResourceRequest(resources=Resources(1024, 1000, 2000), count=4))
    print(f"{'behind 10,000':<16} {timed(scheduler, last):7.1f} ms on {nodes} nodes")
    began = time.perf_counter()
    for seq in range(2001, 2001 + WAITING):
        scheduler.application_view(ApplicationId(1, seq))
    print(f"{'in a list':<16} {(time.perf_counter() - began) / WAITING * 1e6:7.1f} µs each")


if __name__ == "__main__":
    main()
