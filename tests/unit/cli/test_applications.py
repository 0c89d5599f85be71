"""`hrm ps`, `history`, `explain`, `logs`, `kill`, `queues` and `nodes`."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import yaml

from hrm.cli.output import fitted
from hrm.model.explanations import Change, Ended, Explanation, Failure, Forecast, NodeVerdict, ReasonSpan
from hrm.model.states import ApplicationState, TaskState
from hrm.model.units import LARGEST
from tests.unit.cli.cli_fakes import FakeClient, app_id, application, attempt, queue_report

PS_FIELDS = {
    "application_id", "name", "user", "queue", "state", "tasks_total", "tasks_running", "tasks_succeeded",
    "tasks_failed", "reason",
}  # fmt: skip
HISTORY_FIELDS = {
    "application_id", "queue", "task_index", "attempt", "container_id", "node_id", "started_at", "ended_at",
    "exit_code", "state",
}  # fmt: skip
QUEUE_FIELDS = {"name", "weight", "used", "demand", "fair_share", "min_share", "max_share"}
NODE_FIELDS = {"node_id", "state", "total", "used", "isolation"}


def numbers(out: str) -> list[str]:
    """The first column of a table, without its title."""
    return [line.split()[0] for line in out.splitlines()[1:]]


# --- ps


def test_ps_shows_what_is_not_over_newest_first_and_says_that_there_is_more(hrm, server: FakeClient) -> None:
    server.apps = [application(1, ApplicationState.FINISHED), application(2), application(3, ApplicationState.ACCEPTED)]

    result = hrm("ps")

    assert numbers(result.out) == ["3", "2"]
    assert "hrm ps --all" in result.err


def test_what_is_suspended_is_shown_so_and_goes_on(hrm, server: FakeClient) -> None:
    server.apps = [application(1), application(2), application(3, ApplicationState.FINISHED)]
    server.errors = []

    assert hrm("suspend", "1").out == "1 is suspended\n"
    assert [line.split()[0] for line in hrm("ps").out.splitlines() if "SUSPENDED" in line] == ["1"]
    assert "RUNNING" in hrm("ps", "2").out
    assert [app["application_id"] for app in json.loads(hrm("suspend", "2", "-o", "json").out)] == [app_id(2)]
    assert hrm("resume", "1,2").out == "1 goes on\n2 goes on\n"
    assert "SUSPENDED" not in hrm("ps").out


def test_history_shows_who_is_halted_now(hrm, server: FakeClient) -> None:
    server.attempts = [replace(attempt(1, 0), suspended=True)]

    assert "SUSPENDED" in hrm("history").out


def test_ps_says_nothing_about_more_where_there_is_none(hrm, server: FakeClient) -> None:
    server.apps = [application(1)]

    assert hrm("ps").err == ""


def test_ps_all_shows_everything(hrm, server: FakeClient) -> None:
    server.apps = [application(1, ApplicationState.FINISHED), application(2)]

    assert numbers(hrm("ps", "--all").out) == ["2", "1"]


def test_ps_filters_by_user_queue_and_state(hrm, server: FakeClient) -> None:
    server.apps = [application(1, user="other"), application(2, queue="batch"), application(3, ApplicationState.FAILED)]

    assert numbers(hrm("ps", "--me").out) == ["2"]
    assert numbers(hrm("ps", "--user", "other").out) == ["1"]
    assert numbers(hrm("ps", "--queue", "batch").out) == ["2"]
    assert numbers(hrm("ps", "--state", "failed").out) == ["3"]


def test_ps_fetches_page_after_page_up_to_the_limit(hrm, server: FakeClient) -> None:
    server.apps = [application(seq) for seq in range(1, 2501)]

    assert numbers(hrm("ps", "--limit", 2400).out) == [str(seq) for seq in range(2500, 100, -1)]


def test_ps_in_json_is_a_list_with_every_field_of_the_contract(hrm, server: FakeClient) -> None:
    server.apps = [application(1), application(2, ApplicationState.FINISHED)]

    (report,) = json.loads(hrm("ps", "-o", "json").out)

    assert set(report) >= PS_FIELDS
    assert report["application_id"] == app_id(1)


def test_yaml_says_the_same_as_json(hrm, server: FakeClient) -> None:
    server.apps = [application(1)]

    assert yaml.safe_load(hrm("ps", "-o", "yaml").out) == json.loads(hrm("ps", "-o", "json").out)


def test_an_empty_list_is_an_empty_list(hrm, server: FakeClient) -> None:
    assert json.loads(hrm("ps", "-o", "json").out) == []
    assert hrm("ps").out.split() == [
        "ID",
        "QUEUE",
        "NAME",
        "USER",
        "STATE",
        "TIME",
        "TASKS",
        "DONE",
        "NODES",
        "(REASON)",
    ]


def test_a_table_in_a_pipe_is_plain_and_whole(hrm, server: FakeClient) -> None:
    server.apps = [application(1, message="waits for " + "x" * 200, nodes=[])]

    out = hrm("ps").out

    assert "x" * 200 in out
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("widths", "available", "fitting"),
    [
        ([5, 40, 10], 60, [5, 40, 10]),
        ([5, 40, 10], 40, [5, 25, 10]),
        ([5, 40, 10], 20, [5, 7, 8]),
        ([5, 40, 10], 3, [5, 4, 4]),
    ],
)
def test_a_table_fits_by_cutting_its_widest_columns(widths: list[int], available: int, fitting: list[int]) -> None:
    assert fitted(widths, [False, True, True], available) == fitting


def test_what_users_wrote_cannot_steer_the_terminal(hrm, server: FakeClient) -> None:
    server.apps = [application(1, name="a\x1b]0;gotcha\x07[red]b", nodes=[], message="c\nd")]

    out = hrm("ps").out

    assert "\x1b" not in out
    assert len(out.splitlines()) == 2
    assert "[red]b" in out


# --- selectors


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        (app_id(2), ["2"]),
        ("2", ["2"]),
        ("0002", ["2"]),
        ("last", ["4"]),
        ("1,3", ["1", "3"]),
        ("2-4", ["2", "3", "4"]),
        ("3,1-3", ["3", "1", "2"]),
    ],
)
def test_applications_are_named_in_many_ways(hrm, server: FakeClient, selector: str, selected: list[str]) -> None:
    server.apps = [*(application(seq) for seq in range(1, 5)), application(5, user="other")]

    assert numbers(hrm("ps", selector).out) == selected


def test_all_means_mine_that_are_not_over(hrm, server: FakeClient) -> None:
    server.apps = [application(1), application(2, ApplicationState.FAILED), application(3, user="other")]

    assert hrm("kill", "all").code == 0
    assert server.killed == [(app_id(1), "")]


@pytest.mark.parametrize("selector", ["x", "1-", "4-2", "-", "", "1,,2", "application_1_2", "99999999999", "1-20000"])
def test_what_is_no_selector_is_bad_input(hrm, server: FakeClient, selector: str) -> None:
    server.apps = [application(1)]

    assert hrm("ps", "--", selector).code == 2


def test_an_unknown_number_is_named(hrm, server: FakeClient) -> None:
    server.apps = [application(1)]

    result = hrm("logs", "7")

    assert result.code == 2
    assert app_id(7) in result.err


def test_last_without_any_says_so(hrm, server: FakeClient) -> None:
    result = hrm("explain", "last")

    assert result.code == 2
    assert "me has submitted nothing yet" in result.err


# --- history


def test_history_in_json_has_one_entry_per_attempt_with_every_field_of_the_contract(hrm, server: FakeClient) -> None:
    server.apps = [application(1)]
    server.attempts = [attempt(1, 0), attempt(1, 0, attempt=2), attempt(2, 0)]

    everything = json.loads(hrm("history", "-o", "json").out)
    one = json.loads(hrm("history", "-o", "json", "1").out)

    assert len(everything) == 3
    assert [entry["attempt"] for entry in one] == [1, 2]
    assert set(one[0]) >= HISTORY_FIELDS


def test_history_fetches_page_after_page(hrm, server: FakeClient) -> None:
    server.attempts = [attempt(1, index) for index in range(25_000)]

    assert len(json.loads(hrm("history", "-o", "json").out)) == 25_000


def test_history_as_a_table_shows_what_has_not_ended(hrm, server: FakeClient) -> None:
    server.attempts = [attempt(1, 0, ended_at=None, exit_code=None)]

    row = hrm("history").out.splitlines()[1].split()

    assert row[:6] == ["1", "0", "1", "default", "SUCCEEDED", "-"]


def test_history_says_why_an_attempt_was_preempted(hrm, server: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    why = f"preempted for {app_id(2)} of queue research, which had 0 of its fair share of 2 GPUs for 2s"
    told = why.replace(app_id(2), "application 2")
    server.attempts = [
        attempt(1, 0, state=TaskState.PREEMPTED, exit_code=137, message=why),
        attempt(1, 1, state=TaskState.FAILED, exit_code=3, message="exit code 3"),
        attempt(1, 0),
    ]

    piped = hrm("history").out.splitlines()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    header, first, below, second, third = hrm("history").out.splitlines()

    assert piped[0].endswith("MESSAGE") and piped[1].endswith(told)
    assert [line.split()[-1] for line in piped[2:]] == ["-", "-"]
    assert below == f"    {told}"
    assert "MESSAGE" not in header
    assert ["PREEMPTED" in first, "FAILED" in second, "SUCCEEDED" in third] == [True, True, True]


# --- explain


def test_explain_says_the_sentence_and_the_evidence(hrm, server: FakeClient) -> None:
    server.apps = [application(1)]
    server.explanation = Explanation(
        application_id=app_id(1), reason="cpus_busy", message="1 of 1 nodes has too few CPUs free",
        evidence=[{"kind": "of_next_year", "nodes": 1, "asked": {"vcores_milli": 2000, "memory_mib": 1024}}],
        remedies=["a container has to end"],
        changes=[Change(kind="end_something", text="a container has to end", starts_now=False)],
    )  # fmt: skip

    text = hrm("explain", "1").out
    data = json.loads(hrm("explain", "1", "-o", "json").out)

    assert "1: 1 of 1 nodes has too few CPUs free" in text
    assert "of next year: nodes 1; asked 2 cpu 1G" in text
    assert "a container has to end" in text
    assert (data["reason"], data["evidence"][0]["nodes"]) == ("cpus_busy", 1)
    assert "message" in data


def test_explain_says_how_what_is_over_ended(hrm, server: FakeClient) -> None:
    server.apps = [application(1, ApplicationState.FAILED)]
    failure = Failure(
        task_index=4, attempt=2, node_id="n1", container_id="c", at=70.0, exit_code=137, message="out of memory"
    )
    server.explanation = Explanation(
        application_id=app_id(1), reason="failed", message="failed after 60s: 1 of 5 tasks failed", evidence=[],
        changes=[Change(kind="logs", text="what it printed", starts_now=False, command="hrm logs 1 --task 4")],
        ended=Ended(
            state="FAILED", started_at=10.0, ended_at=70.0, exit_code=137, exit_codes={"0": 4, "137": 2}, more=False,
            first_failure=failure,
        ),
    )  # fmt: skip

    text = hrm("explain", "1").out

    assert "exits:  4 × 0, 2 × 137" in text
    assert "first:  task 4 (try 2) on n1, exit code 137: out of memory" in text
    assert "output: hrm logs 1 --task 4" in text


def test_explain_history_says_for_how_long_it_waited_for_what(hrm, server: FakeClient) -> None:
    server.apps = [application(1)]
    spans = [
        ReasonSpan(reason="behind_others", text="others come first", since=100.0, until=160.0),
        ReasonSpan(reason="insufficient_gpus", text="too few GPUs are free now", since=160.0, until=None),
    ]
    server.explanation = Explanation(
        application_id=app_id(1), reason="insufficient_gpus", message="", evidence=[], at=280.0, history=spans
    )

    lines = hrm("explain", "1", "--history").out.splitlines()

    assert "1m00s  behind_others" in lines[1]
    assert "2m00s  insufficient_gpus" in lines[2]


def test_explain_asks_for_nodes_only_if_told_to(hrm, server: FakeClient) -> None:
    server.apps = [application(1)]
    verdict = NodeVerdict(
        node_id="n1", rack="/r", verdict="insufficient_gpus", free={"gpus_milli": 1000}, total={"gpus_milli": 4000},
        device_free_milli=[0, 1000],
    )  # fmt: skip
    server.explanation = Explanation(
        application_id=app_id(1), reason="insufficient_gpus", message="", evidence=[], nodes=[verdict]
    )

    assert "n1" not in hrm("explain", "1").out
    assert "n1    /r    1/4 gpu     0,1        insufficient_gpus" in hrm("explain", "1", "--nodes").out


def test_ps_start_says_when_there_is_room_where_that_is_known(hrm, server: FakeClient) -> None:
    server.apps = [application(1, tasks_pending=1), application(2, tasks_pending=0)]
    forecast = Forecast(at=None, in_s=None, node_id=None, waits_for=[], basis=[], text="not known")
    server.explanation = Explanation(
        application_id=app_id(1), reason="x", message="", evidence=[], forecast=forecast
    )  # fmt: skip

    header, *rows = hrm("ps", "--start").out.splitlines()

    at = header.index("START")
    assert sorted(row[at : at + 5].strip() for row in rows) == ["-", "?"]


# --- logs, kill


def test_logs_prints_bytes_as_they_are(hrm, server: FakeClient) -> None:
    server.apps = [application(1)]
    server.log = {(0, "stdout"): b"out\n", (3, "stderr"): b"err\n"}

    assert hrm("logs", "1").out == "out\n"
    assert hrm("logs", "1", "--task", 3, "--stderr").out == "err\n"


def test_logs_lists_the_files_that_a_task_wrote_and_shows_one(hrm, server: FakeClient) -> None:
    server.apps = [application(1)]
    server.log = {(0, "gc.log"): b"pause\n"}

    lines = hrm("logs", "1", "--list").out.splitlines()
    assert lines[0].split() == ["FILE", "SIZE", "CHANGED"]
    assert lines[1].split() == ["stdout", "6", "B", "-"]
    assert lines[2].split()[:3] == ["gc.log", "2.0", "KiB"]
    assert [one["name"] for one in json.loads(hrm("logs", "1", "--list", "-o", "json").out)] == ["stdout", "gc.log"]
    assert hrm("logs", "1", "--file", "gc.log").out == "pause\n"


@pytest.mark.parametrize("words", [("--list", "--follow"), ("--list", "--file", "x"), ("--file", "x", "--stderr")])
def test_logs_takes_one_thing_to_show(hrm, server: FakeClient, words: tuple[str, ...]) -> None:
    server.apps = [application(1)]
    assert hrm("logs", "1", *words).code == 2


def test_logs_of_several_tasks_says_which_it_shows(hrm, server: FakeClient) -> None:
    server.apps = [application(1, tasks_total=10)]

    assert "task 0 of 10" in hrm("logs", "1").err


def test_kill_goes_on_after_one_that_does_not_exist(hrm, server: FakeClient) -> None:
    server.apps = [application(1), application(3)]

    result = hrm("kill", "1-3", "--message", "wrong data")

    assert result.code == 2
    assert server.killed == [(app_id(1), "wrong data"), (app_id(3), "wrong data")]


# --- queues, nodes


def test_queues_and_nodes_in_json_have_every_field_of_the_contract(hrm, server: FakeClient) -> None:
    queues, nodes = json.loads(hrm("queues", "-o", "json").out), json.loads(hrm("nodes", "-o", "json").out)

    assert all(set(queue) >= QUEUE_FIELDS for queue in queues)
    assert set(nodes[0]) >= NODE_FIELDS
    assert nodes[0]["total"]["vcores_milli"] == 4000


def test_queues_are_shown_as_a_tree_and_limits_only_where_there_are_any(hrm, server: FakeClient) -> None:
    server.queue_reports = [queue_report("root"), queue_report("a"), queue_report("a.b")]
    plain = hrm("queues").out.splitlines()
    share = {"memory_mib": 4096, "vcores_milli": LARGEST, "gpus_milli": LARGEST}
    server.queue_reports.append(queue_report("c", max_share=share))
    limited = hrm("queues").out.splitlines()

    assert [line[: line.index("fair")].rstrip() for line in plain[1:]] == ["root", "  a", "    b"]
    assert "MAX" not in plain[0]
    assert "MAX" in limited[0]
    assert limited[4].split()[-3:] == ["4G", "1", "0"]


def test_reload_says_what_changed(hrm, server: FakeClient) -> None:
    assert hrm("queues", "reload").out == "added: new\nchanged: default\n"


def test_status_says_which_placement_strategy_was_given_up(
    hrm, server: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sick = replace(server.server(), strategy_trouble="coolest_first: RuntimeError: no sensor")
    monkeypatch.setattr(server, "server", lambda: sick)

    told = "placement strategy coolest_first: RuntimeError: no sensor; containers go where there is room"
    assert told in hrm("status").out


def test_status_says_that_nothing_can_be_written(hrm, server: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    well = hrm("status").out
    sick = replace(server.server(), store_trouble="cannot write hrm.db: disk full")
    monkeypatch.setattr(server, "server", lambda: sick)

    assert "trouble" not in well
    assert "trouble       cannot write hrm.db: disk full; it is tried again until it works\n" in hrm("status").out
