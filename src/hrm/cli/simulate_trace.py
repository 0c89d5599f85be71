"""`hrm simulate trace`: work that others have recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hrm.cli.output import Output, OutputOption
from hrm.cli.simulate_run import (
    CalibrateOption,
    ConfigOption,
    PageOption,
    PlotsOption,
    TimingOption,
    UntilOption,
    load,
    run_and_show,
)
from hrm.model.queues import Policy


def trace(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The trace.")],
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORM",
            help="jobs, history, gpu_jobs, openb or sls [default: as the file looks].",
        ),
    ] = None,
    nodes_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="List of nodes, instead of equal ones.")
    ] = None,
    nodes: Annotated[int, typer.Option(metavar="NUMBER", help="Equal nodes.")] = 10,
    cpus: Annotated[str, typer.Option(metavar="NUMBER", help="CPUs of each.")] = "64",
    memory: Annotated[str, typer.Option(metavar="SIZE", help="Memory of each.")] = "256G",
    gpus: Annotated[int, typer.Option(metavar="NUMBER", min=0, help="GPUs of each.")] = 8,
    gpu_model: Annotated[str, typer.Option(metavar="NAME", help="Their model.")] = "A100",
    config: ConfigOption = None,
    queue: Annotated[
        str | None, typer.Option(metavar="QUEUE", help="All jobs go there [default: as the trace says].")
    ] = None,
    policy: Annotated[Policy, typer.Option(metavar="POLICY", help="Of queues, without --config.")] = Policy.DRF,
    until: UntilOption = None,
    calibrate: CalibrateOption = False,
    timing: TimingOption = True,
    plots: PlotsOption = None,
    page: PageOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Run a trace: jobs that were recorded, on nodes and queues of one's own.

    \b
    Examples:
      hrm simulate trace week.csv --config hrm.yaml             what `hrm history export` wrote
      hrm simulate trace philly.csv --nodes 250 --policy fair
      hrm simulate trace pods.csv --nodes-file nodes.csv        Alibaba's GPU cluster trace
      hrm simulate trace sls.json --nodes 20 --gpus 0
    """
    from hrm.model.resources import Resources
    from hrm.sim.generate import make_node
    from hrm.sim.traces.formats import parse_format, read_nodes, read_trace
    from hrm.sim.workload import make_workload

    known = None if form is None else parse_format(form)
    jobs = read_trace(file, known)
    if nodes_file is not None:
        machines = read_nodes(nodes_file)
    else:
        size = Resources.parse(cpus=cpus, memory=memory, gpus=gpus)
        machines = tuple(make_node(f"node{number}", size, gpu_model) for number in range(nodes))
    settings = load(config)
    workload = make_workload(
        file.name,
        machines,
        jobs,
        root=None if settings is None else settings.queues,
        options=None if settings is None else settings.scheduler.options,
        queue=queue,
        policy=policy,
    )
    run_and_show(
        workload, seed=None, until=until, calibrate=calibrate, timing=timing, output=output, plots=plots, page=page
    )
