"""`hrm run` feels like running the command."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import signal
import struct
import subprocess
import termios
from pathlib import Path
from typing import Any

import pytest

from hrm.testing import eventually
from tests.acceptance.conftest import DEADLINE_S, HRM, Hrm
from tests.acceptance.terminals import exit_code, in_terminal

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"


def test_it_prints_what_the_command_prints_and_exits_as_it_does(up: Hrm) -> None:
    result = up("run", "--", "sh", "-c", "echo hi; echo oops >&2; exit 3")

    assert (result.code, result.out, result.err) == (3, "hi\n", "oops\n")


def test_it_reads_what_the_command_reads(up: Hrm) -> None:
    assert up("run", "--", "cat", stdin="x\n").out == "x\n"


def test_a_large_input_arrives_whole(up: Hrm) -> None:
    text = "".join(f"line {number}\n" for number in range(300_000))

    out = up("run", "--", "sha256sum", stdin=text).out

    assert out.split()[0] == hashlib.sha256(text.encode()).hexdigest()


def test_a_large_output_arrives_whole(up: Hrm) -> None:
    out = up("run", "--", "seq", "200000").out

    assert out == "".join(f"{number}\n" for number in range(1, 200_001))


def test_output_beyond_the_limit_is_not_kept_but_told(up: Hrm) -> None:
    result = up("run", "--", "head", "-c", "3000000", "/dev/zero")

    assert len(result.out) == 2 << 20
    assert f"hrm: {3_000_000 - (2 << 20)} bytes of output beyond the node's log_limit were not kept" in result.err


def test_it_runs_where_the_caller_is_with_the_callers_environment(up: Hrm, tmp_path: Path) -> None:
    (tmp_path / "here.sh").write_text("#!/bin/sh\necho $COLOUR $1 $(pwd -P)\n")
    (tmp_path / "here.sh").chmod(0o755)

    result = up("run", "--env", "COLOUR=blue", "--", "./here.sh", "a b", cwd=tmp_path)

    assert result.out == f"blue a b {tmp_path.resolve()}\n"


def test_every_variable_of_hrms_in_a_container_is_in_the_documentation(up: Hrm) -> None:
    printed = up("run", "--clean-env", "--timeout", "1h", "--", "env").out
    table = DOCS.read_text(encoding="utf-8").partition("| Variable | In a container |")[2].partition("\n\n")[0]

    variables = {line.partition("=")[0] for line in printed.splitlines() if "HRM_" in line or "CUDA_" in line}

    assert {"HRM_CONTAINER_ID", "HRM_END_TIME", "CUDA_VISIBLE_DEVICES"} <= variables
    assert variables - set(re.findall(r"`([A-Z_]+)`", table)) == set()


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["no-such-program"], 127),
        (["/etc/passwd"], 126),
        (["sh", "-c", "kill -TERM $$"], 143),
        (["sh", "-c", "kill -KILL $$"], 137),
    ],
)
def test_exit_codes_are_a_shells(up: Hrm, command: list[str], code: int) -> None:
    assert up("run", "--", *command).code == code


def test_a_directory_that_is_not_there_is_named(up: Hrm) -> None:
    result = up("run", "--workdir", "/no/such/place", "--", "true")

    assert result.code != 0
    assert "/no/such/place" in result.err


def test_two_at_once_work(up: Hrm) -> None:
    with up.started("run", "--", "sh", "-c", "echo one") as one, up.started("run", "--", "sh", "-c", "echo two") as two:
        assert (one.communicate(timeout=DEADLINE_S)[0], two.communicate(timeout=DEADLINE_S)[0]) == ("one\n", "two\n")
        assert (one.returncode, two.returncode) == (0, 0)


def test_several_tasks_print_whole_lines_and_the_highest_code_counts(up: Hrm) -> None:
    result = up("run", "--tasks", 5, "--label", "--", "sh", "-c", "echo I am $HRM_TASK_INDEX; exit $HRM_TASK_INDEX")

    assert sorted(result.out.splitlines()) == [f"{task}: I am {task}" for task in range(5)]
    assert result.code == 4


def test_a_reader_that_leaves_ends_it_without_a_word(up: Hrm) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{HRM} run -- yes | head -2"], env=up.env, capture_output=True, text=True, timeout=DEADLINE_S
    )

    assert (done.stdout, done.stderr) == ("y\ny\n", "")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_the_caller_closed_are_no_hindrance(up: Hrm, closed: str) -> None:
    script = f'"$0" run -- sh -c "echo out; echo err >&2; exit 3" {closed}'

    done = subprocess.run(["sh", "-c", script, HRM], env=up.env, capture_output=True, text=True, timeout=DEADLINE_S)

    assert done.returncode == 3
    assert done.stdout == ("" if ">&-" in closed.split() else "out\n")
    assert done.stderr == ("" if "2>&-" in closed else "err\n")


def test_a_directory_that_was_deleted_under_the_caller_is_told(up: Hrm, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    script = f'mkdir {gone}; cd {gone}; rmdir {gone}; "$0" run -- true; echo $?; "$0" run --workdir / -- pwd'

    done = subprocess.run(["sh", "-c", script, HRM], env=up.env, capture_output=True, text=True, timeout=DEADLINE_S)

    assert done.stdout == "2\n/\n", done.stderr
    assert done.stderr.startswith("hrm: the directory you are in is gone")


# --- signals


def started(app: subprocess.Popen[str]) -> None:
    """Until the command has printed its first line."""
    assert app.stdout is not None
    assert app.stdout.readline()


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "USR1", "USR2"])
def test_signals_reach_the_command(up: Hrm, name: str) -> None:
    script = f"trap 'echo got {name}; exit 9' {name}; echo ready; while :; do sleep 0.05; done"

    with up.started("run", "--", "sh", "-c", script) as run:
        started(run)
        run.send_signal(getattr(signal, f"SIG{name}"))
        out, _ = run.communicate(timeout=DEADLINE_S)

    assert (run.returncode, out) == (9, f"got {name}\n")


def test_a_second_interrupt_kills_what_ignores_the_first(up: Hrm) -> None:
    script = "trap 'echo no' INT; echo ready; while :; do sleep 0.05; done"

    with up.started("run", "--", "sh", "-c", script) as run:
        started(run)
        run.send_signal(signal.SIGINT)
        started(run)  # "no"
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=DEADLINE_S)

    assert run.returncode in (137, 143)


def test_losing_the_client_ends_the_job(up: Hrm) -> None:
    with up.started("run", "--name", "lost client", "--", "sh", "-c", "echo ready; sleep 600") as run:
        started(run)
        run.kill()

    (app,) = [app for app in up.apps() if app["name"] == "lost client"]
    eventually(lambda: up.state(app["application_id"]) == "KILLED", timeout_s=DEADLINE_S)


def test_a_detached_job_needs_no_client(up: Hrm) -> None:
    result = up("run", "--detach", "--", "sh", "-c", "sleep 0.3; echo done")
    app = result.out.strip()

    assert up("wait", app).code == 0
    assert up("logs", app).out == "done\n"


def test_what_waits_is_ended_by_an_interrupt(up: Hrm) -> None:
    blocker = up("run", "--detach", "--cpus", 4, "--", "sleep", "600").out.strip()
    try:
        with up.started("run", "--name", "waits", "--", "true") as run:
            eventually(lambda: any(app["name"] == "waits" for app in up.apps("--state", "ACCEPTED")))
            run.send_signal(signal.SIGINT)
            run.communicate(timeout=DEADLINE_S)
        assert run.returncode != 0
        (app,) = [app for app in up.apps() if app["name"] == "waits"]
        assert app["state"] == "KILLED"
    finally:
        up("kill", blocker)


# --- terminals


def test_in_a_terminal_the_command_has_one_of_the_same_size(up: Hrm) -> None:
    script = """
        read ready; test -t 0 && test -t 1 && stty size
        until test "$(stty size)" = "44 111"; do sleep 0.05; done
        exit 7
    """

    with in_terminal(up, "run", "--", "sh", "-c", script, rows=33, columns=99) as (pid, terminal):
        terminal.type("\n")
        terminal.expect("33 99")
        fcntl.ioctl(terminal.leader, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 111, 0, 0))
        os.kill(pid, signal.SIGWINCH)
        assert exit_code(pid) == 7


def test_in_a_terminal_ctrl_c_is_a_key_that_the_commands_own_terminal_makes_a_signal(up: Hrm) -> None:
    script = "trap 'echo interrupted; exit 5' INT; echo ready; while :; do sleep 0.05; done"

    with in_terminal(up, "run", "--", "sh", "-c", script) as (pid, terminal):
        terminal.expect("ready")
        eventually(lambda: not termios.tcgetattr(terminal.leader)[3] & termios.ISIG, timeout_s=DEADLINE_S)
        terminal.type("\x03")
        terminal.expect("interrupted")
        code = exit_code(pid)
        after = termios.tcgetattr(terminal.leader)

    assert code == 5
    assert after[3] == terminal.before[3]


def test_in_a_terminal_why_it_waits_is_said(up: Hrm) -> None:
    blocker = up("run", "--detach", "--cpus", "4", "--", "sleep", "600").out.strip()
    try:
        with in_terminal(up, "run", "--", "true") as (pid, terminal):
            terminal.expect("waits in default: ")
            up("kill", blocker)
            assert exit_code(pid) == 0
    finally:
        up("kill", blocker)


# --- servers that come and go


def test_without_a_server_one_is_started_and_shared_and_leaves_when_idle(hrm: Hrm) -> None:
    hrm.configure("server: {idle_exit: 1s}\n")

    # The first stays until the second has begun: else the server might leave in between.
    patient = ("sh", "-c", "until test -e here; do sleep 0.05; done; echo one")
    options: dict[str, Any] = {"cwd": hrm.home}

    with (
        hrm.started("run", "--", *patient, **options) as one,
        hrm.started("run", "--", "sh", "-c", "touch here; echo two", **options) as two,
    ):
        outputs = [process.communicate(timeout=DEADLINE_S)[0] for process in (one, two)]
    pid = hrm.pid

    assert outputs == ["one\n", "two\n"]
    assert (hrm.home / "server.log").read_text().count("ready") == 1
    if pid is not None:  # it may be quicker than we are
        eventually(lambda: hrm("status").code == 3, timeout_s=DEADLINE_S)


def test_a_run_outlives_a_restart_of_the_server(hrm: Hrm) -> None:
    assert hrm("up", "--detach").code == 0
    script = "echo before; while ! test -e go; do sleep 0.05; done; echo after; exit 4"

    with hrm.started("run", "--", "sh", "-c", script, cwd=hrm.home) as run:
        started(run)
        assert hrm("down").code == 0
        assert hrm("up", "--detach").code == 0
        (hrm.home / "go").touch()
        out, err = run.communicate(timeout=DEADLINE_S)

    assert (run.returncode, out) == (4, "after\n")
    assert "waiting up to 30 s" in err


def test_a_run_whose_server_has_gone_can_be_left(hrm: Hrm) -> None:
    assert hrm("up", "--detach").code == 0

    with hrm.started("run", "--", "sh", "-c", "echo ready; sleep 600") as run:
        started(run)
        assert hrm("down").code == 0
        assert run.stderr is not None
        run.send_signal(signal.SIGINT)
        eventually(lambda: "once more leaves it alone" in (run.stderr.readline() if run.stderr else ""))
        run.send_signal(signal.SIGINT)

        assert run.wait(timeout=180) == 130
    hrm("up", "--detach")
