"""Machines, agents, shepherds, links and servers that fail, one after another, under real raylets."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from hrm.engines.ray.engine import RayEngine
from hrm.model.containers import ExitReason, LogStream
from hrm.model.errors import NotFound
from hrm.testing import eventually_async, kill_shepherd
from hrm.testing.engine_harness import EngineHarness, started
from hrm.testing.ray_machines import RayMachine, RayMachines
from tests.ray.conftest import EngineOf

pytestmark = pytest.mark.ray
#: With a margin for a machine that does many other things.
DEADLINE_S = 40.0
WORKER = ("--cpus=4", "--memory-mib=2048", "--virtual-gpus=2")


@pytest.fixture(scope="module")
def two(machines: RayMachines) -> Iterator[RayMachines]:
    for name in ("left", "right"):
        machines.add(name, *WORKER)
    yield machines


@pytest.fixture
async def run(two: RayMachines, engine_of: EngineOf) -> AsyncIterator[EngineHarness]:
    async with over(engine_of()) as harness:
        yield harness


@contextlib.asynccontextmanager
async def over(engine: RayEngine) -> AsyncIterator[EngineHarness]:
    """Once both machines are nodes; ``node_id`` is the left one's."""
    async with started(engine) as harness:
        await eventually_async(lambda: {"left", "right"} <= harness.heard.nodes.keys(), DEADLINE_S)
        harness.node_id = "left"
        yield harness


def left(two: RayMachines) -> RayMachine:
    return two.workers["left"]


async def lost(run: EngineHarness, node_id: str = "left") -> str:
    """Why it was lost, once it is."""
    found = await eventually_async(
        lambda: [reason for one, reason in run.heard.lost if one == node_id], DEADLINE_S, describe=f"{node_id} is lost"
    )
    return found[-1]


async def back(run: EngineHarness, node_id: str = "left") -> None:
    """Registered once more. Forget the earlier registration before."""
    await eventually_async(lambda: node_id in run.heard.nodes, DEADLINE_S, describe=f"{node_id} is back")


async def test_every_machine_is_a_node_with_its_own_name_size_and_gpus(run: EngineHarness) -> None:
    for name in ("left", "right"):
        spec = run.heard.nodes[name]
        assert (spec.total.vcores_milli, spec.total.memory_mib, spec.total.gpus_milli) == (4000, 2048, 2000)
        assert [device.device_id for device in spec.devices] == [f"VGPU-{name}-0", f"VGPU-{name}-1"]
        run.node_id = name
        container_id = run.launch("sh", "-c", "echo $HRM_NODE_ID")
        assert (await run.ended(container_id)).exit_code == 0
        assert await run.log(container_id) == f"{name}\n"
    assert "head" not in run.heard.nodes, "it runs no containers unless it is told to"


async def test_containers_inherit_nothing_of_ray_s(run: EngineHarness) -> None:
    container_id = run.launch("sh", "-c", "env; nice; cat /proc/self/oom_score_adj")
    await run.ended(container_id)
    lines = (await run.log(container_id)).splitlines()
    assert lines[-2:] == ["0", "0"]
    assert [line for line in lines if line.startswith(("RAY", "OMP"))] == []


@pytest.mark.root
async def test_containers_run_as_the_users_who_submitted_them(run: EngineHarness) -> None:
    container_id = run.launch("sh", "-c", "id -un; pwd", user="nobody")
    await run.ended(container_id)
    assert (await run.log(container_id)).splitlines()[0] == "nobody"


async def test_a_log_is_followed_across_machines_while_it_is_written(run: EngineHarness) -> None:
    container_id = run.launch("sh", "-c", "echo one; read line; echo $line", stdin=True)
    assert await run.printed(container_id, "one") == "one\n"
    await run.engine.write_stdin("left", container_id, b"two\n")
    await run.ended(container_id)
    chunk = await run.engine.read_log("left", container_id, LogStream.STDOUT, offset=4, max_bytes=99)
    assert (chunk.data, chunk.end) == (b"two\n", True)
    run.node_id = "right"
    with pytest.raises(NotFound):
        await run.log(container_id)


async def test_containers_go_on_when_the_agent_dies_and_their_ends_are_told(
    run: EngineHarness, two: RayMachines
) -> None:
    goes_on = run.launch("sh", "-c", "echo ready; sleep 1000")
    await run.printed(goes_on, "ready")
    ends = run.launch("sh", "-c", "echo ready; sleep 1; exit 7")
    await run.printed(ends, "ready")
    run.heard.nodes.pop("left")
    for agent in left(two).agents():
        agent.kill()
    await back(run)
    assert goes_on in [start.container_id for start in run.heard.registered_running]
    run.heard.ends += run.heard.registered_finished
    assert (await run.ended(ends)).exit_code == 7
    assert run.heard.lost == [], "it was back before it was overdue"
    run.stop(goes_on, grace_s=0)
    assert (await run.ended(goes_on)).reason is ExitReason.STOPPED


async def test_containers_go_on_when_the_shepherd_dies(run: EngineHarness, two: RayMachines) -> None:
    container_id = run.launch("sh", "-c", "echo ready; sleep 1000")
    await run.printed(container_id, "ready")
    run.heard.nodes.pop("left")
    kill_shepherd(left(two).state_dir)
    await back(run)
    assert [start.container_id for start in run.heard.registered_running] == [container_id]
    run.stop(container_id, grace_s=0)
    assert (await run.ended(container_id)).reason is ExitReason.LOST, "nobody could see how it ended"


