"""`hrm simulate swarm`: search for trouble."""

from __future__ import annotations

from typing import Annotated

import typer

from hrm.cli.output import Output, OutputOption, note, show
from hrm.cli.progress import progress_bar


def swarm(
    seeds: Annotated[int, typer.Option(metavar="NUMBER", min=1, help="How many runs.")] = 100,
    first: Annotated[int, typer.Option("--seed", metavar="NUMBER", min=0, help="Seed of the first.")] = 1,
    output: OutputOption = Output.TABLE,
) -> None:
    """Search for trouble: many small random clusters, with checkers looking on.

    Each run draws nodes, queues, limits, options, work and faults, and leaves some of them out. What must hold is
    checked all the while: capacities, shares, limits, books, reasons, starvation, and equal decisions when it is lived
    again. A failure names its seed. Exits with 1 where one was found.

    \b
    Examples:
      hrm simulate swarm --seeds 1000
      hrm simulate swarm --seed 4711 --seeds 1
    """
    from hrm.sim.swarm import run_swarm

    note(f"seeds {first} to {first + seeds - 1}")
    with progress_bar("searching") as tell:
        result = run_swarm(range(first, first + seeds), progress=tell)
    if output is not Output.TABLE:
        show(result, output)
    else:
        print(
            f"{result.runs} runs, {result.events} events, {result.allocations} containers: "
            f"{len(result.failures)} failures"
        )
        happened = (f"{what} {one.times} (in {one.runs} runs)" for what, one in result.happened.items())
        print(f"happened: {', '.join(happened)}")
        for seed, what in result.failures:
            print(f"seed {seed}: {what}\n  again: hrm simulate swarm --seed {seed} --seeds 1")
    if result.failures:
        raise typer.Exit(1)
    if result.partial:
        note("hrm: interrupted: the results are those until then")
        raise typer.Exit(130)
