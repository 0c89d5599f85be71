"""A ladder of sizes for the scheduler alone: how fast it decides, how that grows, and what each thing costs in memory.

Every rung is a simulation (`hrm.sim`): the production core through its public `handle`, with its events, container
objects and reasons, and the books checked afterwards. Seconds are those of one core (CPU time of this process), because
machines are shared; the best of five runs counts. `--write` keeps the results in ``benches/results``, with the machine
named.

    python benches/simulation_ladder.py [--rung NAME] [--write]
"""

from __future__ import annotations

import argparse
import datetime
import gc
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from core_allocations import Case, build
from hrm.core.events import AppAdded, AttemptAdded, NodeAdded, NodeUpdate, RequestsUpdated
from hrm.core.invariants import check_invariants
from hrm.core.scheduler import Scheduler
from hrm.model.ids import ApplicationId, AttemptId
from hrm.model.queues import QueueSpec
from hrm.model.requests import ResourceRequest
from hrm.model.resources import Resources
from hrm.sim.calibrate import bare_heap_rate
from hrm.sim.distributions import Distribution, Kind
from hrm.sim.generate import NODE, Plan, Shape, generate, make_node
from hrm.sim.simulation import Simulation
from hrm.sim.workload import in_order

RESULTS = Path(__file__).parent / "results" / "simulation_ladder.json"
RUNS = 5
FULL = Plan(nodes=10_000, queues=100, apps=1_000, containers=100_000)
#: A day of 250 nodes of 8 GPUs: 10,000 jobs in 20 queues of different weights, that ask for about what there is. Those
#: that want 40 GPUs at once take what is idle, and the small ones that come later are due some of it back.
MANY_SMALL = Plan(
    nodes=250,
    queues=20,
    apps=9_600,
    containers=19_200,
    arrivals=Distribution(Kind.EXPONENTIAL, 9.0),
    run_time=Distribution(Kind.LOGNORMAL, 3_000.0, 0.8),
    preempt_after_s=60.0,
)
FEW_WIDE = replace(
    MANY_SMALL,
    apps=400,
    containers=16_000,
    shapes=(Shape(Resources(16 * 1024, 4_000, 1_000)),),
    arrivals=Distribution(Kind.EXPONENTIAL, 216.0),
    run_time=Distribution(Kind.LOGNORMAL, 5_400.0, 0.8),
)


def once(plan: Plan) -> tuple[Simulation, float]:
    """One run, and its CPU seconds."""
    simulation = Simulation(generate(plan, 1))
    simulation.load()
    gc.collect()
    gc.freeze()
    gc.set_threshold(2_000, 10, 5_000)
    began = time.process_time()
    simulation.run()
    took_s = time.process_time() - began
    gc.unfreeze()
    check_invariants(simulation.scheduler)
    return simulation, took_s


def costs_us(*cases: Case) -> list[float]:
    """Of one allocation of each, submissions apart. In turns, so that what else the machine does meets all of them."""
    best = [float("inf")] * len(cases)
    for _ in range(RUNS):
        for number, case in enumerate(cases):
            scheduler = build(case)
            gc.collect()
            gc.freeze()
            gc.set_threshold(2_000, 10, 5_000)
            granted = 0
            began = time.process_time()
            for node in range(case.nodes):
                granted += len(scheduler.handle(NodeUpdate(f"node{node}"), 1.0))
            took_s = time.process_time() - began
            gc.unfreeze()
            best[number] = min(best[number], took_s / granted * 1e6)
    return best


def decision_rate() -> dict[str, float]:
    """10,000 nodes, 100 queues in two levels, 1,000 applications, 100,000 containers, DRF."""
    rate = bare = 0.0
    for _ in range(RUNS):
        simulation, took_s = once(FULL)
        rate = max(rate, len(simulation.recorder.grants) / took_s)
        bare = max(bare, bare_heap_rate(simulation.workload))
    return {"allocations_per_s": rate, "bare_heap_per_s": bare, "of_bare_heap": rate / bare}


def growth_with_nodes() -> dict[str, float]:
    """The cost of one of 10,000 containers on 1,000 and of 100,000 on 10,000 nodes."""
    small, large = costs_us(
        Case("", nodes=1_000, queues=100, apps=1_000, containers=10_000),
        Case("", nodes=10_000, queues=100, apps=1_000, containers=100_000),
    )
    return {"us_at_1000_nodes": small, "us_at_10000_nodes": large, "growth": large / small}


def growth_with_applications() -> dict[str, float]:
    """The cost of one of 100,000 containers, asked for by 100 and by 10,000 applications."""
    few, many = costs_us(
        Case("", nodes=10_000, queues=100, apps=100, containers=100_000),
        Case("", nodes=10_000, queues=100, apps=10_000, containers=100_000),
    )
    return {"us_at_100_applications": few, "us_at_10000_applications": many, "growth": many / few}


