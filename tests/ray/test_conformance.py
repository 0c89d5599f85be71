"""The engine on Ray keeps what `hrm.engines.base` promises."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hrm.engines.base import Engine
from hrm.testing import ENGINE_CHECKS
from hrm.testing.engine_harness import EngineCheck, EngineMaker
from hrm.testing.ray_machines import RayMachines
from tests.ray.conftest import EngineOf

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def on_one_machine(machines: RayMachines, engine_of: EngineOf) -> Iterator[EngineMaker]:
    """One node serves all checks, as one that is in use does, but for the check that counts what is left on it."""
    machines.add("node1", "--cpus=4", "--memory-mib=4096", "--virtual-gpus=2")

    def make(state: str) -> Engine:
        return engine_of(namespace="clean" if state == "clean" else "hrm", slab=0.5)

    yield make


@pytest.mark.parametrize("check", ENGINE_CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
async def test_conformance(check: EngineCheck, on_one_machine: EngineMaker) -> None:
    await check(on_one_machine)
