"""Every engine that ships keeps what `hrm.engines.base` promises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hrm.engines.base import Engine
from hrm.engines.embedded import EmbeddedEngine
from hrm.model.nodes import NodeSpec
from hrm.model.resources import Resources
from hrm.testing import ENGINE_CHECKS, FakeCluster, FakeEngine, kill_herd
from hrm.testing.engine_harness import EngineCheck, EngineMaker

_NODE = NodeSpec(node_id="node1", total=Resources(4096, 4000))


@pytest.fixture
def fake() -> EngineMaker:
    clusters: dict[str, FakeCluster] = {}

    def make(state: str) -> Engine:
        return FakeEngine(cluster=clusters.setdefault(state, FakeCluster([_NODE])), heartbeat_interval_s=0.05)

    return make


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[EngineMaker]:
    def make(state: str) -> Engine:
        return EmbeddedEngine(_NODE, tmp_path / state, heartbeat_interval_s=0.05)

    yield make
    for state_dir in tmp_path.iterdir():
        kill_herd(state_dir)


@pytest.mark.parametrize("check", ENGINE_CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("engine", ["fake", "embedded"])
async def test_conformance(engine: str, check: EngineCheck, request: pytest.FixtureRequest) -> None:
    await check(request.getfixturevalue(engine))
