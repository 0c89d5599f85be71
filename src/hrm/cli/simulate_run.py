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
PlotsOption = Annotated[
    Path | None, typer.Option("--plots", metavar="DIR", help="Draw PNG pictures into this directory (extra sim).")
]
PageOption = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Write all pictures and figures into one page (extra sim)."),
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
    workload: Workload, *, until: str | None, calibrate: bool = False, pictures: bool = False, title: str = "simulating"
) -> tuple[Simulation, SimulationReport, Timing]:
    """With a bar on a terminal. Ctrl-C leaves a partial report."""
    import math

    from hrm.model.units import parse_duration_s
    from hrm.sim.measure import run_and_measure
    from hrm.sim.simulation import Progress, Simulation
    from hrm.sim.strategies import strategies_for

    until_s = math.inf if until is None else parse_duration_s(until, field="--until")
    strategies = strategies_for(workload.options)
    simulation = Simulation(workload, until_s=until_s, fragmentation=pictures, strategies=strategies)
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
    plots: Path | None = None,
    page: Path | None = None,
) -> None:
    """Run it and print what came of it. Exits with 130 where it was interrupted."""
    from hrm.cli.simulate_output import show_report

    pictures = plots is not None or page is not None
    simulation, report, measured = run(workload, until=until, calibrate=calibrate, pictures=pictures)
    show_report(seed, report, measured if timing else None, output)
    if pictures:
        from hrm.sim.plots import write_page, write_pngs

        if plots is not None:
            files = write_pngs(simulation, plots)
            note(f"{plots}: {', '.join(file.name for file in files)}")
        if page is not None:
            write_page(simulation, report, page)
            note(f"{page}: written")
    end_if_partial(report.partial)


def end_if_partial(partial: bool) -> None:
    """What was interrupted exits as such, after its results."""
    if partial:
        note("hrm: interrupted: the results are those until then")
        raise typer.Exit(130)
