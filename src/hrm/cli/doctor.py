"""`hrm doctor`: what is wrong with a node, why it matters, and what cures it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hrm.cli.doctor_output import plain_cluster, plain_report, tell, tell_comparison
from hrm.cli.language import LanguageOption, language
from hrm.cli.output import Output, OutputOption, show
from hrm.model.errors import InvalidInput, NotFound
from hrm.model.findings import DoctorReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hrm.doctor.checks import Check
    from hrm.doctor.expected import Expected
    from hrm.doctor.system import System
    from hrm.model.findings import CheckRun

#: Nodes that are asked at once.
_AT_ONCE = 16


def doctor(
    only: Annotated[
        str, typer.Option("--only", metavar="AREAS", help="Only these areas or checks, a comma between them: gpu,nfs.")
    ] = "",
    quick: Annotated[bool, typer.Option("--quick", help="Only the checks that nodes run again and again.")] = False,
    fix: Annotated[bool, typer.Option("--fix", help="Show what would cure it, ask, and do it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --fix: do what is safe without asking.")] = False,
    disruptive: Annotated[
        bool, typer.Option("--disruptive", help="With --fix: also what ends or restarts something others may use.")
    ] = False,
    explain: Annotated[
        str | None, typer.Option("--explain", metavar="CODE", help="Say what a code means and what cures it.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the checks; run none.")] = False,
    root: Annotated[
        Path | None, typer.Option("--root", metavar="DIR", help="Look at a machine that was recorded there.")
    ] = None,
    lang: LanguageOption = None,
    node: Annotated[
        list[str] | None, typer.Option("--node", "-n", metavar="NODE", help="Look at this node of the server's.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Look at all nodes, and compare them.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Find what is wrong with this node, and what cures it.

    Nothing is changed without --fix. Without root it says what it could not see. Ends with 0 where nothing above info
    was found, with 1 otherwise. --node and --all ask the server, and are for its admins.

    \b
    Examples:
      hrm doctor                            all checks of this machine
      hrm doctor --only gpu,docker          of two areas
      hrm doctor --explain HRM-GPU-001      what a code means
      sudo hrm doctor --fix                 show the cures, ask, do them
      hrm doctor -o json                    for programs
      hrm doctor --all --only gpu           of all nodes, and who is the odd one out
    """
    from hrm.doctor import registry

    spoken = language(lang)
    checks = registry.chosen(registry.all_checks(), only.split(","))
    if explain is not None:
        _explain(checks, explain, spoken, output)
        return
    if quick:
        checks = [check for check in checks if check.quick]
    if list_:
        _list(checks, spoken, output)
        return
    if fix and root is not None:
        raise InvalidInput("--fix and --root exclude each other", next_step="cure the machine itself, on it")
    if node or all_:
        if fix or root is not None or quick:
            raise InvalidInput(
                "--node and --all go with none of --fix, --root and --quick",
                next_step="run `hrm doctor --fix` on that machine",
            )
        _examine_nodes(node or [], only, spoken, output)
        return
    if fix and not yes and not sys.stdin.isatty():
        raise InvalidInput("--fix asks, and there is no terminal to ask at", next_step="add --yes")
    system, expected = _system(root), _expected()
    report = _examine(system, expected, checks, facts=not quick)
    if output is Output.TABLE:
        tell(report, spoken)
    cures: dict[str, Any] = {}
    if fix and report.findings:
        from hrm.cli.doctor_fix import Fixing

        def look(names: Sequence[str]) -> DoctorReport:
            return _examine(system, expected, [check for check in checks if not names or check.name in names])

        fixing = Fixing(system, look, spoken, yes=yes, disruptive=disruptive)
        report = fixing.fix(report)
        cures = {"cures": fixing.done}
    if output is not Output.TABLE:
        show({**plain_report(report, spoken), **cures}, output)
    if not report.healthy:
        raise typer.Exit(1)


