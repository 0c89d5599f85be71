"""Jupyter as a job, opened from here."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

import pytest

from hrm.testing import eventually
from tests.acceptance.conftest import DEADLINE_S, Hrm, hrm_home

URL = re.compile(r"(http://127\.0\.0\.1:[0-9]+)/\?token=([0-9a-f]{48})\n")


def ask(base: str, token: str, path: str) -> tuple[int, object]:
    request = urllib.request.Request(f"{base}{path}", headers={"Authorization": f"token {token}"})
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, None


def test_where_no_jupyter_is_installed_the_command_that_installs_it_is_told(up: Hrm) -> None:
    result = up("notebook", "--env", "PATH=/usr/bin:/bin")

    assert (result.code, result.out) == (2, "")
    assert "no jupyter-lab, jupyter-notebook or jupyter-server in PATH" in result.err
    assert "pip install jupyterlab" in result.err


def test_what_a_jupyter_that_fails_said_is_shown(up: Hrm, tmp_path: Path) -> None:
    failing = tmp_path / "jupyter-lab"
    failing.write_text("#!/bin/sh\necho 'no such option: --tea' >&2; exit 3\n")
    failing.chmod(0o755)

    for arguments in ((), ("--detach",)):
        result = up("notebook", "--env", f"PATH={tmp_path}:/usr/bin:/bin", *arguments, "--", "--tea")
        assert (result.code, result.out) == (3, "")
        assert "no such option: --tea" in result.err


@pytest.mark.real
def test_a_notebook_is_opened_by_its_url_and_by_nobody_without_its_token(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("1,2\n")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with hrm_home() as hrm:
        assert hrm("up", "--detach").code == 0
        with hrm.started("notebook", "--env", f"PATH={path}", "--workdir", tmp_path) as process:
            assert process.stdout is not None
            found = URL.fullmatch(process.stdout.readline())
            assert found, process.communicate(timeout=DEADLINE_S)
            base, token = found.groups()
            contents = ask(base, token, "/api/contents")
            refused = ask(base, "0" * 48, "/api/contents")
            (app,) = hrm.apps()
            command_lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=DEADLINE_S)
        eventually(lambda: hrm.state(app["application_id"]) in ("FINISHED", "KILLED"), timeout_s=DEADLINE_S)

    assert contents[0] == 200
    assert "data.csv" in json.dumps(contents[1])
    assert refused[0] == 403
    assert token not in command_lines


@pytest.mark.real
def test_a_detached_notebook_is_reached_by_the_command_that_is_printed(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with hrm_home() as hrm:
        assert hrm("up", "--detach").code == 0
        printed = hrm("notebook", "--detach", "--env", f"PATH={path}", "--workdir", tmp_path).out
        command, _, url = printed.partition("\n")
        found = URL.fullmatch(url)
        assert found, printed
        with hrm.started(*command.split()[1:]) as process:
            assert process.stdout is not None
            assert " -> " in process.stdout.readline()
            assert ask(found[1], found[2], "/api/status")[0] == 200
