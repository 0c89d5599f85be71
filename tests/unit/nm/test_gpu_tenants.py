"""Whose a process on a GPU is: real processes, and what other engines write into cgroup paths."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hrm.nm.gpus import tenants
from hrm.nm.gpus.tenants import identify
from hrm.nm.shepherd import processes
from hrm.testing import eventually

DOCKER = "534917b1443a" + "0" * 52


@pytest.fixture
def family() -> Iterator[tuple[int, int]]:
    """A process that leads a session, and its child."""
    script = "import subprocess; print(subprocess.Popen(['sleep', '1000']).pid, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    ) as leader:
        assert leader.stdout is not None
        child = int(leader.stdout.readline())
        yield leader.pid, child
        os.kill(child, 9)
        leader.kill()


def test_a_process_below_a_container_belongs_to_it(family: tuple[int, int]) -> None:
    leader, child = family

    found = identify([leader, child], {"container_1": leader})

    assert [found[pid].container_id for pid in family] == ["container_1", "container_1"]


def test_a_child_that_its_parent_left_behind_still_belongs_to_the_container() -> None:
    done = subprocess.run(
        ["sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $$ $!"], start_new_session=True, capture_output=True, text=True
    )
    leader, child = map(int, done.stdout.split())
    try:
        assert identify([child], {"container_1": leader})[child].container_id == "container_1"
    finally:
        os.kill(child, 9)


def test_a_process_of_nobodys_container_is_foreign_and_named(family: tuple[int, int]) -> None:
    _, child = family

    # Between fork and exec it is called as its parent is.
    eventually(lambda: processes.read_file(f"/proc/{child}/comm") == b"sleep\n")

    found = identify([child], {"container_1": 1 << 22})[child]

    assert (found.container_id, found.name, found.within) == (None, "sleep", "")
    assert found.user == pwd.getpwuid(os.getuid()).pw_name


def test_a_process_that_is_gone_has_no_name() -> None:
    with subprocess.Popen(["true"]) as process:
        pass

    found = identify([process.pid], {})[process.pid]

    assert (found.pid, found.name, found.container_id) == (process.pid, "", None)


@pytest.mark.parametrize(
    ("cgroup", "within"),
    [
        (f"12:devices:/docker/{DOCKER}\n", "docker 534917b1443a"),
        (f"0::/system.slice/docker-{DOCKER}.scope\n", "docker 534917b1443a"),
        (f"0::/machine.slice/libpod-{DOCKER}.scope/container\n", "podman 534917b1443a"),
        (f"0::/kubepods.slice/pod1/cri-containerd-{DOCKER}.scope\n", "containerd 534917b1443a"),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", ""),
        ("0::/docker/not-an-id\n", ""),
    ],
)
def test_a_foreign_container_is_named_by_its_cgroup(monkeypatch: pytest.MonkeyPatch, cgroup: str, within: str) -> None:
    real = processes.read_file
    monkeypatch.setattr(
        tenants.processes,
        "read_file",
        lambda path, at_most=4096: cgroup.encode() if Path(path).name == "cgroup" else real(path, at_most),
    )

    assert identify([os.getpid()], {})[os.getpid()].within == within


def test_a_container_in_a_cgroup_of_its_own_is_known_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = processes.read_file
    path = b"4:memory:/hrm/container_e01_1_0001_01_000007\n"
    monkeypatch.setattr(
        tenants.processes, "read_file", lambda name, n=4096: path if name.endswith("/cgroup") else real(name, n)
    )

    found = identify([os.getpid()], {"container_e01_1_0001_01_000007": 1 << 22})

    assert found[os.getpid()].container_id == "container_e01_1_0001_01_000007"
