"""A node with ``pin_cpus``: containers of whole CPUs have them for themselves, as the kernel says of who runs there.

Everything asked for fits two CPUs, so that a small machine can play it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from hrm.engines.embedded import EmbeddedEngine
from hrm.model.isolation import IsolationMode, IsolationSettings, Means
from hrm.model.nodes import NodeSpec
from hrm.model.resources import Resources
from hrm.nm.cgroups import hierarchies, machine
from hrm.nm.cpus.pins import parse_cpus
from hrm.testing import EngineHarness, eventually_async, kill_shepherd, started
from hrm.testing.shepherds import cgroups_of

HERE = os.sched_getaffinity(0)
NODE = NodeSpec(node_id="node1", total=Resources(4096, len(HERE) * 1000))
PINNED = IsolationSettings(pin_cpus=True)
ONE, HALF = Resources(64, 1000), Resources(64, 500)
#: With a child, so that all of a tree is looked at.
TREE = ("sh", "-c", 'sleep 1000 & echo "$HRM_CPUS $(nproc) $!"; wait')

pytestmark = pytest.mark.skipif(len(HERE) < 2, reason="one CPU cannot be divided")


def node(state_dir: Path, settings: IsolationSettings = PINNED) -> EmbeddedEngine:
    return EmbeddedEngine(NODE, state_dir, heartbeat_interval_s=0.05, isolation=settings)


@pytest.fixture
async def run(state_dir: Path) -> AsyncIterator[EngineHarness]:
    async with started(node(state_dir)) as harness:
        yield harness


def allowed(pid: int) -> set[int]:
    """Where the kernel lets a process run."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("Cpus_allowed_list:"):
            return set(parse_cpus(line.partition(":")[2]))
    raise AssertionError(f"/proc/{pid}/status has no Cpus_allowed_list")


async def began(run: EngineHarness, resources: Resources) -> tuple[str, set[int], int, int]:
    """A container that runs: its id, what its HRM_CPUS says, what nproc says there, and the pid of its child."""
    container_id = run.launch(*TREE, resources=resources)
    own, count, child = (await run.printed(container_id, "\n")).rstrip("\n").split(" ")
    return container_id, set(parse_cpus(own)), int(count), int(child)


async def test_a_container_of_one_cpu_has_it_for_itself(run: EngineHarness) -> None:
    _, first_own, first_count, first = await began(run, ONE)
    _, second_own, _, second = await began(run, ONE)

    assert first_own.isdisjoint(second_own)
    assert (allowed(first), allowed(second)) == (first_own, second_own)
    assert (len(first_own), first_count) == (1, 1)


async def test_those_with_fractions_leave_the_cpus_that_another_gets_and_come_back_to_them(run: EngineHarness) -> None:
    _, own, count, sharer = await began(run, HALF)
    assert (own, count, allowed(sharer)) == (set(), len(HERE), HERE)

    pinned_id, pinned_own, *_ = await began(run, ONE)
    assert allowed(sharer) == HERE - pinned_own
    _, own, count, late = await began(run, HALF)
    assert (own, count, allowed(late)) == (set(), len(HERE) - 1, HERE - pinned_own)

    run.stop(pinned_id, grace_s=0)
    await run.ended(pinned_id)
    await eventually_async(lambda: allowed(sharer) == allowed(late) == HERE, describe="they run on all CPUs again")


async def test_what_finds_no_cpus_of_its_own_shares_and_is_told_none(run: EngineHarness) -> None:
    _, own, count, child = await began(run, Resources(64, 1000 * (len(HERE) + 1)))

    assert (own, count, allowed(child)) == (set(), len(HERE), HERE)


async def test_nobody_is_pinned_where_nobody_asked_for_it(engine: EmbeddedEngine) -> None:
    async with started(engine) as run:
        _, own, count, child = await began(run, ONE)

        assert (own, count, allowed(child)) == (set(), len(HERE), HERE)
        assert "pinning" not in str(run.heard.isolation["node1"])


