"""`hrm doctor`: what is wrong with a node, why it matters, and what cures it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hrm.cli.output import Output, OutputOption, clean, note, show
from hrm.model.errors import InvalidInput, NotFound
from hrm.model.findings import DoctorReport, Finding, Risk, Severity, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hrm.doctor.checks import Check
    from hrm.doctor.cures import StepDone
    from hrm.doctor.expected import Expected
    from hrm.doctor.system import System
    from hrm.model.findings import CheckRun

_STYLES = {Severity.CRITICAL: "bold red", Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}
LOG = "doctor.log"


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
    lang: Annotated[
        str | None, typer.Option("--lang", metavar="LANG", help="en or zh [default: the terminal's language].")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Find what is wrong with this node, and what cures it.

    Nothing is changed without --fix. Without root it says what it could not see. Ends with 0 where nothing above info
    was found, with 1 otherwise.

    \b
    Examples:
      hrm doctor                            all checks of this machine
      hrm doctor --only gpu,docker          of two areas
      hrm doctor --explain HRM-GPU-001      what a code means
      sudo hrm doctor --fix                 show the cures, ask, do them
      hrm doctor -o json                    for programs
    """
    from hrm.doctor import registry

    language = lang or os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or "en"
    checks = registry.chosen(registry.all_checks(), only.split(","))
    if explain is not None:
        _explain(checks, explain, language, output)
        return
    if quick:
        checks = [check for check in checks if check.quick]
    if list_:
        _list(checks, language, output)
        return
    if fix and root is not None:
        raise InvalidInput("--fix and --root exclude each other", next_step="cure the machine itself, on it")
    system, expected = _system(root), _expected()
    report = _examine(system, expected, checks, facts=not quick)
    if output is not Output.TABLE:
        show(plain_report(report, language), output)
    else:
        _tell(report, language)
    if fix and report.findings:
        report = _fix(report, system, expected, checks, language, yes=yes, disruptive=disruptive)
    if not report.healthy:
        raise typer.Exit(1)


def plain_report(report: DoctorReport, language: str) -> dict[str, Any]:
    """As `-o json` shows it."""
    return {
        "node": report.node,
        "healthy": report.healthy,
        "checks_run": list(report.checks_run),
        "findings": [_plain(finding, language) for finding in report.findings],
        "facts": dict(report.facts),
    }


def _plain(finding: Finding, language: str) -> dict[str, Any]:
    return {
        "code": finding.code,
        "check": finding.check,
        "severity": str(finding.severity),
        "gpu": finding.gpu,
        "title": finding.title.of(language),
        "why": finding.why.of(language),
        "evidence": list(finding.evidence),
        "cure": [
            {"about": step.about.of(language), "command": step.command or None, "risk": str(step.risk)}
            for step in finding.cure
        ],
    }


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
    from hrm.doctor.registry import all_facts
    from hrm.doctor.runner import examine

    done = 0

    def on_done(_: CheckRun) -> None:
        nonlocal done
        done += 1
        if sys.stderr.isatty():
            print(f"\r{done} of {len(checks)} checks\x1b[K", end="", file=sys.stderr, flush=True)

    hostname = (system.read("/etc/hostname") or "").strip() or os.uname().nodename
    try:
        return examine(hostname, system, expected, checks, all_facts() if facts else (), on_done=on_done)
    finally:
        if done and sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _tell(report: DoctorReport, language: str) -> None:
    unseen = [f"{run.name}: {what}" for run in report.checks_run for what in run.unseen]
    for finding in report.findings:
        _tell_finding(finding, language)
    for line in unseen:
        print(clean(f"could not see   {line}"))
    counts = f"{len(report.checks_run)} checks on {report.node}"
    if not report.findings:
        print(clean(f"{counts}: nothing is wrong" + (" with what could be seen" if unseen else "")))
        return
    by_severity = [
        f"{number} {severity}"
        for severity in reversed(Severity)
        if (number := sum(finding.severity is severity for finding in report.findings))
    ]
    print(clean(f"{counts}: {', '.join(by_severity)}"))


def _tell_finding(finding: Finding, language: str) -> None:
    from rich.console import Console
    from rich.text import Text as Styled

    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    subject = f" [GPU {finding.gpu}]" if finding.gpu else ""
    head = Styled(f"{finding.code} {finding.severity}", style=_STYLES[finding.severity])
    console.print(head + Styled(clean(f"{subject}  {finding.title.of(language)}"), style="bold"))
    console.print(Styled(clean(f"  {finding.why.of(language)}")))
    for evidence in finding.evidence:
        console.print(Styled(clean(f"  | {evidence}"), style="dim"))
    for number, step in enumerate(finding.cure, 1):
        console.print(Styled(clean(f"  {number}. {_words(step, language)}")))
    console.print()


