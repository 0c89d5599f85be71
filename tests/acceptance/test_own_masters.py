"""Masters of their own, as users write and submit them."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from hrm.testing import eventually
from tests.acceptance.conftest import Hrm

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_master.py"
#: Runs one command that waits for a file, and says how it ended.
PATIENT = """\
import sys
from hrm.model.requests import ResourceRequest
from hrm.model.resources import Resources
from hrm.sdk import ApplicationMaster

with ApplicationMaster(heartbeat_interval_s=0.1) as master:
    ask = ResourceRequest(resources=Resources(memory_mib=64, vcores_milli=100), count=1)
    container = master.allocate([ask], wait_s=60).allocated[0]
    master.launch(container, "sh", "-c", "while [ ! -e $GO ]; do sleep 0.05; done; exit 7", env={"GO": sys.argv[1]})
    print("launched", flush=True)
    ended = []
    while not ended:
        ended = master.allocate(wait_s=5).ended
    print("ended", ended[0].exit_code, flush=True)
    master.finish("SUCCEEDED", "it ended with 7" if ended[0].exit_code == 7 else "?")
"""


def begun(hrm: Hrm, directory: Path, *options: str) -> str:
    """The patient master, and what it launched, run; returns its application's id."""
    program = directory / "master.py"
    program.write_text(PATIENT)
    master = hrm("submit", "--master", "-m", "256M", *options, "--", sys.executable, program, directory / "go")
    assert master.code == 0, master.err
    app = master.out.strip()
    eventually(lambda: "launched" in hrm("logs", app).out)
    return app


def test_the_distributed_shell_runs_a_command_on_several_containers(up: Hrm) -> None:
    shell = [sys.executable, EXAMPLE, "--containers", 3, "--memory-mib", 64, "--"]
    result = up("submit", "--master", "-m", "256M", "--wait", "--", *shell, "sh", "-c", "echo I am $SHELL_NUMBER")

    assert result.code == 0, result.err
    app = result.out.strip()
    said = sorted(up("logs", app, "--task", task).out for task in (1, 2, 3))
    assert said == ["I am 0\n", "I am 1\n", "I am 2\n"]
    history = up("history", app, "-o", "json").json
    assert [(one["task_index"], one["state"]) for one in history] == [(task, "SUCCEEDED") for task in range(4)]


def test_the_distributed_shell_fails_if_one_of_its_commands_does(up: Hrm) -> None:
    shell = [sys.executable, EXAMPLE, "--containers", 2, "--memory-mib", 64, "--"]
    result = up(
        "submit", "--master", "-m", "256M", "--wait", "--", *shell, "sh", "-c", "exit $SHELL_NUMBER"
    )  # fmt: skip

    assert result.code == 1
    assert "FAILED: 1 of 2 failed" in result.err


def test_a_killed_server_loses_neither_the_master_nor_what_it_runs(hrm: Hrm, tmp_path: Path) -> None:
    assert hrm("up", "--detach").code == 0
    app = begun(hrm, tmp_path)
    assert hrm.pid is not None
    os.kill(hrm.pid, signal.SIGKILL)
    assert hrm("up", "--detach").code == 0
    (tmp_path / "go").touch()

    assert hrm("wait", app, "--timeout", "60s").code == 0
    assert hrm.apps(app)[0]["message"] == "it ended with 7"
    assert [one["attempt"] for one in hrm("history", app, "-o", "json").json] == [1, 1]


def test_a_kill_ends_the_master_and_what_it_runs(up: Hrm, tmp_path: Path) -> None:
    app = begun(up, tmp_path)
    assert up("kill", app).code == 0

    assert up("wait", app, "--timeout", "60s").code != 0
    assert {one["state"] for one in up("history", app, "-o", "json").json} == {"KILLED"}


def test_the_token_is_in_the_masters_environment_and_in_no_other(up: Hrm) -> None:
    result = up("submit", "--wait", "--", "sh", "-c", "echo [$HRM_AM_TOKEN]")

    logs = up("logs", result.out.strip())
    assert (logs.out, logs.err) == ("[]\n", "")
