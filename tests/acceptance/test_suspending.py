"""Suspending from the command line, by whatever this machine has."""

from __future__ import annotations

from pathlib import Path

from hrm.testing import eventually
from tests.acceptance.conftest import Hrm

#: Counts to 2, waits for a file, and counts on.
COUNTING = 'echo 1; echo 2; until [ -e "$1" ]; do sleep 0.05; done; echo 3; echo 4'


def test_an_application_is_suspended_over_a_restart_goes_on_and_can_be_killed(hrm: Hrm, tmp_path: Path) -> None:
    go = tmp_path / "go"
    hrm("up", "--detach")
    hrm("submit", "--", "sh", "-c", COUNTING, "sh", go)
    hrm("submit", "--", "sleep", "1000")
    eventually(lambda: "2\n" in hrm("logs", "1").out and hrm.state("2") == "RUNNING")

    done = hrm("suspend", "1,2")
    assert (done.code, done.out) == (0, "1 is suspended\n2 is suspended\n")
    assert hrm("ps").out.count("SUSPENDED") == 2
    go.touch()
    hrm("down")
    hrm("up", "--detach")
    eventually(lambda: hrm("ps").out.count("SUSPENDED") == 2)
    assert hrm("logs", "1").out == "1\n2\n"

    assert hrm("resume", "1").out == "1 goes on\n"
    assert hrm("wait", "1").code == 0
    assert hrm("logs", "1").out == "1\n2\n3\n4\n"
    hrm("kill", "2")
    eventually(lambda: hrm.state("2") == "KILLED")
    over = hrm("suspend", "1")
    assert over.code != 0
    assert "is over" in over.err
