"""A node of this machine for every scenario; nothing of it is left behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hrm.engines.embedded import EmbeddedEngine
from hrm.model.isolation import IsolationMode, IsolationSettings
from hrm.model.nodes import NodeSpec
from hrm.model.resources import Resources
from hrm.testing import kill_herd

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