def idle_heartbeat() -> dict[str, float]:
    """A visit of a loaded cluster where nothing waits, and where what waits fits nowhere."""
    simulation, _ = once(FULL)
    scheduler, node_ids = simulation.scheduler, [node.node_id for node in simulation.workload.nodes]

    def visits() -> float:
        best = float("inf")
        for _ in range(RUNS):
            began = time.process_time()
            for node_id in node_ids:
                scheduler.handle(NodeUpdate(node_id), 1.0)
            best = min(best, (time.process_time() - began) / len(node_ids) * 1e6)
        return best

    quiet = visits()
    application_id = ApplicationId(2, 1)
    scheduler.handle(AppAdded(application_id, scheduler.leaf_paths()[0], "user", 1.0), 1.0)
    scheduler.handle(AttemptAdded(AttemptId(application_id, 1)), 1.0)
    whole = ResourceRequest(resources=NODE, count=10)
    scheduler.handle(RequestsUpdated(AttemptId(application_id, 1), (whole,)), 1.0)
    return {"us_nothing_waits": quiet, "us_nothing_fits": visits()}


def day_of_2000_gpus() -> dict[str, float]:
    """A day of `MANY_SMALL` and `FEW_WIDE` together, preemption looked at twice a second."""
    many = generate(MANY_SMALL, 1)
    root = replace(many.root, fair_share_preemption_threshold=0.9)
    few = generate(FEW_WIDE, 2, root=root)
    simulation = Simulation(replace(many, root=root, jobs=in_order([*many.jobs, *few.jobs])), until_s=86_400.0)
    simulation.load()
    began, began_cpu = time.perf_counter(), time.process_time()
    simulation.run()
    took_s, took_cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
    check_invariants(simulation.scheduler)
    recorder = simulation.recorder
    return {
        "cpu_s": took_cpu_s,
        "wall_s": took_s,
        "finished": simulation.over,
        "granted": len(recorder.grants),
        "warned": simulation.warned,
        "preempted": simulation.killed,
        "gpus_in_use": recorder.used[2] / recorder.there[2],
    }


def memory() -> dict[str, float]:
    """What one node of 8 GPUs, one waiting application and one running container add to the process."""
    leaf = QueueSpec(name="q")
    scheduler = Scheduler(QueueSpec(name="root", children=(leaf,)), epoch=1)
    attempts = [AttemptId(ApplicationId(1, number), 1) for number in range(1, 20_001)]

    def nodes() -> int:
        for number in range(10_000):
            scheduler.handle(NodeAdded(make_node(f"node{number}", NODE, "A100")), 0.0)
        return 10_000

    def applications() -> int:
        request = ResourceRequest(resources=Resources(1024, 500), count=10)
        for attempt in attempts:
            scheduler.handle(AppAdded(attempt.application, "q", "user", 0.0), 0.0)
            scheduler.handle(AttemptAdded(attempt), 0.0)
            scheduler.handle(RequestsUpdated(attempt, (request,)), 0.0)
        return len(attempts)

    def containers() -> int:
        return sum(len(scheduler.handle(NodeUpdate(f"node{number}"), 0.0)) for number in range(10_000))

    return {f"bytes_per_{step.__name__[:-1]}": _grown(step) for step in (nodes, applications, containers)}


def _grown(step: Callable[[], int]) -> float:
    gc.collect()
    before = _rss()
    count = step()
    gc.collect()
    return (_rss() - before) / count


def _rss() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


#: What was expected before the first run of each, and what it must reach.
RUNGS: dict[str, tuple[Callable[[], dict[str, float]], str, str]] = {
    # First, in a process that has freed nothing yet.
    "memory": (memory, "node 3,500, application 3,000, container 1,200 bytes", "stated"),
    "decision_rate": (decision_rate, "80,000/s, 0.24 of the bare loop", ">= 40,000/s, >= 0.2"),
    "growth_with_nodes": (growth_with_nodes, "1.1", "<= 1.5"),
    "growth_with_applications": (growth_with_applications, "1.4", "<= 2"),
    "idle_heartbeat": (idle_heartbeat, "0.8 us where nothing waits, 1 us where nothing fits", "<= 5 us"),
    "day_of_2000_gpus": (day_of_2000_gpus, "10 s of CPU, as in a trial while it was shaped", "< 60 s"),
}


def machine() -> dict[str, Any]:
    """What it ran on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 1),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rung", choices=RUNGS)
    parser.add_argument("--write", action="store_true", help="keep the results as data")
    options = parser.parse_args()
    results: dict[str, Any] = {"machine": machine(), "rungs": {}}
    for name, (measure, predicted, wanted) in RUNGS.items():
        if options.rung in (None, name):
            figures = {key: round(value, 3 if value < 100 else 0) for key, value in measure().items()}
            results["rungs"][name] = {"wanted": wanted, "predicted": predicted, "measured": figures}
            shown = ", ".join(f"{key} {value:,g}" for key, value in figures.items())
            print(f"{name}: {shown} (predicted {predicted}; wanted {wanted})", flush=True)
    if options.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