async def test_a_later_session_of_the_server_silences_the_earlier_one(run: EngineHarness, engine_of: EngineOf) -> None:
    """As when a server comes back while the one before it still thinks that it lives."""
    generation = run.engine._on("left")._generation  # type: ignore[attr-defined]
    agent = run.engine._on("left")._remote  # type: ignore[attr-defined]
    successor = engine_of()
    # One driver of Ray's for one process: the successor speaks through the same connection.
    successor._cluster = run.engine._cluster  # type: ignore[attr-defined]
    settings = run.engine._on("left")._settings  # type: ignore[attr-defined]
    from hrm.engines.ray.messages import Verdict, pack

    greeting = {"protocol": 1, "version": __import__("hrm").__version__, "server": "one", "settings": pack(settings)}
    assert "refused" not in await agent.call("hello", {**greeting, "generation": (generation[0] + 1, 1)})
    assert (await agent.call("fetch", generation, 0, 0.0, 0.1)).verdict is Verdict.STALE
    assert await agent.call("obey", generation, 99, 0.0, pack([])) is Verdict.STALE
    refused = await agent.call("hello", {**greeting, "generation": generation})
    assert refused["refused"] == "a later session has begun"
    other = await agent.call("hello", {**greeting, "server": "another", "generation": (99, 1)})
    assert "another HRM server" in other["refused"]


async def test_a_machine_whose_raylet_and_all_its_children_are_killed_is_lost_at_once_and_comes_back(
    run: EngineHarness, two: RayMachines
) -> None:
    container_id = run.launch("sh", "-c", "echo ready; sleep 1000")
    await run.printed(container_id, "ready")
    run.heard.nodes.pop("left")
    began = time.monotonic()
    left(two).kill()
    await lost(run)
    assert time.monotonic() - began < 5.0
    two.join(left(two), *WORKER)
    await back(run)
    assert container_id in [start.container_id for start in run.heard.registered_running], "its shepherd kept it"
    run.stop(container_id, grace_s=0)
    await run.ended(container_id)


async def test_a_machine_that_is_cut_off_is_lost_and_tells_all_when_its_link_is_back(
    run: EngineHarness, two: RayMachines
) -> None:
    if not two.in_namespaces:
        pytest.skip("needs network namespaces, and so root")
    ends = run.launch("sh", "-c", "echo ready; sleep 3; exit 5")
    goes_on = run.launch("sh", "-c", "echo ready; sleep 1000")
    for container_id in (ends, goes_on):
        await run.printed(container_id, "ready")
    run.heard.nodes.pop("left")
    began = time.monotonic()
    left(two).cut_off()
    try:
        assert "nothing was heard" in await lost(run)
        assert time.monotonic() - began < 10.0
        assert [one for one, _ in run.heard.lost] == ["left"]
        # Meanwhile the other machine works, and what is for this one fails without a delay.
        run.node_id = "right"
        assert (await run.ended(run.launch("true"))).exit_code == 0
    finally:
        left(two).reconnect()
    await back(run)
    run.node_id = "left"
    assert [start.container_id for start in run.heard.registered_running] == [goes_on]
    assert {end.container_id: end.exit_code for end in run.heard.registered_finished}[ends] == 5
    run.stop(goes_on, grace_s=0)
    assert (await run.ended(goes_on)).reason is ExitReason.STOPPED


async def test_a_machine_that_is_listed_and_cannot_be_reached_is_told_of_until_it_can(
    two: RayMachines, engine_of: EngineOf
) -> None:
    if not two.in_namespaces:
        pytest.skip("needs network namespaces, and so root")
    silent = two.add("silent", "--cpus=1", "--memory-mib=512")
    silent.cut_off()
    try:
        async with over(engine_of()) as run:
            reasons = await eventually_async(lambda: list(run.heard.refused.values()), DEADLINE_S)
            assert reasons == ["it is in the cluster and does not answer"], "and nothing of those that were killed"
            silent.reconnect()
            await eventually_async(lambda: "silent" in run.heard.nodes, DEADLINE_S)
            assert list(run.heard.refused.values()) == [""]
    finally:
        silent.kill()


async def test_a_second_machine_of_one_name_is_refused_in_words(run: EngineHarness, two: RayMachines) -> None:
    twin = two.add("twin", "--cpus=1", "--memory-mib=512", node_id="right")
    words = await eventually_async(
        lambda: [reason for reason in run.heard.refused.values() if "two machines are called right" in reason],
        DEADLINE_S,
    )
    assert (twin.address or "") in words[0]
    run.node_id = "right"
    assert (await run.ended(run.launch("true"))).exit_code == 0, "the first one is as it was"
    twin.kill()


async def test_a_machine_that_leaves_is_lost_at_once_in_these_words(run: EngineHarness, two: RayMachines) -> None:
    third = two.add("third", "--cpus=1", "--memory-mib=512")
    await eventually_async(lambda: "third" in run.heard.nodes, DEADLINE_S)
    third.membership.leave(kill=False)
    assert await lost(run, "third") in ("it left the cluster", "its raylet has ended")
