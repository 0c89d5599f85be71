"""Containers that may run only as long as somebody says so."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hrm.engines.embedded import EmbeddedEngine
from hrm.model.containers import ExitReason
from hrm.nm.node_manager import NodeManager
from hrm.nm.shepherd.lease import LAPSED, now
from hrm.testing import EngineHarness, eventually_async, kill_shepherd, started


@pytest.fixture
async def run(engine: EmbeddedEngine) -> AsyncIterator[EngineHarness]:
    async with started(engine) as harness:
        yield harness


@pytest.fixture
def node(engine: EmbeddedEngine) -> NodeManager:
    return engine._manager


async def test_when_the_lease_has_run_out_all_containers_end_and_count_as_lost(
    run: EngineHarness, node: NodeManager
) -> None:
    container_ids = [run.launch("sh", "-c", "trap '' TERM; echo ready; sleep 1000; sleep 1000") for _ in range(3)]
    for container_id in container_ids:
        await run.printed(container_id, "ready")
    until = now() + 0.3
    node.lease(until)
    for container_id in container_ids:
        record = await run.ended(container_id)
        assert (record.reason, record.exit_code, record.detail) == (ExitReason.LOST, None, LAPSED)
    assert now() >= until


async def test_a_lease_that_is_extended_in_time_ends_nothing(run: EngineHarness, node: NodeManager) -> None:
    node.lease(now() + 1.0)
    container_id = run.launch("sleep", "1.5")
    node.lease(now() + 600.0)
    assert (await run.ended(container_id)).exit_code == 0


async def test_nothing_begins_once_it_has_run_out_until_it_is_extended(run: EngineHarness, node: NodeManager) -> None:
    node.lease(now() - 1)
    spec = run.spec("true")
    run.engine.launch(run.node_id, [spec])
    assert (await run.ended(spec.container_id)).detail == LAPSED
    node.lease(now() + 60)
    assert (await run.ended(run.launch("true"))).exit_code == 0


async def test_a_lease_that_is_given_up_ends_nothing_any_more(run: EngineHarness, node: NodeManager) -> None:
    node.lease(now() + 1.0)
    container_id = run.launch("sleep", "1.5")
    node.lease(math.inf)
    assert (await run.ended(container_id)).exit_code == 0
    node.lease(now() - 1)
    assert (await run.ended(run.launch("true"))).detail == LAPSED


async def test_a_lease_can_be_cut_short_but_not_begun_by_that(run: EngineHarness, node: NodeManager) -> None:
    node.lease(now() - 1, at_most=True)
    assert (await run.ended(run.launch("true"))).exit_code == 0
    node.lease(now() + 1000)
    container_id = run.launch("sleep", "1000")
    node.lease(now() + 0.2, at_most=True)
    assert (await run.ended(container_id)).detail == LAPSED


async def test_it_runs_out_without_a_node_manager_too(
    run: EngineHarness, node: NodeManager, state_dir: Path, engine: EmbeddedEngine
) -> None:
    container_id = run.launch("sh", "-c", "echo ready; sleep 1000")
    await run.printed(container_id, "ready")
    node.lease(now() + 0.5)
    await engine.close()
    ended = state_dir / "ended" / container_id
    await eventually_async(ended.exists, describe="its end is written down")


async def test_a_shepherd_that_takes_over_is_told_of_it(run: EngineHarness, node: NodeManager, state_dir: Path) -> None:
    container_id = run.launch("sh", "-c", "echo ready; sleep 1000")
    await run.printed(container_id, "ready")
    node.lease(now() + 1.0)
    await asyncio.to_thread(kill_shepherd, state_dir)
    assert (await run.ended(container_id)).reason is ExitReason.LOST