def _words(step: Step, language: str) -> str:
    risk = "" if step.risk is Risk.SAFE else f" [{step.risk}]"
    about = step.about.of(language)
    return f"{about}{risk}" if step.by_hand else f"{step.command}{risk}   # {about}"


def _explain(checks: Sequence[Check], code: str, language: str, output: Output) -> None:
    for check in checks:
        for fault in check.faults:
            if fault.code == code.upper():
                told = {
                    "code": fault.code,
                    "severity": str(fault.severity),
                    "check": check.name,
                    "title": fault.title.unfilled().of(language),
                    "why": fault.why.unfilled().of(language),
                    "cure": fault.cure.unfilled().of(language),
                }
                if output is not Output.TABLE:
                    show(told, output)
                else:
                    print(f"{fault.code} ({fault.severity}, found by {check.name})\n")
                    print(f"{told['title']}\n\n{told['why']}\n\n{told['cure']}")
                return
    raise NotFound(f"no check finds {code!r}", next_step="hrm doctor --list shows all codes")


def _list(checks: Sequence[Check], language: str, output: Output) -> None:
    from hrm.cli.output import Column, show_list

    rows = [
        {
            "check": check.name,
            "code": fault.code,
            "severity": str(fault.severity),
            "title": fault.title.unfilled().of(language),
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


def _fix(
    report: DoctorReport,
    system: System,
    expected: Expected,
    checks: Sequence[Check],
    language: str,
    *,
    yes: bool,
    disruptive: bool,
) -> DoctorReport:
    """Cure one finding after the other, look again after each, and stop at the first that is not as it should be."""
    from hrm.doctor.cures import LocalHands, Result, cure

    hands = LocalHands(system)
    for finding in report.findings:
        allowed = _allowed(finding, language, yes=yes, disruptive=disruptive)
        if not allowed:
            continue
        steps = cure(finding, hands, allowed=allowed, on_step=lambda step: note(clean(f"+ {step.command}")))
        _log(finding, steps)
        for done in steps:
            if done.result is Result.LEFT:
                note(clean(f"left to you: {_words(done.step, language)}"))
            elif done.result is Result.FAILED:
                note(clean(f"failed: {done.step.command}: {done.said.strip()}"))
                note("Stopped: nothing more is done.")
                return report
        again = _examine(system, expected, [check for check in checks if check.name == finding.check])
        if any(found.subject == finding.subject for found in again.findings):
            if any(done.result is Result.LEFT for done in steps):
                continue
            note(f"{finding.code} is still there after its cure. Stopped: nothing more is done.")
            return report
        note(f"{finding.code} is cured.")
    return _examine(system, expected, checks)


def _allowed(finding: Finding, language: str, *, yes: bool, disruptive: bool) -> frozenset[Risk]:
    """Which steps may be done; none where nothing of the cure goes by itself, or nobody agrees to it."""
    risks = {Risk.SAFE, Risk.DISRUPTIVE} if disruptive or not yes else {Risk.SAFE}
    first = finding.cure[0] if finding.cure else None
    if first is None or first.by_hand or first.risk not in risks:
        return frozenset()
    if yes:
        return frozenset(risks)
    note(clean(f"\n{finding.code}  {finding.title.of(language)}"))
    for number, step in enumerate(finding.cure, 1):
        note(clean(f"  {number}. {_words(step, language)}"))
    if not sys.stdin.isatty():
        raise InvalidInput("--fix asks, and there is no terminal to ask at", next_step="add --yes")
    return frozenset(risks) if typer.confirm("Do these steps?", err=True) else frozenset()


def _log(finding: Finding, steps: Sequence[StepDone]) -> None:
    """One line for each step that was done, in ``doctor.log`` of the home directory."""
    from hrm.config.home import Home

    home = Home.locate()
    home.create()
    at = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    with open(home.path / LOG, "a", opener=lambda name, flags: os.open(name, flags, 0o600)) as log:
        for done in steps:
            said = " ".join(done.said.split())[:500]
            log.write(
                f"{at} {finding.code} {done.result} {done.step.command or done.step.about.en} {said}".rstrip() + "\n"
            )
