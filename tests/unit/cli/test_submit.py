"""`hrm submit` and `hrm wait`, and the options that say what a job is."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from hrm.model.errors import NoServer, StoreError
from hrm.model.jobs import DEFAULT_RESOURCES, GangSpec, JobSpec, MasterSpec
from hrm.model.resources import Resources
from hrm.model.states import ApplicationState, TaskState
from tests.unit.cli.cli_fakes import FakeClient, app_id, application, task


def only(server: FakeClient) -> JobSpec:
    ((job, _),) = server.submitted
    return job


def gone() -> NoServer:
    return NoServer("no server answers")


# --- what is submitted


def test_submit_prints_the_id_and_nothing_else(hrm, server: FakeClient) -> None:
    result = hrm("submit", "--", "sleep", "10")

    assert (result.code, result.out, result.err) == (0, f"{app_id(1)}\n", "")
    assert only(server).groups[0].command == ("sleep", "10")


def test_options_end_where_the_command_begins(hrm, server: FakeClient) -> None:
    hrm("submit", "--cpus", "2", "python", "train.py", "--cpus", "8", "-o", "json", "--", "x")

    assert only(server).groups[0].command == ("python", "train.py", "--cpus", "8", "-o", "json", "--", "x")


def test_a_job_asks_for_one_cpu_and_one_gib_runs_here_and_stays_without_its_client(hrm, server: FakeClient) -> None:
    hrm("submit", "true")
    job = only(server)

    assert job.groups[0].resources == DEFAULT_RESOURCES == Resources(memory_mib=1024, vcores_milli=1000)
    assert job.groups[0].workdir == os.getcwd()
    assert (job.attached, job.stdin, job.terminal) == (False, False, None)


def test_every_option_reaches_the_job(hrm, server: FakeClient) -> None:
    hrm(
        "submit", "--queue", "research", "--cpus", "0.5", "--memory", "4G", "--gpus", "*2080*:1", "--tasks", "8",
        "--name", "$(x) `y`; z", "--env", "A=1=2", "--workdir", "/data", "--timeout", "10:30", "--retries", "2",
        "--max-failures", "3", "--priority", "5", "--", "true",
    )  # fmt: skip
    job = only(server)
    (group,) = job.groups

    assert (job.queue, job.name, job.max_failures, job.priority) == ("research", "$(x) `y`; z", 3, 5)
    assert group.resources == Resources(memory_mib=4096, vcores_milli=500, gpus_milli=1000)
    assert (group.gpu_model, group.tasks, group.retries) == ("*2080*", 8, 2)
    assert (group.workdir, group.timeout_s, group.env["A"]) == ("/data", 630.0, "1=2")


def test_the_callers_environment_is_passed_without_what_is_not_its_own(
    hrm, server: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLOUR", "blue")
    for name in ("HRM_TASK_INDEX", "HRM_END_TIME", "HRM_TOKEN"):
        monkeypatch.setenv(name, "7")
    monkeypatch.setenv("1 bad name", "x")
    monkeypatch.setitem(os.environ, "NOT_TEXT", "\udcff")

    hrm("submit", "true")
    env = only(server).groups[0].env

    assert env["COLOUR"] == "blue"
    assert {"HRM_TASK_INDEX", "HRM_END_TIME", "HRM_TOKEN", "1 bad name", "NOT_TEXT"} & set(env) == set()


def test_a_clean_environment_has_only_what_is_named(hrm, server: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLOUR", "blue")

    hrm("submit", "--clean-env", "--env", "COLOUR", "--env", "A=", "true")

    assert only(server).groups[0].env == {"COLOUR": "blue", "A": ""}


def test_options_win_over_a_job_file_which_wins_over_the_environment(
    hrm, server: FakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A", "caller")
    monkeypatch.setenv("B", "caller")
    monkeypatch.setenv("C", "caller")
    path = tmp_path / "job.yaml"
    path.write_text("{command: [x], cpus: 2, memory: 2G, tasks: 3, env: {B: file, C: file}, name: f}")

    hrm("submit", "--cpus", "4", "--env", "C=option", path)
    job = only(server)
    (group,) = job.groups

    assert (job.name, group.tasks) == ("f", 3)
    assert group.resources == Resources(memory_mib=2048, vcores_milli=4000)
    assert (group.env["A"], group.env["B"], group.env["C"]) == ("caller", "file", "option")


# --- bad input


def test_a_job_file_with_a_wrong_key_is_refused_with_line_and_nearest_right_key(
    hrm, server: FakeClient, tmp_path: Path
) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("name: x\ncomand: [x]\n")

    result = hrm("submit", path)

    assert result.code == 2
    assert f"{path}:2: comand: unknown key (did you mean 'command'?)" in result.err
    assert server.submitted == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--cpus", "-1", "true"], "--cpus: cannot be negative: -1"),
        (["--cpus", "0", "true"], "cpus: must be above zero"),
        (["--memory", "0", "true"], "memory: must be above zero"),
        (["--memory", "-4G", "true"], "--memory: not an amount of memory: '-4G'"),
        (["--tasks", "0", "true"], "tasks: must be from 1 to 100000: 0"),
        (["--tasks", "100001", "true"], "tasks: must be from 1 to 100000: 100001"),
        (["--timeout", "soon", "true"], "--timeout: not a duration: 'soon'"),
        (["--env", "1A=x", "true"], "env: not a variable: '1A'"),
        (["--env", "NOT_SET_ANYWHERE", "true"], "--env: 'NOT_SET_ANYWHERE' has no value"),
        (["--gpus", "1.5", "true"], "a fraction of a GPU lies on one device"),
        (["--name", "a\x1bb", "true"], "name: "),
        (["--gang-timeout", "soon", "true"], "--gang-timeout: not a duration: 'soon'"),
        (["--tasks-per-node", "0", "true"], "tasks_per_node: must be from 1 to 4096: 0"),
        (["--gang", "--master", "true"], "gang: a master asks for its containers itself"),
        (["/nowhere/job.yaml"], "/nowhere/job.yaml: cannot be read: No such file or directory"),
        (["job.yaml", "--wait"], "options stand before the job file"),
        ([""], "command: is empty"),
    ],
)
def test_bad_input_exits_2_naming_what_is_wrong(hrm, server: FakeClient, arguments: list[str], named: str) -> None:
    result = hrm("submit", *arguments)

    assert result.code == 2
    assert named in result.err
    assert server.submitted == []


def test_errors_of_hrm_exit_with_the_code_that_was_asked_for(hrm, server: FakeClient) -> None:
    assert hrm("submit", "--error-code", "99", "--cpus", "-1", "true").code == 99
    assert hrm("wait", "--error-code", "99", "17").code == 99


# --- a server that goes away


def test_a_master_of_ones_own_is_submitted_as_one(hrm, server: FakeClient, tmp_path: Path) -> None:
    hrm("submit", "--master", "--", "python", "my_master.py")
    path = tmp_path / "job.yaml"
    path.write_text("{kind: master, max_attempts: 5, command: [python, my_master.py]}")
    hrm("submit", "--master", path)

    assert [job.master for job, _ in server.submitted] == [MasterSpec(), MasterSpec(max_attempts=5)]


@pytest.mark.parametrize(
    ("options", "gang"),
    [
        (["--gang"], GangSpec()),
        (["--gang-timeout", "2h"], GangSpec(timeout_s=7200.0)),
        (["--gang", "--tasks-per-node", "1", "--gang-timeout", "90s"], GangSpec(timeout_s=90.0, tasks_per_node=1)),
        ([], None),
    ],
)
def test_a_gang_is_submitted_as_one(hrm, server: FakeClient, options: list[str], gang: GangSpec | None) -> None:
    hrm("submit", "--tasks", "4", *options, "--", "true")

    assert only(server).gang == gang


def test_a_job_is_opportunistic_by_an_option_or_its_file(hrm, server: FakeClient, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("{command: [x], opportunistic: true}")

    hrm("submit", "--opportunistic", "--", "true")
    hrm("submit", path)
    hrm("submit", "--", "true")

    assert [job.opportunistic for job, _ in server.submitted] == [True, True, False]


def test_options_of_a_gang_win_over_a_job_file(hrm, server: FakeClient, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("{command: [x], tasks: 3, gang: {tasks_per_node: 1, timeout: 1h}}")

    hrm("submit", "--gang-timeout", "2h", path)

    assert only(server).gang == GangSpec(timeout_s=7200.0, tasks_per_node=1)


def test_a_submit_whose_answer_was_lost_is_repeated_as_the_same_submit(hrm, server: FakeClient, clock) -> None:
    server.errors = [gone(), gone()]

    result = hrm("submit", "true")

    assert result.out == f"{app_id(1)}\n"
    assert len(server.submitted) == 3
    assert len({submit_id for _, submit_id in server.submitted}) == 1
    assert server.submitted[0][1]


def test_a_submit_that_is_refused_is_not_repeated(hrm, server: FakeClient, clock) -> None:
    server.errors = [StoreError("the disk is full")]

    result = hrm("submit", "true")

    assert (result.code, len(server.submitted)) == (1, 1)
    assert "the disk is full" in result.err


def test_a_server_that_does_not_come_back_is_given_up(hrm, server: FakeClient, clock) -> None:
    server.errors = [gone() for _ in range(100)]

    assert hrm("submit", "true").code == 3


# --- waiting


def test_submit_wait_in_json_says_how_it_ended_and_exits_with_its_code(hrm, server: FakeClient) -> None:
    server.ends_as = application(0, ApplicationState.FAILED, exit_code=42, tasks_total=3, tasks_succeeded=2)

    result = hrm("submit", "--wait", "-o", "json", "true")
    report = json.loads(result.out)

    assert result.code == 42
    assert report["application_id"] == app_id(1)
    assert (report["state"], report["tasks_succeeded"], report["tasks_failed"]) == ("FAILED", 2, 1)


def test_submit_in_json_says_the_id(hrm, server: FakeClient) -> None:
    assert json.loads(hrm("submit", "-o", "json", "true").out)["application_id"] == app_id(1)


def test_wait_exits_0_only_if_all_succeeded(hrm, server: FakeClient) -> None:
    server.apps = [application(1, ApplicationState.FINISHED), application(2, ApplicationState.FINISHED)]
    well = hrm("wait", "1", "2")
    server.apps.append(application(3, ApplicationState.FAILED, exit_code=7))
    badly = hrm("wait", "1-3")

    assert (well.code, well.err) == (0, "")
    assert badly.code == 7


def test_an_application_that_was_killed_is_a_failure_even_without_an_exit_code(hrm, server: FakeClient) -> None:
    server.apps = [application(1, ApplicationState.KILLED, message="killed by me")]

    result = hrm("wait", "1")

    assert result.code == 1
    assert "1 (job1) KILLED: killed by me" in result.err


def test_after_a_failed_wait_the_command_that_shows_more_is_said(hrm, server: FakeClient) -> None:
    server.apps = [application(1, ApplicationState.FAILED, tasks_total=1500, message="1 of 1500 tasks failed")]
    server.task_reports = [*(task(index, TaskState.SUCCEEDED) for index in range(1200)), task(1200, TaskState.FAILED)]

    assert "hrm logs 1 --task 1200 --stderr" in hrm("wait", "1").err


def test_wait_gives_up_after_its_timeout(hrm, server: FakeClient) -> None:
    server.apps = [application(1)]

    result = hrm("wait", "1", "--timeout", "10ms")

    assert result.code == 124
    assert "not over after 0.01 s: 1" in result.err


def test_ctrl_c_while_waiting_leaves_the_job_running_and_says_how_to_go_on(
    hrm, server: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(application_id: str, timeout_s: float | None = None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(server, "wait", interrupt)

    result = hrm("submit", "--wait", "true")

    assert result.code == 130
    assert "`hrm wait 1`" in result.err
    assert "`hrm kill 1`" in result.err
    assert server.killed == []


def test_waiting_survives_a_server_that_restarts(hrm, server: FakeClient, clock) -> None:
    server.apps = [application(1, ApplicationState.FINISHED)]
    server.errors = [gone(), gone()]

    assert hrm("wait", "1").code == 0


@pytest.mark.parametrize(
    ("rule", "named", "said"),
    [
        ("specified", ["--queue", "users.ada"], ""),
        ("default", [], ""),
        ("default", ["--queue", "default"], ""),
        ("default", ["--queue", "vision"], "hrm: goes to queue users.ada (rule default)\n"),
        ("user", [], "hrm: goes to queue users.ada (rule user)\n"),
    ],
)
def test_where_it_goes_is_said_when_it_is_news(
    hrm, server: FakeClient, monkeypatch: pytest.MonkeyPatch, rule: str, named: list[str], said: str
) -> None:
    submit = server.submit
    monkeypatch.setattr(server, "submit", lambda *a, **k: replace(submit(*a, **k), queue="users.ada", rule=rule))

    assert hrm("submit", *named, "true").err == said
