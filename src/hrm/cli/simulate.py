"""`hrm simulate`: the production scheduler under virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hrm.cli.output import Output, OutputOption, note
from hrm.cli.simulate_fgd import fgd
from hrm.cli.simulate_run import (
    CalibrateOption,
    ConfigOption,
    PageOption,
    PlotsOption,
    SeedOption,
    TimingOption,
    UntilOption,
    run_and_show,
)
from hrm.cli.simulate_swarm import swarm
from hrm.cli.simulate_trace import trace
from hrm.model.queues import Policy

app = typer.Typer(add_completion=False, rich_markup_mode=None, invoke_without_command=True)


@app.callback()
def simulate(
    context: typer.Context,
    from_live: Annotated[
        bool, typer.Option("--from-live", help="Play on from what runs and waits on the server now.")
    ] = False,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="With it: replay what ran in the last 7d, 12h … instead."),
    ] = None,
    config: ConfigOption = None,
    add_nodes: Annotated[
        str | None,
        typer.Option(metavar="NODES", help="So many more: 3 like the largest, or 3:cpus=64,memory=256G,gpus=8."),
    ] = None,
    today: Annotated[
        Path | None,
        typer.Option(
            "--today", metavar="FILE", help="The hrm.yaml to compare with [default: what is in force on the server]."
        ),
    ] = None,
    until: UntilOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Try queues, work and machines out under virtual time.

    The scheduler is the one that runs in production; only machines, users and time are played. With --from-live what
    another configuration (--config) or more machines (--add-nodes) would do is printed beside what will be without.

    \b
    Examples:
      hrm simulate --from-live --config new.yaml            what other queues would do to what waits now
      hrm simulate --from-live --since 7d --add-nodes 2     two more machines in the last week
      hrm simulate generate -h                              a drawn cluster, with drawn work and faults
      hrm simulate trace -h                                 work that was recorded
      hrm simulate fgd -h                                   filling a cluster until nothing more fits
      hrm simulate swarm -h                                 searching for trouble
    """
    if context.invoked_subcommand is not None:
        return
    if not from_live:
        print(context.get_help())
        return
    from hrm.cli.simulate_live import Question, what_if

    what_if(Question(config=config, today=today, add_nodes=add_nodes, since=since, until=until, output=output))


app.command()(fgd)
app.command()(trace)
app.command()(swarm)


@app.command()
def generate(
    context: typer.Context,
    nodes: Annotated[int, typer.Option(metavar="NUMBER", help="Machines.")] = 100,
    cpus: Annotated[str, typer.Option(metavar="NUMBER", help="CPUs of each.")] = "64",
    memory: Annotated[str, typer.Option(metavar="SIZE", help="Memory of each.")] = "256G",
    gpus: Annotated[int, typer.Option(metavar="NUMBER", min=0, help="GPUs of each.")] = 8,
    gpu_models: Annotated[
        str, typer.Option(metavar="NAMES", help="Models, separated by commas; nodes get them in turn.")
    ] = "A100",
    racks: Annotated[int, typer.Option(metavar="NUMBER", help="Racks that they stand in.")] = 1,
    queues: Annotated[int, typer.Option(metavar="NUMBER", help="Leaf queues, ten below each parent.")] = 10,
    apps: Annotated[int, typer.Option(metavar="NUMBER", help="Applications.")] = 100,
    containers: Annotated[int, typer.Option(metavar="NUMBER", help="Containers that they ask for in all.")] = 1000,
    policy: Annotated[Policy, typer.Option(metavar="POLICY", help="drf, fair or fifo.")] = Policy.DRF,
    arrivals: Annotated[str, typer.Option(metavar="TIME", help="Between two submissions, e.g. exponential:30s.")] = "0",
    run_time: Annotated[
        str, typer.Option(metavar="TIME", help="Of each container, e.g. lognormal:20m,1.2.")
    ] = "forever",
    mtbf: Annotated[
        str | None, typer.Option(metavar="TIME", help="Each node fails once in so long on average [default: never].")
    ] = None,
    repair: Annotated[str, typer.Option(metavar="TIME", help="How long it is gone then.")] = "1h",
    preempt_after: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Preempt for who is below half its share for so long [default: never]."),
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(metavar="TIME", help="Tasks save their work so often [default: never].")
    ] = None,
    placement: Annotated[
        str | None,
        typer.Option(metavar="STRATEGY", help="As scheduler.placement_strategy [default: the node that is visited]."),
    ] = None,
    plan_file: Annotated[
        Path | None, typer.Option("--plan", metavar="FILE", help="YAML with all this; what is said here comes first.")
    ] = None,
    seed: SeedOption = 1,
    until: UntilOption = None,
    calibrate: CalibrateOption = False,
    timing: TimingOption = True,
    plots: PlotsOption = None,
    page: PageOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Draw a cluster and work, and run it.

    Without --run-time containers run on: then it ends when all are placed, and its speed is that of decisions.
    Times are fixed (60s, forever) or drawn: exponential:MEAN, uniform:FROM..TO, lognormal:MEDIAN,SIGMA or
    pareto:LEAST,ALPHA.

    \b
    Examples:
      hrm simulate generate --nodes 10000 --queues 100 --apps 1000 --containers 100000 --calibrate
      hrm simulate generate --nodes 250 --apps 10000 --containers 10000 --arrivals exponential:8s \\
        --run-time lognormal:1h,1.3 --preempt-after 60s --mtbf 90d
    """
    from hrm.model.resources import Resources
    from hrm.model.scheduling import SchedulerOptions
    from hrm.model.units import parse_duration_s
    from hrm.sim.distributions import parse_distribution
    from hrm.sim.generate import Plan
    from hrm.sim.generate import generate as draw

    note(f"seed {seed}")
    said: dict[str, Any] = {
        "nodes": nodes,
        "node_size": Resources.parse(cpus=cpus, memory=memory, gpus=gpus),
        "gpu_models": tuple(name.strip() for name in gpu_models.split(",") if name.strip()),
        "racks": racks,
        "queues": queues,
        "apps": apps,
        "containers": containers,
        "policy": policy,
        "arrivals": parse_distribution(arrivals, field="--arrivals"),
        "run_time": parse_distribution(run_time, field="--run-time"),
        "mtbf_s": None if mtbf is None else parse_duration_s(mtbf, field="--mtbf"),
        "repair": parse_distribution(repair, field="--repair"),
        "preempt_after_s": None if preempt_after is None else parse_duration_s(preempt_after, field="--preempt-after"),
        "checkpoint_s": None if checkpoint is None else parse_duration_s(checkpoint, field="--checkpoint"),
        "options": SchedulerOptions(placement_strategy=placement),
    }
    if plan_file is not None:
        from hrm.sim.plan_file import read_plan

        sources = {name: context.get_parameter_source(name) for name in context.params}
        given = {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}
        options = {"node_size": {"cpus", "memory", "gpus"}, "options": {"placement"}}
        said |= {
            name: value
            for name, value in read_plan(plan_file).items()
            if not given & options.get(name, {name, name.removesuffix("_s")})
        }
    plan = Plan(**said)
    run_and_show(
        draw(plan, seed),
        seed=seed,
        until=until,
        calibrate=calibrate,
        timing=timing,
        output=output,
        plots=plots,
        page=page,
    )
