"""`hrm queues`, `hrm move` and `hrm update`: what is shown, and what is asked for."""

from __future__ import annotations

import json
import re

import pytest

from hrm.model.errors import InvalidInput
from hrm.model.reports import QueueAccessReport
from tests.unit.cli.cli_fakes import FakeClient, app_id, application, queue_report


def test_what_fails_of_several_keeps_the_others_from_nothing_and_tells(hrm, server: FakeClient) -> None:
    server.apps = [application(seq) for seq in (1, 2, 3)]
    server.errors = [InvalidInput("batch runs as many applications as it may (1)", field="queue")]

    result = hrm("move", "1-3", "--queue", "batch")

    assert (result.code, result.out) == (2, "2 is in batch\n3 is in batch\n")
    assert result.err == "hrm: 1: queue: batch runs as many applications as it may (1)\n"


def test_what_fails_alone_fails_as_any_command(hrm, server: FakeClient) -> None:
    server.apps = [application(1)]
    server.errors = [InvalidInput("no queue 'x' takes applications", field="queue", next_step="choose one of: default")]

    result = hrm("move", "1", "--queue", "x")

    assert (result.code, result.out) == (2, "")
    assert result.err == "hrm: queue: no queue 'x' takes applications\n  next: choose one of: default\n"


def test_update_changes_queue_and_priority_and_reports_what_is_now(hrm, server: FakeClient) -> None:
    server.apps = [application(1)]

    both = hrm("update", "1", "--queue", "batch", "--priority", "-3", "-o", "json")
    one = hrm("update", "1", "--priority", "4")
    nothing = hrm("update", "1")

    assert [(app["application_id"], app["queue"], app["priority"]) for app in json.loads(both.out)] == [
        (app_id(1), "batch", -3)
    ]
    assert one.out == "1 is in batch with priority 4\n"
    assert nothing.code == 2
    assert "nothing to change" in nothing.err


def test_queues_say_which_are_in_no_file_only_where_some_are(hrm, server: FakeClient) -> None:
    plain = hrm("queues").out
    server.queue_reports += [queue_report("old", draining=True), queue_report("ada", undeclared=True)]

    header, root, _, old, ada = hrm("queues").out.splitlines()

    assert "STATE" not in plain and "STATE" in header
    assert ("draining" in old, "undeclared" in ada, "draining" in root) == (True, True, False)


def test_what_is_lent_is_shown_only_where_something_is(hrm, server: FakeClient) -> None:
    assert "LENT" not in hrm("queues").out
    server.queue_reports[1] = queue_report("default", opportunistic_used={"memory_mib": 2048, "vcores_milli": 1000})
    assert "LENT" in hrm("queues").out


def test_access_shows_who_may_and_with_mine_only_where_i_may(hrm, server: FakeClient) -> None:
    def row(name: str, may_submit: bool, administers: bool) -> QueueAccessReport:
        return QueueAccessReport(
            name=name,
            may_submit=may_submit,
            administers=administers,
            submitters="ada, group staff",
            administrators="eve",
        )

    server.access_reports = [row("a", False, False), row("b", True, False), row("c", True, True)]

    everything, mine = hrm("queues", "access").out.splitlines(), hrm("queues", "access", "--mine").out.splitlines()

    assert [line.split()[:2] for line in everything[1:]] == [["a", "-"], ["b", "submit"], ["c", "admin"]]
    assert "ada, group staff" in everything[1]
    assert mine == [everything[0], *everything[2:]]


def test_on_a_narrow_terminal_columns_are_left_out_before_any_amount_is_cut_off(
    hrm, server: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    much = {"vcores_milli": 15_500, "memory_mib": 128_819, "gpus_milli": 1000}
    shown = "15.5 cpu 125.8G 1 gpu"
    server.queue_reports += [
        queue_report("users.somebody_with_a_name", undeclared=True, used=much, demand=much, fair_share=much,
                     min_share=much, max_share=much)
    ]  # fmt: skip
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    narrow = hrm("queues")
    monkeypatch.setenv("COLUMNS", "300")
    wide = hrm("queues")

    header, *rest = re.sub(r"\x1b\[\d*m", "", narrow.out).splitlines()
    last = rest[-1]
    assert max(map(len, [header, *rest])) <= 100
    assert header.split("  ")[0] == "QUEUE" and "STATE" in header
    assert (last.count(shown), "…" in narrow.out) == (2, False)
    assert narrow.err == "for want of width without POLICY, WEIGHT, DEMAND, MIN, MAX: -o json has all\n"
    assert (wide.out.splitlines()[-1].count(shown), wide.err) == (5, "")


def test_in_a_pipe_no_column_of_queues_is_left_out(hrm, server: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    server.queue_reports += [queue_report("q" * 90, min_share={"vcores_milli": 1000})]
    monkeypatch.setenv("COLUMNS", "80")

    result = hrm("queues")

    assert result.out.splitlines()[0].split() == [
        "QUEUE", "POLICY", "WEIGHT", "USED", "DEMAND", "FAIR", "SHARE", "MIN", "RUN", "WAIT"
    ]  # fmt: skip
    assert result.err == ""
