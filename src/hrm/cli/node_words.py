"""`hrm nodes attributes`, `hrm nodes set` and `hrm nodes labels`: by what jobs choose nodes."""

from __future__ import annotations

from typing import Annotated

import typer

from hrm.cli.output import Column, Output, OutputOption, clean, show, show_list
from hrm.model.attributes import check_name, check_value
from hrm.model.errors import InvalidInput
from hrm.model.reports import NodeReport


def attributes(
    nodes: Annotated[list[str] | None, typer.Argument(metavar="[NODE]...", help="Only these [default: all].")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List attributes and labels of nodes.

    Those that an operator set while a server ran are marked with *.

    \b
    Examples:
      hrm nodes attributes
      hrm nodes attributes box -o json
    """
    from hrm.cli.connect import client

    with client() as server:
        reports = server.nodes()
    known = {report.node_id for report in reports}
    if missing := [name for name in nodes or () if name not in known]:
        raise InvalidInput(f"no node {missing[0]!r:.80}", next_step="`hrm nodes` lists them")
    chosen = [report for report in reports if not nodes or report.node_id in nodes]
    if output is Output.TABLE:
        show_list(chosen, _COLUMNS, output)
        return
    keys = ("node_id", "attributes", "set_attributes", "label", "exclusive")
    show([{key: getattr(report, key) for key in keys} for report in chosen], output)


def set_node(
    words: Annotated[list[str], typer.Argument(metavar="NODE... [NAME=VALUE]...", help="Nodes, then attributes.")],
    unset: Annotated[
        list[str] | None, typer.Option("--unset", metavar="NAME", help="Take back what was set (again for more).")
    ] = None,
    label: Annotated[str | None, typer.Option("--label", metavar="LABEL", help="Its node label; '' for none.")] = None,
    unset_label: Annotated[bool, typer.Option("--unset-label", help="Its label is what hrm.yaml says.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Set attributes of nodes, and their label.

    Counts for more than hrm.yaml and what the node found itself, and holds until it is taken back, also when the
    server is restarted. What runs goes on.

    \b
    Examples:
      hrm nodes set box1 box2 disk=ssd site=north
      hrm nodes set box1 --unset disk
      hrm nodes set box1 --label teaching
    """
    from hrm.cli.connect import client

    names = [word for word in words if "=" not in word]
    change: dict[str, str | None] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            change[check_name(name)] = check_value(value, name)
    change |= {check_name(name): None for name in unset or ()}
    if not names:
        raise InvalidInput("names no node", next_step="hrm nodes set NODE NAME=VALUE")
    if label is not None and unset_label:
        raise InvalidInput("--label and --unset-label exclude each other", next_step="choose one of them")
    if not change and label is None and not unset_label:
        raise InvalidInput("says nothing", next_step="give NAME=VALUE, --unset NAME or --label LABEL")
    reports = []
    with client() as server:
        for name in names:
            if change:
                report = server.set_attributes(name, change)
            if label is not None or unset_label:
                report = server.set_node_label(name, label)
            reports.append(report)
    if output is Output.TABLE:
        show_list(reports, _COLUMNS, output)
    else:
        show(reports, output)


def labels(
    add: Annotated[list[str] | None, typer.Option("--add", metavar="LABEL", help="Let nodes have it.")] = None,
    shared: Annotated[
        bool, typer.Option("--shared", help="With --add: what its own jobs leave of its nodes, others may use.")
    ] = False,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", metavar="LABEL", help="Nodes have it no more.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List node labels, add and remove them.

    A node has at most one. Those of hrm.yaml change there.

    \b
    Examples:
      hrm nodes labels
      hrm nodes labels --add teaching --shared
      hrm nodes labels --remove teaching
    """
    from hrm.cli.connect import client

    with client() as server:
        for label in remove or ():
            server.remove_node_label(label)
        for label in add or ():
            server.add_node_label(label, exclusive=not shared)
        show_list(server.node_labels(), _LABEL_COLUMNS, output)


def _attributes(report: NodeReport) -> str:
    marked = (
        f"{name}={value}{'*' if name in report.set_attributes else ''}" for name, value in report.attributes.items()
    )
    return clean(" ".join(marked)) or "-"


def _label(report: NodeReport) -> str:
    return (report.label if report.exclusive else f"{report.label} (shared)") if report.label else "-"


_COLUMNS = (
    Column("NODE", lambda r: r.node_id, shrinks=True),
    Column("LABEL", _label),
    Column("ATTRIBUTES", _attributes, shrinks=True),
)
_LABEL_COLUMNS = (
    Column("LABEL", lambda r: r.name),
    Column("EXCLUSIVE", lambda r: "yes" if r.exclusive else "no"),
    Column("FROM", lambda r: "hrm.yaml" if r.declared else "an operator"),
    Column("NODES", lambda r: " ".join(r.nodes) or "-", shrinks=True),
)
