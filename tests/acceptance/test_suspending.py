"""Suspending from the command line, by whatever this machine has."""

from __future__ import annotations

from hrm.testing import eventually
from tests.acceptance.conftest import Hrm

TICKING = "i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo $i; sleep 0.1; done"


def test_an_application_is_suspended_over_a_restart_goes_on_and_can_be_killed(hrm: Hrm) -> None:
    hrm("up", "--detach")
    hrm("submit", "--", "sh", "-c", TICKING)
    hrm("submit", "--", "sleep", "1000")
    eventually(lambda: "2\n" in hrm("logs", "1").out and hrm.state("2") == "RUNNING")

    done = hrm("suspend", "1,2")
    assert (done.code, done.out) == (0, "1 is suspended\n2 is suspended\n")
    assert hrm("ps").out.count("SUSPENDED") == 2
    hrm("down")
    hrm("up", "--detach")
    eventually(lambda: hrm("ps").out.count("SUSPENDED") == 2)
    printed = hrm("logs", "1").out
    assert "100\n" not in printed

    assert hrm("resume", "1").out == "1 goes on\n"
    assert hrm("wait", "1").code == 0
    assert hrm("logs", "1").out.splitlines() == [str(number) for number in range(1, 101)]
    hrm("kill", "2")
    eventually(lambda: hrm.state("2") == "KILLED")
    over = hrm("suspend", "1")
    assert over.code != 0
    assert "is over" in over.err
