"""Commands of this machine, as checks and cures run them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from hrm.doctor.processes import runs
from hrm.doctor.system import MAX_TEXT_BYTES, LocalSystem
from hrm.testing import eventually

#: Longer than any machine is slow: whoever waits for it has not understood.
FOREVER_S = "600"


@pytest.fixture(params=["new kernel", "kernel before 5.3"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> LocalSystem:
    if request.param != "new kernel":

        def unknown(*_: object) -> int:
            raise OSError(errno.ENOSYS, "Function not implemented")

        monkeypatch.setattr(os, "pidfd_open", unknown)
        monkeypatch.setattr(os, "memfd_create", unknown)
    return LocalSystem()


def test_what_a_command_printed_and_how_it_ended_is_told(system: LocalSystem) -> None:
    output = system.run("sh", "-c", "echo out; echo err >&2; exit 3")

    assert (output.status, output.stdout, output.stderr, output.timed_out) == (3, "out\n", "err\n", False)


def test_a_signal_and_a_program_that_is_not_there_have_their_statuses(system: LocalSystem) -> None:
    assert system.run("sh", "-c", "kill -9 $$").status == 137
    assert system.run("no-such-program").missing


def test_of_long_output_the_beginning_or_the_end_is_kept(system: LocalSystem) -> None:
    numbers = ("seq", "300000")

    assert system.run(*numbers).stdout.startswith("1\n2\n")
    assert system.run(*numbers, tail=True).stdout.endswith("299999\n300000\n")
    assert len(system.run(*numbers).stdout) == MAX_TEXT_BYTES


def test_a_service_that_a_command_started_is_neither_waited_for_nor_ended(system: LocalSystem) -> None:
    output = system.run("sh", "-c", f"sleep {FOREVER_S} & echo $!", timeout_s=60.0)
    pid = int(output.stdout)
    try:
        assert output.ok
        assert runs(system, pid)
    finally:
        os.kill(pid, 9)


def test_a_command_that_does_not_end_is_ended_with_all_that_it_started(system: LocalSystem, tmp_path: Path) -> None:
    told = tmp_path / "pid"

    output = system.run("sh", "-c", f"sleep {FOREVER_S} & echo $! > {told}; wait", timeout_s=1.0)

    assert output.timed_out
    if told.exists() and told.read_text():
        pid = int(told.read_text())
        eventually(lambda: not runs(system, pid))


def test_nobody_is_asked_for_anything(system: LocalSystem) -> None:
    output = system.run("sh", "-c", "cat; echo $LC_ALL $DEBIAN_FRONTEND")

    assert output.stdout == "C noninteractive\n"


def test_a_full_output_lies_in_memory_and_not_on_a_disk_that_may_be_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/no/such/place")

    assert LocalSystem().run("echo", "x").stdout == "x\n"
