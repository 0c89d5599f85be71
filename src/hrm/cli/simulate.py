"""`hrm simulate`: the production scheduler under virtual time."""

from __future__ import annotations

from typing import Annotated

import typer

from hrm.cli.output import Output, OutputOption, note
from hrm.cli.simulate_fgd import fgd
from hrm.cli.simulate_run import CalibrateOption, SeedOption, TimingOption, UntilOption, run_and_show
from hrm.cli.simulate_trace import trace
from hrm.model.queues import Policy

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def simulate() -> None:
    """Try queues, work and machines out under virtual time.

    The scheduler is the one that runs in production; only machines, users and time are played.

    \b
    Examples:
      hrm simulate generate --nodes 1000 --apps 200 --containers 5000
      hrm simulate generate --arrivals exponential:30s --run-time lognormal:20m,1.2
      hrm simulate trace jobs.csv --config hrm.yaml
      hrm simulate fgd --nodes nodes.csv --pods pods.csv --placement fgd
    """


app.command()(fgd)
app.command()(trace)


@app.command()
def generate(
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
    seed: SeedOption = 1,
    until: UntilOption = None,
    calibrate: CalibrateOption = False,
    timing: TimingOption = True,
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
    from hrm.model.units import parse_duration_s
    from hrm.sim.distributions import parse_distribution
    from hrm.sim.generate import Plan
    from hrm.sim.generate import generate as draw

    note(f"seed {seed}")
    plan = Plan(
        nodes=nodes,
        node_size=Resources.parse(cpus=cpus, memory=memory, gpus=gpus),
        gpu_models=tuple(name.strip() for name in gpu_models.split(",") if name.strip()),
        racks=racks,
        queues=queues,
        apps=apps,
        containers=containers,
        policy=policy,
        arrivals=parse_distribution(arrivals, field="--arrivals"),
        run_time=parse_distribution(run_time, field="--run-time"),
        mtbf_s=None if mtbf is None else parse_duration_s(mtbf, field="--mtbf"),
        repair=parse_distribution(repair, field="--repair"),
        preempt_after_s=None if preempt_after is None else parse_duration_s(preempt_after, field="--preempt-after"),
        checkpoint_s=None if checkpoint is None else parse_duration_s(checkpoint, field="--checkpoint"),
    )
    run_and_show(draw(plan, seed), seed=seed, until=until, calibrate=calibrate, timing=timing, output=output)
