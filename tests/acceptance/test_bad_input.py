"""What people get wrong, through the command line: said clearly, with the next step, and nothing half-done."""

from __future__ import annotations

import http.client
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from hrm.testing import eventually
from tests.acceptance.conftest import DEADLINE_S, Hrm


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--cpus", "-1"], "cannot be negative"),
        (["--cpus", "0"], "must be above zero"),
        (["--memory", "-5G"], "cannot be negative"),
        (["--memory", "0"], "must be above zero"),
        (["--memory", "lots"], "not an amount of memory"),
        (["--gpus", "1.5"], "a fraction of a GPU lies on one device"),
        (["--tasks", "0"], "1"),
        (["--env", "NO-EQUALS"], "NAME=VALUE"),
        (["--timeout", "soon"], "not a duration"),
    ],
)
def test_a_wrong_amount_is_refused_before_anything_is_made(up: Hrm, options: list[str], said: str) -> None:
    before = up.apps()
    refused = up("submit", *options, "--", "true")
    assert refused.code == 2
    assert said in refused.err
    assert up.apps() == before


def test_a_job_file_with_a_wrong_key_names_the_line_and_the_nearest_right_key(up: Hrm, tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text("name: sweep\nqueue: research\ncomand: [sleep, '1']\nmemroy: 1G\n")
    refused = up("submit", job)
    assert refused.code == 2
    assert f"{job}:3" in refused.err and "command" in refused.err
    assert f"{job}:4" in refused.err and "memory" in refused.err


def test_a_job_file_that_cannot_be_read_is_named(up: Hrm, tmp_path: Path) -> None:
    refused = up("submit", tmp_path / "nowhere.yaml")
    assert refused.code == 2
    assert "nowhere.yaml" in refused.err


def test_a_command_that_does_not_exist_exits_127(up: Hrm) -> None:
    result = up("run", "--", "no-such-command-anywhere")
    assert result.code == 127
    assert "no-such-command-anywhere" in result.err


def test_a_name_with_shell_characters_is_only_a_name(up: Hrm, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    name = f"$(touch {mark}); `touch {mark}` & rm -rf *"
    submitted = up("submit", "--wait", "-o", "json", "--name", name, "--", "true")
    assert submitted.json["state"] == "FINISHED"
    assert up.apps(submitted.json["application_id"])[0]["name"] == name
    assert not mark.exists()


def test_a_100_mb_body_is_refused_and_the_server_goes_on(up: Hrm) -> None:
    server = json.loads((up.home / "server.json").read_text())
    connection = http.client.HTTPConnection(server["address"].removeprefix("http://"), timeout=180)
    connection.putrequest("POST", "/api/v1/applications")
    connection.putheader("Authorization", f"Bearer {(up.home / 'token').read_text().strip()}")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(100 << 20))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
    assert up("status").code == 0


def submit_10_000(hrm: Hrm) -> str:
    options = ("--tasks", 10_000, "--cpus", "0.1", "--memory", "1M")
    return hrm("submit", *options, "--", "true").out.strip()


def test_10_000_tasks_in_one_job_are_taken_and_can_be_ended_half_way(up: Hrm) -> None:
    app = submit_10_000(up)
    eventually(lambda: up.apps(app)[0]["tasks_succeeded"] > 100)
    assert up.apps(app)[0]["tasks_total"] == 10_000
    assert up("kill", app).code == 0
    assert up("wait", app).code != 0
    report = up.apps(app)[0]
    assert report["state"] == "KILLED"
    assert report["tasks_succeeded"] + report["tasks_failed"] + report["tasks_killed"] == 10_000


@pytest.mark.real  # half a minute
def test_10_000_tasks_in_one_job_all_run_once(up: Hrm) -> None:
    app = submit_10_000(up)
    eventually(lambda: up.state(app) == "FINISHED", timeout_s=300)
    attempts = up("history", app, "-o", "json").json
    assert sorted(attempt["task_index"] for attempt in attempts) == list(range(10_000))
    assert {(attempt["state"], attempt["exit_code"]) for attempt in attempts} == {("SUCCEEDED", 0)}


def test_1_gb_of_output_fills_no_disk_and_is_told(up: Hrm) -> None:
    submitted = up("submit", "--wait", "-o", "json", "--", "sh", "-c", "head -c 1000000000 /dev/zero; echo done >&2")
    assert submitted.json["state"] == "FINISHED"
    kept = sum(file.stat().st_size for file in (up.home / "node").rglob("*") if file.is_file())
    assert kept < 100 << 20
    assert "done" in up("logs", "--stderr", submitted.json["application_id"]).out


def test_a_corrupt_database_is_left_alone_and_named(hrm: Hrm) -> None:
    (hrm.home / "hrm.db").write_bytes(b"this is no database, " * 1000)
    before = (hrm.home / "hrm.db").read_bytes()
    refused = hrm("up", "--detach")
    assert refused.code != 0
    assert "hrm.db" in refused.err and "corrupt" in refused.err
    assert (hrm.home / "hrm.db").read_bytes() == before


def test_a_home_on_a_network_filesystem_is_refused_with_a_local_one_to_use(hrm: Hrm, tmp_path: Path) -> None:
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(
        f"21 1 8:1 / / rw - ext4 /dev/sda1 rw\n40 21 0:40 / {hrm.home} rw - nfs4 server:/export rw,vers=4\n"
    )
    # No test can mount an NFS; the kernel's table of mounts says that the home is one.
    program = (
        "import sys; from pathlib import Path; from hrm.config import mounts;"
        f"mounts.MOUNTINFO = Path({str(mountinfo)!r});"
        f"from hrm.server import main; sys.exit(main(['--home', {str(hrm.home)!r}]))"
    )
    refused = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=DEADLINE_S)
    assert refused.returncode == 2
    assert f"{hrm.home} is on a network filesystem (nfs4 at {hrm.home})" in refused.stderr
    assert "next: export HRM_HOME=/" in refused.stderr
    assert not (hrm.home / "hrm.db").exists()


def test_a_database_of_a_newer_hrm_is_left_alone(hrm: Hrm) -> None:
    hrm("up", "--detach")
    hrm("down", "--kill")
    with sqlite3.connect(hrm.home / "hrm.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'r9999'")
    connection.close()
    refused = hrm("up", "--detach")
    assert refused.code != 0
    assert "newer HRM" in refused.err