@pytest.mark.parametrize("shepherd_dies", [False, True], ids=["server", "server and shepherd"])
async def test_pins_are_known_again_after_a_restart(state_dir: Path, shepherd_dies: bool) -> None:
    async with started(node(state_dir)) as run:
        _, own, _, child = await began(run, ONE)
        sharer_id, _, _, sharer = await began(run, HALF)
    if shepherd_dies:
        kill_shepherd(state_dir)

    async with started(node(state_dir)) as run:
        assert allowed(child) == own
        assert allowed(sharer) == HERE - own
        run.stop(sharer_id, grace_s=0)
        await eventually_async(lambda: not Path(f"/proc/{sharer}").exists())
        _, next_own, _, _ = await began(run, ONE)
        assert next_own.isdisjoint(own)


async def test_a_pin_is_known_again_of_a_container_without_a_run_record(state_dir: Path) -> None:
    async with started(node(state_dir)) as run:
        container_id, own, _, _ = await began(run, ONE)
    kill_shepherd(state_dir)
    (state_dir / "running" / container_id).write_bytes(b"")

    async with started(node(state_dir)) as run:
        _, next_own, _, _ = await began(run, ONE)
        assert next_own.isdisjoint(own)


def _as_a_user_of_no_rights(state_dir: str) -> list[Any]:
    async def play() -> list[Any]:
        async with started(node(Path(state_dir))) as run:
            _, _, _, sharer = await began(run, HALF)
            pinned_id, own, _, child = await began(run, ONE)
            found = [str(run.heard.isolation["node1"]), own, allowed(child), allowed(sharer)]
            run.stop(pinned_id, grace_s=0)
            await eventually_async(lambda: allowed(sharer) == HERE)
            return found

    return asyncio.run(play())


@pytest.mark.root
def test_without_cgroups_it_is_done_by_affinity_and_called_advice(as_nobody: Callable[..., Any]) -> None:
    isolation, own, pinned, sharer = as_nobody(_as_a_user_of_no_rights)

    assert "pinning" in isolation.partition("advice: ")[2]
    assert len(own) == 1
    assert (pinned, sharer) == (own, HERE - own)


# --- with cpusets


@pytest.fixture
def cpusets() -> None:
    found = machine.find(hierarchies.here(), f"probe-{os.getpid()}", pinning=True)
    if found.pool:
        found.pool.close()
    if "pinning" not in found.held:
        pytest.skip(f"no cpusets: {found.not_held['pinning']}")


@pytest.mark.root
@pytest.mark.usefixtures("cpusets")
async def test_a_cpuset_keeps_who_tries_to_get_away(run: EngineHarness) -> None:
    [guard] = [guard for guard in run.heard.isolation["node1"].guards if guard.resource == "pinning"]
    assert guard.means is Means.ENFORCED
    everywhere = ",".join(map(str, HERE))

    container_id = run.launch("sh", "-c", f"taskset -cp {everywhere} $$ >&2; nproc", resources=ONE)

    await run.ended(container_id)
    assert await run.log(container_id) == "1\n"


@pytest.mark.root
@pytest.mark.usefixtures("cpusets")
async def test_cpusets_are_there_once_those_from_before_have_ended(state_dir: Path) -> None:
    def means(run: EngineHarness) -> Means:
        return next(guard.means for guard in run.heard.isolation["node1"].guards if guard.resource == "pinning")

    async with started(node(state_dir, IsolationSettings(mode=IsolationMode.AUTO))) as run:
        before_id, *_ = await began(run, ONE)
        assert not any("cpuset" in str(base) for base in cgroups_of(state_dir))

    async with started(node(state_dir)) as run:
        assert means(run) is Means.ADVICE
        _, own, _, child = await began(run, ONE)
        assert allowed(child) == own, "by affinity as long as the old one runs"
        for container_id in [before_id, *(start.container_id for start in run.heard.starts)]:
            run.stop(container_id, grace_s=0)
            await run.ended(container_id)
        files = [file for base in cgroups_of(state_dir) for file in base.rglob("cgroup.procs")]
        await eventually_async(lambda: not any(file.read_text() for file in files), describe="nobody is left")

    async with started(node(state_dir)) as run:
        assert means(run) is Means.ENFORCED
        _, own, _, child = await began(run, ONE)
        assert allowed(child) == own
