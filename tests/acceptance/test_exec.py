"""Programs and shells beside tasks that run."""

from __future__ import annotations

import getpass
import signal
from collections.abc import Iterator

import pytest

from hrm.testing import eventually
from tests.acceptance.conftest import DEADLINE_S, Hrm
from tests.acceptance.terminals import exit_code, in_terminal

#: It says that its traps are set, and then waits for a child that is ended with it.
WAITS = "echo ready; sleep 1000 & wait"


@pytest.fixture(scope="module")
def app(up: Hrm) -> Iterator[str]:
    """Two tasks that run."""
    begun = up("submit", "--tasks", "2", "--env", "COLOUR=blue", "--workdir", "/", "--", "sh", "-c", WAITS).out.split()
    for task in "01":
        eventually(lambda task=task: "ready" in up("logs", begun[0], "--task", task).out, timeout_s=DEADLINE_S)
    yield begun[0]
    up("kill", begun[0])


def test_a_program_runs_beside_the_task_that_is_named_and_its_exit_code_is_the_exit_code(up: Hrm, app: str) -> None:
    result = up("exec", app, "--task", "1", "--", "sh", "-c", "echo $HRM_TASK_INDEX $COLOUR; pwd; echo no >&2; exit 7")

    assert (result.code, result.out, result.err) == (7, "1 blue\n/\n", "no\n")
    assert up("logs", app, "--task", "1").out == "ready\n", "the task's own output has nothing of it"


def test_standard_input_is_passed_on_to_its_end(up: Hrm, app: str) -> None:
    text = "line\n" * 100_000

    assert up("exec", app, "--", "cat", stdin=text).out == text


def test_environment_and_place_can_be_others(up: Hrm, app: str) -> None:
    result = up("exec", app, "-e", "COLOUR=red", "--workdir", "/tmp", "--", "sh", "-c", "echo $COLOUR; pwd")

    assert result.out == "red\n/tmp\n"


def test_a_shell_in_a_container_that_runs_has_a_terminal_and_the_job_goes_on_after_it(up: Hrm, app: str) -> None:
    with in_terminal(up, "shell", "--app", app, "--shell", "/bin/sh") as (pid, terminal):
        terminal.type("stty size; echo task $HRM_TASK_INDEX\n")
        terminal.expect("24 80")
        terminal.expect("task 0")
        terminal.type("sh -c 'echo it ${BEGINS:-begins}; sleep 600'\n")
        terminal.expect("it begins")
        terminal.type("\x03")
        terminal.type("echo $((6 * 7))\n")
        terminal.expect("42")
        terminal.type("exit 5\n")
        assert exit_code(pid) == 5

    assert up.state(app) == "RUNNING"


def test_a_signal_to_the_client_reaches_the_program(up: Hrm, app: str) -> None:
    program = "trap 'echo caught; exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    with up.started("exec", app, "--no-stdin", "--", "sh", "-c", program) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=DEADLINE_S)

    assert (process.returncode, out) == (3, "caught\n"), err


def test_it_ends_with_its_client(up: Hrm, app: str) -> None:
    with up.started("exec", app, "--no-stdin", "--", "sh", "-c", "echo $$; sleep 1000; true") as process:
        assert process.stdout is not None
        pid = process.stdout.readline().strip()
        process.kill()

    eventually(lambda: up("exec", app, "--", "kill", "-0", pid).code != 0, timeout_s=DEADLINE_S)
    assert up.state(app) == "RUNNING"


def test_it_ends_with_the_job(up: Hrm) -> None:
    app = up("submit", "--", "sh", "-c", WAITS).out.split()[0]
    eventually(lambda: "ready" in up("logs", app).out, timeout_s=DEADLINE_S)
    with up.started("exec", app, "--no-stdin", "--", "sh", "-c", "echo ready; sleep 1000; true") as process:
        assert process.stdout is not None
        process.stdout.readline()
        up("kill", app)
        process.communicate(timeout=DEADLINE_S)

    assert process.returncode in (137, 143)
    over = up("exec", app, "--", "true")
    assert (over.code, "is over" in over.err) == (2, True)


def test_who_joined_what_stands_in_the_event_log(up: Hrm, app: str) -> None:
    up("exec", app, "--", "uname", "-s")

    with up.started("events", app) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        joined = next(line for line in lines if "program_joined" in line and "uname" in line)
    assert getpass.getuser() in joined


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("exec", "APP", "--task", "7", "--", "true"), "has tasks 0 to 1, not 7"),
        (("exec", "APP", "--", "no-such-program"), "command not found: no-such-program"),
        (("exec", "APP", "--workdir", "/no/such/place", "--", "true"), "/no/such/place"),
        (("exec", "APP", "--workdir", "here", "--", "true"), "not an absolute path"),
        (("exec", "APP", "-e", "HRM_APPLICATION_ID=1", "--", "true"), "HRM's to say"),
        (("exec", "APP", "-e", "COLOUR", "--", "true"), "not NAME=VALUE"),
        (("exec", "APP", "-i", "--no-stdin", "--", "true"), "leaves standard input alone"),
        (("exec", "999999", "--", "true"), "no application"),
        (("shell", "--app", "APP", "--gpus", "1"), "joins a container that has its resources"),
    ],
)
def test_what_cannot_be_is_refused_in_words(up: Hrm, app: str, arguments: tuple[str, ...], words: str) -> None:
    result = up(*(app if word == "APP" else word for word in arguments))

    assert (result.code, words in result.err) == (2, True), result.err
