"""`hrm bench`: measure the server that is up, through REST and with the store on."""

from __future__ import annotations

from typing import Annotated

import typer

from hrm.cli.connect import client_or_ephemeral
from hrm.cli.output import Output, OutputOption, note, show
from hrm.model.resources import Resources

app = typer.Typer(no_args_is_help=True, help="Measure throughput and latency.", rich_markup_mode=None)

CountOption = Annotated[int, typer.Option("--count", "-n", min=1, max=100_000, help="How many.")]
CpusOption = Annotated[str, typer.Option(help="CPUs that each task asks for: fewer means more at once.")]
MemoryOption = Annotated[str, typer.Option(help="Memory that each task asks for.")]


@app.command()
def tasks(
    count: CountOption = 1000,
    cpus: CpusOption = "0.1",
    memory: MemoryOption = "16M",
    output: OutputOption = Output.TABLE,
) -> None:
    """Measure how many tasks a second run: an array of `true`.

    \b
    Examples:
      hrm bench tasks --count 1000
      hrm bench tasks --cpus 1 -o json     one task on each CPU at a time
    """
    from hrm.sdk.measure import measure_throughput

    with client_or_ephemeral() as connection:
        result = measure_throughput(connection.client, count=count, resources=Resources.parse(cpus=cpus, memory=memory))
    if output is not Output.TABLE:
        show(result, output)
    else:
        print(f"{result.tasks_per_s:.0f} tasks/s: {count} in {result.wall_s:.2f} s")


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
