"""Runs a simulation and measures the run: how fast, how much memory. What it decided is in its report."""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

from hrm.core.invariants import check_invariants
from hrm.sim.calibrate import bare_heap_rate
from hrm.sim.report import SimulationReport, make_report
from hrm.sim.simulation import Progress, Simulation

#: Runs of the bare loop, of which the fastest counts.
_CALIBRATIONS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Of one run, on this machine, with whatever else it had to do."""

    #: Of the run itself: events, decisions, and what the simulator does with them. Seconds.
    wall_s: float
    allocations_per_s: float
    #: The same in CPU time of this process.
    cpu_s: float
    #: Before it: nodes and jobs are told; after it: the books are checked.
    load_s: float
    check_s: float
    visits: int
    #: Of the whole process, from its start on.
    peak_rss_mib: float
    #: Grants in a CPU second of `hrm.sim.calibrate`, and ours against that; None iff that was not asked for.
    bare_heap_per_s: float | None
    of_bare_heap: float | None


def run_and_measure(
    simulation: Simulation, *, calibrate: bool = False, progress: Callable[[Progress], None] = lambda _: None
) -> tuple[SimulationReport, Timing]:
    """Raises InvariantBroken where the books do not balance afterwards. Ctrl-C makes the report a partial one."""
    began = time.perf_counter()
    simulation.load()
    load_s = time.perf_counter() - began
    # As in the server: what is loaded lives to the end, and containers are no garbage.
    gc.collect()
    gc.freeze()
    thresholds = gc.get_threshold()
    gc.set_threshold(2_000, 10, 5_000)
    try:
        began, cpu_before_s = time.perf_counter(), time.process_time()
        simulation.run(progress)
        wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_before_s
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
    began = time.perf_counter()
    if not simulation.interrupted:
        check_invariants(simulation.scheduler)
    check_s = time.perf_counter() - began
    report = make_report(simulation)
    # Measured before the loop, whose heaps would count.
    peak_rss_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rate = report.allocations / wall_s if wall_s else 0.0
    bare = None
    if calibrate and not simulation.interrupted:
        bare = max(bare_heap_rate(simulation.workload) for _ in range(_CALIBRATIONS))
    timing = Timing(
        wall_s=round(wall_s, 3),
        allocations_per_s=round(rate, 1),
        cpu_s=round(cpu_s, 3),
        load_s=round(load_s, 3),
        check_s=round(check_s, 3),
        visits=simulation.visits,
        peak_rss_mib=round(peak_rss_mib, 1),
        bare_heap_per_s=None if bare is None else round(bare, 1),
        of_bare_heap=round(report.allocations / cpu_s / bare, 3) if bare and cpu_s else None,
    )
    return report, timing
