"""Terminals asked for by name, and shells in containers."""

from __future__ import annotations

import pytest

from tests.acceptance.conftest import Hrm
from tests.acceptance.terminals import exit_code, in_terminal


def test_a_terminal_can_be_asked_for_as_docker_and_kubectl_do(up: Hrm) -> None:
    with in_terminal(up, "run", "-it", "--", "sh", "-c", "test -t 0 && test -t 1 && stty size; exit 7") as (
        pid,
        terminal,
    ):
        terminal.expect("24 80")
        assert exit_code(pid) == 7


def test_where_there_is_no_terminal_that_is_said_and_the_command_runs_without(up: Hrm) -> None:
    result = up("run", "-it", "--", "sh", "-c", "test -t 1 || cat", stdin="typed before\n")

    assert (result.code, result.out) == (0, "typed before\n")
    assert result.err == "hrm: the command gets no terminal: standard input is none\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-it", "--tasks", "2", "--", "cat"), "--tty: 2 tasks cannot read one input"),
        (("-i", "--no-stdin", "--", "cat"), "--interactive: --no-stdin leaves standard input alone"),
        (("-t", "--detach", "--", "cat"), "--tty: --detach leaves nobody to type"),
        (("-t", "2h", "sleep", "1"), "a time limit is --timeout 2h"),
    ],
)
def test_what_contradicts_a_terminal_is_refused(up: Hrm, arguments: tuple[str, ...], words: str) -> None:
    result = up("run", *arguments)

    assert result.code == 2
    assert words in result.err


def test_a_shell_is_ones_own_in_a_container_and_leaving_it_ends_the_job(up: Hrm) -> None:
    with in_terminal(up, "shell", "--shell", "/bin/sh", "--cpus", "2", "--memory", "100M") as (pid, terminal):
        terminal.type("echo cpus $HRM_CPUS_PER_TASK memory $HRM_MEMORY_MIB\n")
        terminal.expect("cpus 2 memory 100")
        terminal.type("sh -c 'echo it ${BEGINS:-begins}; sleep 600'\n")
        terminal.expect("it begins")
        terminal.type("\x03")
        terminal.type("echo $((6 * 7))\n")
        terminal.expect("42")
        terminal.type("exit 5\n")
        assert exit_code(pid) == 5

    assert [app["state"] for app in up.apps() if app["name"] == "shell"] == ["FAILED"]


def test_a_shell_without_a_terminal_reads_commands(up: Hrm) -> None:
    result = up("shell", stdin="echo $HRM_JOB_NAME; exit 3\n")

    assert (result.code, result.out) == (3, "shell\n")
    assert "gets no terminal" in result.err
