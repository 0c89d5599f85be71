"""What `hrm doctor` shows of reports."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from hrm.cli.output import clean
from hrm.model.findings import DoctorReport, Finding, Risk, Severity, Step

_STYLES = {Severity.CRITICAL: "bold red", Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}


def tell_comparison(findings: Sequence[Finding], nodes: int, language: str) -> None:
    """What nodes differ in."""
    for finding in findings:
        tell_finding(finding, language)
    if not findings:
        print(f"{nodes} nodes compared: they are alike")


def plain_cluster(reports: Sequence[DoctorReport], compared: Sequence[Finding], language: str) -> dict[str, Any]:
    """As `--all -o json` shows it."""
    return {
        "healthy": all(report.healthy for report in reports) and not compared,
        "nodes": [plain_report(report, language) for report in reports],
        "compared": [_plain(finding, language) for finding in compared],
    }


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


def tell(report: DoctorReport, language: str) -> None:
    """For people: what was found, what could not be seen, and one line that sums it up."""
    unseen = [f"{run.name}: {what}" for run in report.checks_run for what in run.unseen]
    for finding in report.findings:
        tell_finding(finding, language)
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


def tell_finding(finding: Finding, language: str) -> None:
    """One finding: what it is, why it matters, the lines that show it, the steps of its cure."""
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
        console.print(Styled(clean(f"  {number}. {step_in_words(step, language)}")))
    console.print()


def step_in_words(step: Step, language: str) -> str:
    risk = "" if step.risk is Risk.SAFE else f" [{step.risk}]"
    about = step.about.of(language)
    return f"{about}{risk}" if step.by_hand else f"{step.command}{risk}   # {about}"
