"""`hrm simulate fgd`: how much of a cluster's GPUs each placement strategy fills, on a published trace."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hrm.cli.output import Column, Output, OutputOption, note, show, show_list
from hrm.cli.progress import progress_bar

if TYPE_CHECKING:
    from hrm.sim.fragmentation import FragmentationResult

_INTERRUPTED = 130


def fgd(
    nodes: Annotated[Path, typer.Option(metavar="FILE", help="CSV of nodes: sn,cpu_milli,memory_mib,gpu,model.")],
    pods: Annotated[
        list[Path],
        typer.Option(
            metavar="FILE",
            help="CSV of tasks: name,cpu_milli,memory_mib,num_gpu,gpu_milli; with --all-policies several times.",
        ),
    ],
    placement: Annotated[str, typer.Option(metavar="STRATEGY", help="As scheduler.placement_strategy.")] = "fgd",
    load: Annotated[float, typer.Option(metavar="PART", help="GPUs asked for, as a part of those there are.")] = 1.3,
    seed: Annotated[int, typer.Option(metavar="NUMBER", help="Order and choice of tasks are drawn from it.")] = 42,
    all_policies: Annotated[
        bool, typer.Option("--all-policies", help="Every built-in strategy, beside what was published.")
    ] = False,
    seeds: Annotated[
        int, typer.Option(metavar="NUMBER", min=1, help="Runs of each with --all-policies, with seeds from --seed on.")
    ] = 1,
    output: OutputOption = Output.TABLE,
) -> None:
    """Fill a cluster by a placement strategy until no more fits.

    The experiment of Weng et al., "Beware of Fragmentation" (ATC'23): tasks are drawn from a list until they ask for
    more GPUs than there are; they arrive one by one and never end, and one that fits nowhere has failed.

    \b
    Examples:
      hrm simulate fgd --nodes openb_node_list_gpu_node.csv --pods openb_pod_list_default.csv -o json
      hrm simulate fgd --nodes N.csv --pods P.csv --all-policies --seeds 10
    """
    from hrm.config.extensions import own_placement_strategy
    from hrm.model.errors import InvalidInput
    from hrm.sim.comparison import compare
    from hrm.sim.fragmentation import FragmentationRun
    from hrm.sim.traces.openb import read_nodes, read_pods

    if not all_policies and (len(pods) > 1 or seeds > 1):
        raise InvalidInput(
            "one run takes one list of tasks and one seed", field="--pods", next_step="add --all-policies for a table"
        )
    machines = read_nodes(nodes)
    lists = {path.stem: read_pods(path) for path in pods}
    if len(lists) < len(pods):
        raise InvalidInput("two lists of tasks have one name", field="--pods", next_step="rename one")
    note(f"seed {seed}")
    with progress_bar("placing") as tell:
        if all_policies:
            lines = compare(machines, lists, load=load, seeds=range(seed, seed + seeds), progress=tell)
        else:
            own = own_placement_strategy(placement)
            run = FragmentationRun(machines, lists[pods[0].stem], placement=placement, load=load, seed=seed, own=own)
            result = run.run(tell)
    if all_policies:
        show_list(lines, _COLUMNS, output)
    else:
        _show_one(result, output)
    partial = any(line.partial for line in lines) if all_policies else result.partial
    if partial:
        note("hrm: interrupted: the results are those until then")
        raise typer.Exit(_INTERRUPTED)


def _show_one(result: FragmentationResult, output: Output) -> None:
    if output is not Output.TABLE:
        show(result, output)
        return
    lines = [
        ("placement", f"{result.placement}, seed {result.seed}"),
        ("arrived", f"{result.tasks} tasks, {result.load:.0%} of the GPUs there are"),
        ("failed", f"{result.failed} fitted nowhere"),
        ("GPUs", f"{result.gpu_allocation_percent:.2f} % in use, {result.fragmented_percent:.2f} % in fragments"),
        ("vcores", f"{result.vcore_allocation_percent:.2f} % in use"),
        ("took", f"{result.wall_s:.2f} s, {result.cpu_s:.2f} s of one core"),
    ]
    if result.partial:
        lines.insert(0, ("partial", "it was broken off: what follows is what had happened until then"))
    for title, text in lines:
        print(f"{title:10} {text}")


def _figure(value: float | None, form: str = ".2f") -> str:
    return "-" if value is None else format(value, form)


def _seeds(line: Any) -> str:
    return f"{line.seeds} (partial)" if line.partial else str(line.seeds)


_COLUMNS = (
    Column("TASKS", lambda r: r.pods, shrinks=True),
    Column("PLACEMENT", lambda r: r.placement),
    Column("SEEDS", _seeds, right=True),
    Column("ALLOCATED %", lambda r: _figure(r.gpu_allocation_percent), right=True),
    Column("±", lambda r: _figure(r.deviation), right=True),
    Column("PUBLISHED %", lambda r: _figure(r.published_percent), right=True),
    Column("DIFFERENCE", lambda r: _figure(r.difference, "+.2f"), right=True),
    Column("AT 100 %", lambda r: _figure(r.gpu_allocation_percent_at_100), right=True),
    Column("FRAGMENTED %", lambda r: _figure(r.fragmented_percent), right=True),
    Column("FAILED", lambda r: f"{r.failed:.0f}/{r.tasks:.0f}", right=True),
    Column("CPU S", lambda r: _figure(r.cpu_s), right=True),
)
