"""Lines of a site and its health script on this machine itself."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from hrm.doctor.expected import Expected
from hrm.doctor.expected.own import HealthScript
from hrm.doctor.own.checks import health_script_says_nothing, own_lines_hold
from hrm.doctor.runner import examine
from hrm.doctor.system import LocalSystem
from hrm.model.findings import Finding
from hrm.testing import eventually

pytestmark = [pytest.mark.real, pytest.mark.doctor_real]


def found_for(*lines: str) -> list[Finding]:
    return list(examine("here", LocalSystem(), Expected(checks=lines), [own_lines_hold]).findings)


def script(tmp_path: Path, text: str, timeout_s: float = 12.0) -> list[Finding]:
    path = tmp_path / "health.sh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    expected = Expected(health_script=HealthScript(path=str(path), arguments=("a b",), timeout_s=timeout_s))
    return list(examine("here", LocalSystem(), expected, [health_script_says_nothing]).findings)


def test_lines_that_hold_here_are_well(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = found_for(
            "mounted /",
            f"file {tmp_path}/file",
            f"directory {tmp_path}",
            f"no-file {tmp_path}/absent",
            f"process {Path(f'/proc/{os.getpid()}/comm').read_text().strip()}",
            f"listening {port}",
            f"reachable 127.0.0.1:{port}",
            "lookup localhost",
            "command true",
            "memory 16M",
            f"free-inodes {tmp_path} 0%",
            f"* || check_file_test -r -w -d {tmp_path}",
            "* || check_cmd_output -r 0 -m '*hello*' echo hello there",
            "no-such-host* || mounted /nowhere",
        )

    assert found == []


def test_lines_that_do_not_hold_here_are_found(tmp_path: Path) -> None:
    lines = (
        f"mounted {tmp_path}",
        f"file {tmp_path}",
        f"free-space {tmp_path} 900T",
        "command false",
        "check_cmd_output -m '*bye*' echo hello",
        "process no-such-program-here",
    )

    assert [one.evidence[0].text for one in found_for(*lines)] == [
        *(line for line in lines if not line.startswith(("command", "check_cmd"))),
        "command false",
        "check_cmd_output -m '*bye*' echo hello",
    ]


def test_a_health_script_that_errs_makes_the_node_sick(tmp_path: Path) -> None:
    (found,) = script(tmp_path, 'echo fine; echo "ERROR of $1"')

    assert (found.code, found.title.en) == ("HRM-OWN-003", "The health script says: ERROR of a b")


@pytest.mark.parametrize("text", ["echo fine", "echo ERROR >&2", "echo 'not an ERROR'"])
def test_a_health_script_that_says_nothing_is_well(tmp_path: Path, text: str) -> None:
    assert script(tmp_path, text) == []


def test_a_health_script_with_a_typing_error_leaves_the_node_well(tmp_path: Path) -> None:
    (found,) = script(tmp_path, "if then")

    assert (found.code, found.severity) == ("HRM-OWN-006", "info")


def test_a_health_script_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    started = tmp_path / "child"

    (found,) = script(tmp_path, f"sleep 987 & echo $! > {started}; wait", timeout_s=1.0)

    assert found.code == "HRM-OWN-004"
    if started.exists() and (pid := started.read_text().strip()):
        # Ended, or a zombie that nobody waits for: no longer a program that runs.
        eventually(lambda: "sleep" not in ended(pid), timeout_s=30)


def ended(pid: str) -> str:
    said = subprocess.run(["ps", "-o", "args=,stat=", "-p", pid], capture_output=True, text=True, check=False).stdout
    return "" if " Z" in said else said


def test_a_health_script_that_is_missing_is_told(tmp_path: Path) -> None:
    expected = Expected(health_script=HealthScript(path=str(tmp_path / "absent.sh")))

    (found,) = examine("here", LocalSystem(), expected, [health_script_says_nothing]).findings

    assert (found.code, found.severity) == ("HRM-OWN-005", "warning")
