"""Containers that are halted, by this machine's kernel: all of a tree, however it grows, and its end all the same."""

from __future__ import annotations

import asyncio
import glob
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from hrm.engines.embedded import EmbeddedEngine
from hrm.model.containers import ExitReason
from hrm.model.isolation import IsolationMode, IsolationSettings
from hrm.model.nodes import NodeSpec
from hrm.model.resources import Resources
from hrm.nm.shepherd import processes
from hrm.testing import EngineHarness, eventually_async, kill_shepherd, started

NODE = NodeSpec(node_id="node1", total=Resources(4096, 4000))
FREEZER = "/sys/fs/cgroup/freezer"
#: So many looks that see the same are believed.
LOOKS = 60
#: A child that works for its container, one in a session of its own, and a first process that waits.
TREE = ("sh", "-c", "while :; do :; done & setsid sh -c 'while :; do :; done' & echo $! ; wait")


def node(state_dir: Path, mode: IsolationMode) -> EmbeddedEngine:
    settings = IsolationSettings(mode=mode)
    return EmbeddedEngine(NODE, state_dir, heartbeat_interval_s=0.05, isolation=settings)


@pytest.fixture(params=[IsolationMode.AUTO, IsolationMode.NONE], ids=["by what there is", "by signals"])
def mode(request: pytest.FixtureRequest) -> IsolationMode:
    found: IsolationMode = request.param
    return found


@pytest.fixture
async def run(state_dir: Path, mode: IsolationMode) -> AsyncIterator[EngineHarness]:
    async with started(node(state_dir, mode)) as harness:
        yield harness


async def began(run: EngineHarness) -> tuple[str, int]:
    """A tree that keeps its CPUs busy, and its first process."""
    container_id = run.launch(*TREE)
    await run.printed(container_id, "\n")
    [pid] = [start.pid for start in run.heard.starts if start.container_id == container_id]
    await eventually_async(lambda: len(processes.family([pid])) == 3, describe="its tree is there")
    return container_id, pid


def ticks(pid: int) -> int:
    """CPU time of all of a tree."""
    return sum(process.cpu_ticks for process in processes.family([pid]))


async def rests(pid: int) -> None:
    """Return as soon as none of it has worked for some looks."""
    seen: list[int] = []

    def still() -> bool:
        seen.append(ticks(pid))
        return len(seen) > LOOKS and len(set(seen[-LOOKS:])) == 1

    await eventually_async(still, describe=f"{pid} rests")


def freezers() -> set[str]:
    """Directories of nodes in the freezer of version 1."""
    return set(glob.glob(f"{FREEZER}/hrm-*"))


async def test_all_of_a_tree_stops_and_goes_on(run: EngineHarness) -> None:
    container_id, pid = await began(run)

    run.engine.freeze(run.node_id, [container_id], frozen=True)
    await rests(pid)
    run.engine.freeze(run.node_id, [container_id], frozen=False)

    at = ticks(pid)
    await eventually_async(lambda: ticks(pid) > at, describe="it works again")
    run.stop(container_id, grace_s=0)
    await run.ended(container_id)


@pytest.mark.parametrize("grace_s", [0.0, 20.0])
async def test_what_is_halted_dies_when_it_is_told_to(run: EngineHarness, grace_s: float) -> None:
    container_id, pid = await began(run)
    run.engine.freeze(run.node_id, [container_id], frozen=True)
    await rests(pid)

    run.stop(container_id, grace_s=grace_s)

    assert (await run.ended(container_id)).reason is ExitReason.STOPPED
    assert processes.look_up(pid) is None


async def test_a_tree_that_grows_is_caught_as_a_whole(run: EngineHarness) -> None:
    script = "echo ready; while :; do sleep 0.003 & sleep 0.002; done"
    container_id = run.launch("sh", "-c", script)
    await run.printed(container_id, "ready")
    [pid] = [start.pid for start in run.heard.starts if start.container_id == container_id]

    run.engine.freeze(run.node_id, [container_id], frozen=True)

    seen: list[set[int]] = []

    def stable() -> bool:
        seen.append({process.pid for process in processes.family([pid]) if process.alive})
        return len(seen) > LOOKS and all(found == seen[-1] for found in seen[-LOOKS:])

    await eventually_async(stable, describe="nobody is born or ends")
    run.stop(container_id, grace_s=0)
    await run.ended(container_id)


async def test_the_next_shepherd_lets_it_go_on_or_ends_it(state_dir: Path, mode: IsolationMode) -> None:
    async with started(node(state_dir, mode)) as run:
        first, second = await began(run), await began(run)
        run.engine.freeze(run.node_id, [first[0], second[0]], frozen=True)
        for _, pid in (first, second):
            await rests(pid)
    kill_shepherd(state_dir)

    async with started(node(state_dir, mode)) as run:
        await rests(first[1])
        run.engine.freeze(run.node_id, [first[0]], frozen=False)
        at = ticks(first[1])
        await eventually_async(lambda: ticks(first[1]) > at, describe="it works again")
        for container_id, _ in (first, second):
            run.stop(container_id, grace_s=0)
            await run.ended(container_id)


@pytest.mark.root
@pytest.mark.skipif(not os.path.isdir(FREEZER), reason="no freezer of version 1")
async def test_only_who_is_halted_joins_the_freezer_and_it_leaves_nothing_there(state_dir: Path) -> None:
    before = freezers()
    async with started(node(state_dir, IsolationMode.AUTO)) as run:
        container_id, pid = await began(run)
        assert freezers() == before
        run.engine.freeze(run.node_id, [container_id], frozen=True)
        await rests(pid)
        [base] = freezers() - before
        assert set(glob.glob(f"{base}/container_*")) == {f"{base}/{container_id}"}
        run.stop(container_id, grace_s=0)
        await run.ended(container_id)
        await eventually_async(lambda: not glob.glob(f"{base}/container_*"), describe="its freezer is gone")


def _as_a_user_of_no_rights(state_dir: str) -> bool:
    async def play() -> bool:
        async with started(node(Path(state_dir), IsolationMode.AUTO)) as run:
            container_id, pid = await began(run)
            run.engine.freeze(run.node_id, [container_id], frozen=True)
            await rests(pid)
            run.engine.freeze(run.node_id, [container_id], frozen=False)
            at = ticks(pid)
            await eventually_async(lambda: ticks(pid) > at, describe="it works again")
            run.stop(container_id, grace_s=0)
            return (await run.ended(container_id)).reason is ExitReason.STOPPED

    return asyncio.run(play())


@pytest.mark.root
def test_without_rights_to_cgroups_it_is_done_by_signals(as_nobody: Callable[..., Any]) -> None:
    assert as_nobody(_as_a_user_of_no_rights)
