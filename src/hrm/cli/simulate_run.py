"""What all simulations have in common on the command line: their options, the bar, the result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hrm.cli.output import Output, note
from hrm.cli.progress import progress_bar

if TYPE_CHECKING:
    from hrm.config.values import HrmConfig
    from hrm.sim.measure import Timing
    from hrm.sim.report import SimulationReport
    from hrm.sim.simulation import Simulation
    from hrm.sim.workload import Workload

SeedOption = Annotated[int, typer.Option("--seed", metavar="NUMBER", help="All chance is drawn from it.")]
UntilOption = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Stop after so much virtual time [default: the end].")
]
CalibrateOption = Annotated[
    bool, typer.Option("--calibrate", help="Time a bare loop over heaps too, and print the ratio.")
]
TimingOption = Annotated[
    bool, typer.Option("--timing/--no-timing", help="Say how long it took; without, equal runs print equal bytes.")
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Queues and the scheduler's options of this hrm.yaml."),
]


def load(file: Path | None) -> HrmConfig | None:
    """A configuration that was named. Raises BadDocument, InvalidInput."""
    from hrm.config import load_config

    return None if file is None else load_config(file)


def run(
    workload: Workload, *, until: str | None, calibrate: bool = False, title: str = "simulating"
) -> tuple[Simulation, SimulationReport, Timing]:
    """With a bar on a terminal. Ctrl-C leaves a partial report."""
    import math

    from hrm.model.units import parse_duration_s
    from hrm.sim.measure import run_and_measure
    from hrm.sim.simulation import Progress, Simulation

    until_s = math.inf if until is None else parse_duration_s(until, field="--until")
    simulation = Simulation(workload, until_s=until_s)
    with progress_bar(title) as tell:

        def follow(progress: Progress) -> None:
            tell(progress.over or progress.granted, progress.jobs if progress.over else progress.tasks)

        report, timing = run_and_measure(simulation, calibrate=calibrate, progress=follow)
    return simulation, report, timing


def run_and_show(
    workload: Workload,
    *,
    seed: int | None,
    until: str | None,
    calibrate: bool,
    timing: bool,
    output: Output,
) -> None:
    """Run it and print what came of it. Exits with 130 where it was interrupted."""
    from hrm.cli.simulate_output import show_report

    _, report, measured = run(workload, until=until, calibrate=calibrate)
    show_report(seed, report, measured if timing else None, output)
    end_if_partial(report.partial)


def end_if_partial(partial: bool) -> None:
    """What was interrupted exits as such, after its results."""
    if partial:
        note("hrm: interrupted: the results are those until then")
        raise typer.Exit(130)
