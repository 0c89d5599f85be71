"""A node of this machine for every scenario; nothing of it is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hrm.engines.embedded import EmbeddedEngine
from hrm.model.isolation import IsolationMode, IsolationSettings
from hrm.model.nodes import NodeSpec
from hrm.model.resources import Resources
from hrm.testing import kill_herd
from hrm.testing.other_user import OtherUser

NODE = NodeSpec(node_id="node1", total=Resources(4096, 4000))


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "node"
    yield folder
    kill_herd(folder)


@pytest.fixture
def engine(state_dir: Path) -> EmbeddedEngine:
    return EmbeddedEngine(NODE, state_dir, heartbeat_interval_s=0.05)


@pytest.fixture
def plain_engine(state_dir: Path) -> EmbeddedEngine:
    """One that leaves cgroups alone: whose a process is, its session and its environment tell."""
    settings = IsolationSettings(mode=IsolationMode.NONE)
    return EmbeddedEngine(NODE, state_dir, heartbeat_interval_s=0.05, isolation=settings)


@pytest.fixture
def successor(state_dir: Path) -> EmbeddedEngine:
    """Another engine on the same node's state."""
    return EmbeddedEngine(NODE, state_dir, heartbeat_interval_s=0.05)


@pytest.fixture
def public_dir() -> Iterator[Path]:
    """A directory that every user can get to; pytest's own are for one user alone."""
    with tempfile.TemporaryDirectory(prefix="hrm-test-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        kill_herd(folder / "node")


@pytest.fixture
def as_nobody(nobody: OtherUser, public_dir: Path) -> Callable[..., Any]:
    """Call a function as the user nobody, with a state directory of nobody's and further arguments."""
    if not nobody.do(_find_python):
        pytest.skip("nobody cannot run any Python that would do")
    folder = public_dir / "node"
    folder.mkdir(0o700)
    os.chown(folder, nobody.account.pw_uid, nobody.account.pw_gid)
    return lambda work, *arguments: nobody.do(work, str(folder), *arguments)


def _find_python() -> bool:
    """Have shepherds run by a Python that this user can run: that of the tests may lie in somebody's home."""
    for program in (sys.executable, "/usr/bin/python3"):
        try:
            said = subprocess.run([program, "-I", "-S", "-c", "import sys; print(sys.version_info >= (3, 11))"],
                                  capture_output=True, check=False).stdout  # fmt: skip
        except OSError:
            continue
        if said == b"True\n":
            sys.executable = program
            return True
    return False
