"""Compares nodes of one cluster: names the odd one out, and those that have alike what each must have for itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from hrm.doctor.checks import Fact
from hrm.doctor.faults import Fault
from hrm.model.findings import DoctorReport, Evidence, Finding, Severity, Text

#: As which its findings are told.
CHECK = "cluster.compare"

ODD_ONE_OUT = Fault(
    code="HRM-CLUSTER-001",
    severity=Severity.WARNING,
    title=Text(
        "{fact} of {node} is {value}, and {usual} on {count} others",
        "{node} 的 {fact} 是 {value}，其余 {count} 个节点是 {usual}",
    ),
    why=Text(
        "What runs on one node may fail on another, and nobody knows why.",
        "同一个程序在有的节点能运行，在有的节点会失败，原因难以发现。",
    ),
    cure=Text(
        "Make them alike: install on the odd one what the others have.",
        "使各节点一致：在不同的节点上安装与其他节点相同的版本。",
    ),
)

TWICE = Fault(
    code="HRM-CLUSTER-002",
    severity=Severity.ERROR,
    title=Text("{nodes} have the same {fact}: {value}", "{nodes} 的 {fact} 相同：{value}"),
    why=Text(
        "Each node must have its own: what is meant for one reaches the other.",
        "该值在每个节点上必须唯一，否则会发给另一个节点。",
    ),
    cure=Text("Give all but one of them another.", "除一个节点外，其余节点改用其他值。"),
)


def compare(reports: Sequence[DoctorReport], facts: Sequence[Fact]) -> list[Finding]:
    """What differs between nodes that more than half of those who have it have alike, and what only one may have."""
    return [finding for fact in facts for finding in (_twice if fact.unique else _odd)(fact.name, reports)]


def _odd(name: str, reports: Sequence[DoctorReport]) -> Iterator[Finding]:
    told = {report.node: report.facts[name] for report in reports if name in report.facts}
    if not told:
        return
    (usual, count), *_ = Counter(told.values()).most_common()
    if count * 2 <= len(told):
        # Nobody is the odd one out: they are of several kinds.
        return
    for node, value in told.items():
        if value != usual:
            yield _named(
                ODD_ONE_OUT.found(
                    fact=name, node=node, value=value, usual=usual, count=count, evidence=[Evidence(node, value)]
                )
            )


def _twice(name: str, reports: Sequence[DoctorReport]) -> Iterator[Finding]:
    by_value: dict[str, list[str]] = {}
    for report in reports:
        if name in report.facts:
            by_value.setdefault(report.facts[name], []).append(report.node)
    for value, nodes in by_value.items():
        if len(nodes) > 1:
            yield _named(
                TWICE.found(
                    fact=name, nodes=", ".join(nodes), value=value, evidence=[Evidence(node, value) for node in nodes]
                )
            )


def _named(finding: Finding) -> Finding:
    return replace(finding, check=CHECK)
