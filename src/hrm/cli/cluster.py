"""`hrm nodes`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from hrm.cli.gpus import gpus, show_models
from hrm.cli.node_words import attributes, labels, set_node
from hrm.cli.output import (
    Column,
    Output,
    OutputOption,
    clean,
    show,
    show_list,
    show_time,
    show_used,
)
from hrm.model.findings import Severity
from hrm.model.reports import NodeReport
from hrm.model.resources import GPUS, MEMORY, VCORES

if TYPE_CHECKING:
    from hrm.sdk.client import Client

NodesArgument = Annotated[list[str], typer.Argument(metavar="NODE", help="As `hrm nodes` names them.")]
nodes_app = typer.Typer(add_completion=False, rich_markup_mode=None, invoke_without_command=True)
nodes_app.command("gpus")(gpus)
nodes_app.command("attributes")(attributes)
nodes_app.command("set")(set_node)
nodes_app.command("labels")(labels)


@nodes_app.callback()
def nodes(context: typer.Context, output: OutputOption = Output.TABLE) -> None:
    """List nodes, drain them, or say what jobs may choose them by.

    \b
    Examples:
      hrm nodes
      hrm nodes -o json | jq '.[].isolation'
      hrm nodes drain box                         nothing new is placed there; what runs goes on
      hrm nodes undrain box
      hrm nodes attributes                        by which jobs choose them (--constraint)
      hrm nodes set box disk=ssd
    """
    from hrm.cli.connect import client

    if context.invoked_subcommand is not None:
        return
    with client() as server:
        show_list(server.nodes(), _NODE_COLUMNS, output)


@nodes_app.command("drain")
def drain(
    nodes: NodesArgument,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; shown by `hrm nodes`.")] = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Place nothing new on a node; what runs there goes on.

    Holds until `hrm nodes undrain`, also when the server is restarted.

    \b
    Examples:
      hrm nodes drain box --reason 'new disk'
      hrm nodes drain box1 box2 -o json
    """
    _change_nodes(lambda server, node: server.drain_node(node, reason), nodes, output)


@nodes_app.command("undrain")
def undrain(nodes: NodesArgument, output: OutputOption = Output.TABLE) -> None:
    """Use a node again.

    \b
    Examples:
      hrm nodes undrain box
    """
    _change_nodes(lambda server, node: server.undrain_node(node), nodes, output)


@nodes_app.command("reboot")
def reboot(
    nodes: Annotated[list[str] | None, typer.Argument(metavar="[NODE]...", help="Only these [default: all].")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Print the commands; required, nothing is restarted.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Print how to restart nodes: drain, slaves first, masters last, wait, undrain.

    Masters are the nodes that serve NFS or hold a disk of the array, as doctor.storage in hrm.yaml says.

    \b
    Examples:
      hrm nodes reboot --plan
      hrm nodes reboot --plan slave01 slave02 -o json
    """
    from hrm.cli.reboot_plan import show_plan

    show_plan(nodes or (), plan=plan, output=output)


def _change_nodes(change: Callable[[Client, str], NodeReport], names: Sequence[str], output: Output) -> None:
    """One after another; one that is none stops at itself and changes nothing of those before it."""
    from hrm.cli.connect import client

    with client() as server:
        reports = [change(server, name) for name in names]
    if output is not Output.TABLE:
        show(reports, output)
        return
    for report in reports:
        print(clean(f"{report.node_id} is {report.state}" + (f": {_drained(report)}" if report.drained_at else "")))


def _gpus(report: NodeReport) -> str:
    shown = show_used(report.used, report.total, GPUS)
    return f"{shown} {show_models(report)}".rstrip()


def _drained(report: NodeReport) -> str:
    """``drained by ada since 14:03:07 (new disk), 2 containers run``; "" if it is not."""
    if report.drained_at is None:
        return ""
    why = f" ({report.drain_reason})" if report.drain_reason else ""
    running = f"{report.containers} containers run" if report.containers else "nothing runs"
    return f"drained by {report.drained_by} since {show_time(report.drained_at)}{why}, {running}"


def _findings(report: NodeReport) -> str:
    """``HRM-NFS-009 critical: /data is stale (and 2 more)``: the worst that is not only worth knowing; "-" iff none."""
    found = [finding for finding in report.findings if finding.severity is not Severity.INFO]
    if not found:
        return "-"
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"{found[0].code} {found[0].severity}: {found[0].title.en}{more}"


_NODE_COLUMNS = (
    Column("NODE", lambda r: r.node_id, shrinks=True),
    Column("STATE", lambda r: r.state),
    Column("CPUS", lambda r: show_used(r.used, r.total, VCORES), right=True),
    Column("MEMORY", lambda r: show_used(r.used, r.total, MEMORY), right=True),
    Column("GPUS", _gpus, right=True),
    Column("CONTAINERS", lambda r: str(r.containers), right=True),
    Column("ISOLATION", lambda r: r.message or _drained(r) or r.isolation, shrinks=True),
    Column("DOCTOR", _findings, shrinks=True, below=True),
)
