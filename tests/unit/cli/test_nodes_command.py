"""`hrm nodes` and its subcommands: what is shown of a drain, and what is asked for."""

from __future__ import annotations

import json

from hrm.model.findings import Finding, Severity, Text
from hrm.model.states import NodeState
from tests.unit.cli.cli_fakes import FakeClient, node_report


def test_a_drained_node_shows_who_drained_it_and_why(hrm, server: FakeClient) -> None:
    server.node_reports = [
        node_report(state=NodeState.DRAINING, drained_at=1000.0, drained_by="ada", drain_reason="new disk"),
        node_report(node_id="other"),
    ]

    drained, other = hrm("nodes").out.splitlines()[1:]

    assert "DRAINING" in drained
    assert "drained by ada since" in drained and "(new disk), 1 containers run" in drained
    assert "RUNNING" in other and "process groups" in other


def test_drain_and_undrain_ask_for_each_node_that_is_named(hrm, server: FakeClient) -> None:
    server.node_reports = [node_report(), node_report(node_id="other")]

    drained = hrm("nodes", "drain", "box", "other", "--reason", "new disk")
    undrained = hrm("nodes", "undrain", "box", "-o", "json")

    assert (drained.code, drained.err) == (0, "")
    assert [line.partition(":")[0] for line in drained.out.splitlines()] == ["box is DRAINING", "other is DRAINING"]
    assert "(new disk)" in drained.out
    assert [report["state"] for report in json.loads(undrained.out)] == ["RUNNING"]
    assert server.drains == [("box", "new disk"), ("other", "new disk"), ("box", None)]


def test_a_node_that_is_not_there_exits_2(hrm, server: FakeClient) -> None:
    result = hrm("nodes", "drain", "nowhere")

    assert result.code == 2
    assert "no node 'nowhere'" in result.err


def test_a_reason_cannot_steer_the_terminal(hrm, server: FakeClient) -> None:
    server.node_reports = [node_report(drained_at=1000.0, drained_by="ada", drain_reason="\x1b[2J")]

    assert "\x1b" not in hrm("nodes").out


def test_down_drain_and_kill_exclude_each_other(hrm, server: FakeClient) -> None:
    result = hrm("down", "--drain", "--kill")

    assert result.code == 2
    assert "exclude each other" in result.err


def test_a_node_with_faults_says_the_worst_and_how_many_more(hrm, server: FakeClient) -> None:
    text = Text("/data is stale", "/data 已失效")
    worse, mild, known = (
        Finding(code=f"HRM-NFS-00{number}", check="nfs.mounts", severity=severity, title=text, why=text)
        for number, severity in ((1, Severity.CRITICAL), (2, Severity.WARNING), (3, Severity.INFO))
    )
    server.node_reports = [node_report(findings=[worse, mild, known])]

    assert "HRM-NFS-001 critical: /data is stale (and 1 more)" in hrm("nodes").out
