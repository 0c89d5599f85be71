"""Gangs, as users write and submit them."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.acceptance.conftest import Hrm

EXAMPLE = Path(__file__).parents[2] / "examples" / "all_reduce.py"
SMALL = ("--memory", "128M", "--cpus", "0.1")


def test_the_processes_of_the_example_find_each_other_and_add_up_together(up: Hrm) -> None:
    result = up("run", "--gang", "--tasks", 4, *SMALL, "--", sys.executable, EXAMPLE)

    assert result.code == 0, result.err
    assert sorted(result.out.splitlines()) == [f"rank {rank} of 4: 5 sums of 100000 numbers agree" for rank in range(4)]


def test_a_member_that_fails_ends_those_that_would_wait_for_it(up: Hrm) -> None:
    program = 'if [ "$HRM_NODE_RANK" = 2 ]; then exit 7; fi; sleep 1000'
    result = up("submit", "--gang", "--tasks", 3, *SMALL, "--wait", "--", "sh", "-c", program)

    assert result.code == 7
    history = up("history", result.out.strip(), "-o", "json").json
    assert [(one["task_index"], one["state"]) for one in history] == [(0, "KILLED"), (1, "KILLED"), (2, "FAILED")]
    assert "task 2 of its gang: exit code 7" in history[0]["message"]


def test_more_at_once_than_there_ever_is_is_refused_with_numbers(up: Hrm) -> None:
    result = up("submit", "--gang", "--tasks", 4000, "--memory", "1G", "--", "true")

    assert result.code == 2
    assert "4000 tasks at once do not fit: all nodes together (1) hold" in result.err
