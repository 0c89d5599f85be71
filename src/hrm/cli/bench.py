"""`hrm bench`: measure the server that is up, through REST and with the store on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hrm.cli.connect import client_or_ephemeral
from hrm.cli.job_options import IsolationOption, isolation_arguments
from hrm.cli.output import Output, OutputOption, note, show
from hrm.model.errors import Conflict
from hrm.model.isolation import IsolationMode, Means
from hrm.model.resources import Resources

if TYPE_CHECKING:
    from hrm.sdk.client import Client

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Measure throughput and latency.", rich_markup_mode=None
)

CountOption = Annotated[int, typer.Option("--count", "-n", min=1, max=100_000, help="How many.")]
CpusOption = Annotated[str, typer.Option(help="CPUs that each task asks for: fewer means more at once.")]
MemoryOption = Annotated[str, typer.Option(help="Memory that each task asks for.")]


@app.command()
def tasks(
    count: CountOption = 1000,
    cpus: CpusOption = "0.1",
    memory: MemoryOption = "16M",
    isolation: IsolationOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Measure how many tasks a second run: an array of `true`.

    \b
    Examples:
      hrm bench tasks --count 1000
      hrm bench tasks --cpus 1 -o json     one task on each CPU at a time
      hrm bench tasks --isolation full     with everything enforced that containers are held to
    """
    from hrm.sdk.measure import measure_throughput

    with client_or_ephemeral(isolation_arguments(isolation)) as connection:
        if isolation is not None:
            check_isolation(connection.client, isolation)
        result = measure_throughput(connection.client, count=count, resources=Resources.parse(cpus=cpus, memory=memory))
    if output is not Output.TABLE:
        show(result, output)
    else:
        print(f"{result.tasks_per_s:.0f} tasks/s: {count} in {result.wall_s:.2f} s")


def check_isolation(client: Client, mode: IsolationMode) -> None:
    """Raises Conflict where the server that is up enforces something else."""
    for node in client.nodes():
        limited = [guard for guard in node.guards if guard.resource in ("memory", "cpus", "processes", "gpus")]
        enforced = [guard for guard in limited if guard.means is Means.ENFORCED]
        if (mode is IsolationMode.FULL and enforced != limited) or (mode is IsolationMode.NONE and enforced):
            raise Conflict(
                f"a server is up already, and on {node.node_id} it has {node.isolation}",
                next_step="leave --isolation out to use it, or stop it with `hrm down` first",
            )


@app.command()
def latency(
    count: CountOption = 50,
    cpus: CpusOption = "0.1",
    memory: MemoryOption = "16M",
    output: OutputOption = Output.TABLE,
) -> None:
    """Measure how long it takes from submit to a job's first instruction.

    \b
    Examples:
      hrm bench latency --count 100 -o json
    """
    from hrm.sdk.measure import measure_latency

    with client_or_ephemeral() as connection:
        if connection.client.server().applications_running:
            note("hrm: other work is running; the figures are those of a busy server")
        result = measure_latency(connection.client, count=count, resources=Resources.parse(cpus=cpus, memory=memory))
    if output is not Output.TABLE:
        show(result, output)
    else:
        print(
            f"submit to first instruction: p50 {result.p50_ms:.1f} ms, p90 {result.p90_ms:.1f} ms, "
            f"p99 {result.p99_ms:.1f} ms ({count} jobs)"
        )
