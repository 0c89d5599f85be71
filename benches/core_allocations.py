"""How many containers a second the scheduler alone grants, through its public `handle`.

Each case makes a cluster, queues in two levels and applications (not timed), then visits the nodes in turn until every
container is granted (timed), checks the books, and at last visits the full cluster once more (timed apart).

    python benches/core_allocations.py [--case NAME] [--profile]
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import random
import time
from dataclasses import dataclass

from hrm.core.events import AppAdded, AttemptAdded, NodeAdded, NodeUpdate, RequestsUpdated, UpdateShares
from hrm.core.invariants import check_invariants
from hrm.core.scheduler import Scheduler
from hrm.model.ids import ApplicationId, AttemptId
from hrm.model.nodes import DeviceSpec, NodeSpec
from hrm.model.queues import Policy, QueueSpec
from hrm.model.requests import ResourceRequest
from hrm.model.resources import ZERO, Resources

NODE = Resources(256 * 1024, 64_000, 8_000)
SHAPES = (
    Resources(4096, 1000, 0),
    Resources(8192, 2000, 0),
    Resources(16384, 4000, 500),
    Resources(16384, 4000, 1000),
    Resources(32768, 8000, 2000),
)
SEED = 1


@dataclass(frozen=True)
class Case:
    name: str
    nodes: int
    queues: int
    apps: int
    containers: int
    policy: Policy = Policy.DRF
    #: Leaves have minimum and maximum shares, parents maximum ones, and nodes a resource of their own.
    limits: bool = False


CASES = (
    Case("small", nodes=100, queues=10, apps=100, containers=1_000),
    Case("thousand nodes", nodes=1_000, queues=100, apps=1_000, containers=10_000),
    Case("full size", nodes=10_000, queues=100, apps=1_000, containers=100_000),
    Case("many applications", nodes=10_000, queues=100, apps=10_000, containers=100_000),
    Case("few applications", nodes=10_000, queues=100, apps=100, containers=100_000),
    Case("memory only", nodes=10_000, queues=100, apps=1_000, containers=100_000, policy=Policy.FAIR),
    Case("with limits", nodes=10_000, queues=100, apps=1_000, containers=100_000, limits=True),
)


def build(case: Case) -> Scheduler:
    rng = random.Random(SEED)
    parents = max(case.queues // 10, 1)
    node_size = NODE + Resources.of({"licences": 64}) if case.limits else NODE
    # Each leaf is promised one node; nobody reaches the maximum, but every allocation checks it.
    min_share = NODE if case.limits else ZERO
    max_share = node_size * case.nodes if case.limits else None
    root = QueueSpec(
        name="root",
        policy=case.policy,
        children=tuple(
            QueueSpec(
                name=f"p{p}",
                policy=case.policy,
                weight=rng.choice((1.0, 2.0, 3.0)),
                max_share=max_share,
                children=tuple(
                    QueueSpec(
                        name=f"q{q}",
                        policy=case.policy,
                        weight=rng.choice((1.0, 2.0, 3.0)),
                        min_share=min_share,
                        max_share=max_share,
                    )
                    for q in range(case.queues // parents)
                ),
            )
            for p in range(parents)
        ),
    )
    scheduler = Scheduler(root, epoch=1)
    for n in range(case.nodes):
        devices = tuple(DeviceSpec(device_id=f"GPU-{n}-{i}", index=i, model="A100") for i in range(8))
        scheduler.handle(NodeAdded(NodeSpec(node_id=f"node{n}", total=node_size, devices=devices)), 0.0)
    leaves = [path for path, spec in root.walk() if not spec.children]
    for a in range(case.apps):
        application_id = ApplicationId(1, a + 1)
        attempt_id = AttemptId(application_id, 1)
        scheduler.handle(AppAdded(application_id, leaves[a % len(leaves)], "user", float(a)), 0.0)
        scheduler.handle(AttemptAdded(attempt_id), 0.0)
        count = case.containers // case.apps
        request = ResourceRequest(resources=rng.choice(SHAPES), count=count)
        scheduler.handle(RequestsUpdated(attempt_id, (request,)), 0.0)
    scheduler.handle(UpdateShares(), 0.0)
    return scheduler


def run(case: Case) -> None:
    scheduler = build(case)
    gc.collect()
    gc.freeze()
    granted = visits = 0
    started = time.perf_counter()
    while scheduler.has_demand():
        before = granted
        for n in range(case.nodes):
            granted += len(scheduler.handle(NodeUpdate(f"node{n}"), 1.0))
            visits += 1
        if granted == before:
            break
    took_s = time.perf_counter() - started
    assert granted == case.containers // case.apps * case.apps or not any(scheduler.nodes_with_room()), granted
    check_invariants(scheduler)
    rounds = max(100_000 // case.nodes, 1)
    started = time.perf_counter()
    for _ in range(rounds):
        for n in range(case.nodes):
            scheduler.handle(NodeUpdate(f"node{n}"), 2.0)
    idle_us = (time.perf_counter() - started) / (rounds * case.nodes) * 1e6
    print(
        f"{case.name:18} {granted:7} granted in {took_s:6.2f} s and {visits:6} visits:"
        f" {granted / took_s:9,.0f} allocations/s; a visit with nothing to place {idle_us:.2f} µs"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=[case.name for case in CASES])
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    for case in CASES:
        if options.case in (None, case.name):
            if options.profile:
                profile = cProfile.Profile()
                profile.runcall(run, case)
                pstats.Stats(profile).sort_stats("tottime").print_stats(18)
            else:
                run(case)


if __name__ == "__main__":
    main()