def _examine_nodes(names: Sequence[str], only: str, spoken: str, output: Output) -> None:
    """Nodes of the server side by side; without ``names`` all that are up."""
    from concurrent.futures import ThreadPoolExecutor

    from hrm.cli.connect import client
    from hrm.doctor.compare import compare
    from hrm.doctor.registry import all_facts
    from hrm.model.states import NodeState

    areas = [word for word in only.split(",") if word]
    with client() as server:
        nodes = list(names) or [
            report.node_id for report in server.nodes() if report.state not in (NodeState.LOST, NodeState.UNHEALTHY)
        ]
    reports: list[DoctorReport] = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for report in pool.map(lambda node: _ask(node, areas), nodes):
            reports.append(report)
            if output is Output.TABLE:
                tell(report, spoken)
    compared = compare(reports, all_facts()) if len(reports) > 1 else []
    if output is not Output.TABLE:
        show(plain_cluster(reports, compared, spoken), output)
    elif len(reports) > 1:
        tell_comparison(compared, len(reports), spoken)
    if compared or not all(report.healthy for report in reports):
        raise typer.Exit(1)


def _ask(node: str, areas: Sequence[str]) -> DoctorReport:
    """A connection of its own: one answers one question at a time."""
    from hrm.cli.connect import client

    with client() as server:
        return server.examine_node(node, areas)


def _system(root: Path | None) -> System:
    from hrm.doctor.recorded import RecordedSystem
    from hrm.doctor.system import LocalSystem

    return LocalSystem() if root is None else RecordedSystem(root)


def _expected() -> Expected:
    """What ``hrm.yaml`` of this machine's home directory says; nothing where there is none."""
    from hrm.config.home import Home
    from hrm.config.loader import load_config

    path = Home.locate().config_file
    return load_config(path if path.exists() else None).doctor


def _examine(system: System, expected: Expected, checks: Sequence[Check], *, facts: bool = False) -> DoctorReport:
    from hrm.doctor.addresses import hostname
    from hrm.doctor.registry import all_facts
    from hrm.doctor.runner import examine

    done = 0

    def on_done(_: CheckRun) -> None:
        nonlocal done
        done += 1
        if sys.stderr.isatty():
            print(f"\r{done} of {len(checks)} checks\x1b[K", end="", file=sys.stderr, flush=True)

    node = hostname(system) or os.uname().nodename
    try:
        return examine(node, system, expected, checks, all_facts() if facts else (), on_done=on_done)
    finally:
        if done and sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _explain(checks: Sequence[Check], code: str, spoken: str, output: Output) -> None:
    for check in checks:
        for fault in check.faults:
            if fault.code == code.upper():
                told = {
                    "code": fault.code,
                    "severity": str(fault.severity),
                    "check": check.name,
                    "title": fault.title.unfilled().of(spoken),
                    "why": fault.why.unfilled().of(spoken),
                    "cure": fault.cure.unfilled().of(spoken),
                }
                if output is not Output.TABLE:
                    show(told, output)
                else:
                    print(f"{fault.code} ({fault.severity}, found by {check.name})\n")
                    print(f"{told['title']}\n\n{told['why']}\n\n{told['cure']}")
                return
    raise NotFound(f"no check finds {code!r}", next_step="hrm doctor --list shows all codes")


def _list(checks: Sequence[Check], spoken: str, output: Output) -> None:
    from hrm.cli.output import Column, show_list

    rows = [
        {
            "check": check.name,
            "code": fault.code,
            "severity": str(fault.severity),
            "title": fault.title.unfilled().of(spoken),
        }
        for check in checks
        for fault in check.faults
    ]
    columns = (
        Column("CODE", lambda row: row["code"]),
        Column("SEVERITY", lambda row: row["severity"]),
        Column("CHECK", lambda row: row["check"], leaves=1),
        Column("FAULT", lambda row: row["title"], shrinks=True),
    )
    show_list(rows, columns, output)
