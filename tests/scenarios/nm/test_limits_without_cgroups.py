"""A node that has no cgroups of its own: what its NodeManager looks after instead, and what it calls advice."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hrm.engines.embedded import EmbeddedEngine
from hrm.model.isolation import IsolationMode, IsolationSettings
from hrm.model.nodes import NodeSpec
from hrm.model.resources import Resources
from hrm.testing import EngineHarness, started

NODE = NodeSpec(node_id="node1", total=Resources(4096, 4000))
SMALL = Resources(memory_mib=64, vcores_milli=1000)
#: Says its priority when the node has lowered it, which is soon after the start.
NICE = "until [ $(nice) != 0 ]; do :; done; nice; exec sleep 1000"
GREEDY = ("perl", "-e", 'my $x = "x" x (150 << 20); print "ready\n"; sleep 1000')


async def _end_of(run: EngineHarness, *command: str) -> tuple[str, int | None, str]:
    record = await run.ended(run.launch(*command, resources=SMALL))
    return str(record.reason), record.exit_code, record.detail


def _as_a_user_of_no_rights(state_dir: str, settings: IsolationSettings, *commands: tuple[str, ...]) -> list[Any]:
    """What the node says is enforced, and how each command ends beside a sibling that is to live."""

    async def play() -> list[Any]:
        engine = EmbeddedEngine(NODE, Path(state_dir), heartbeat_interval_s=0.05, isolation=settings)
        async with started(engine) as run:
            sibling = run.launch("sh", "-c", NICE, resources=SMALL)
            nice = (await run.printed(sibling, "\n")).strip()
            ends = [await _end_of(run, *command) for command in commands]
            lives = sibling not in {end.container_id for end in run.heard.ends}
            run.stop(sibling, grace_s=0)
            await run.ended(sibling)
            return [str(run.heard.isolation["node1"]), nice, lives, *ends]

    return asyncio.run(play())


@pytest.mark.root
def test_memory_and_processes_are_polled_and_said_with_the_same_words(as_nobody: Callable[..., Any]) -> None:
    many = "i=0; while [ $i -lt 30 ]; do sleep 1000 & i=$((i+1)); done; wait"

    isolation, nice, lives, greedy, bomb = as_nobody(
        _as_a_user_of_no_rights, IsolationSettings(max_processes=20), GREEDY, ("sh", "-c", many)
    )

    assert isolation == "polled: memory, processes; advice: cpus, gpus, io, disk, users"
    assert lives
    assert nice == "5", "what no cgroup weighs gives way to the machine's own work"
    reason, code, detail = greedy
    assert (reason, code) == ("exited", 137)
    assert re.fullmatch(r"out of memory: used \d+ MiB of 64 MiB", detail)
    reason, code, detail = bomb
    assert (reason, code) == ("exited", 137)
    assert re.fullmatch(r"too many processes: \d+ of 20", detail)


@pytest.mark.root
def test_memory_that_processes_share_is_counted_once(as_nobody: Callable[..., Any]) -> None:
    shared = 'my $x; $x .= "x" x (1 << 20) for 1 .. 40; fork; fork; select(undef, undef, undef, 1); exit 0'

    *_, end = as_nobody(_as_a_user_of_no_rights, IsolationSettings(), ("perl", "-e", shared))

    assert end == ("exited", 0, "")


async def test_a_directory_that_is_over_its_quota_ends_its_container(state_dir: Path) -> None:
    settings = IsolationSettings(disk_quota_mib=2)
    async with started(EmbeddedEngine(NODE, state_dir, heartbeat_interval_s=0.05, isolation=settings)) as run:
        assert "disk" in str(run.heard.isolation["node1"]).partition("polled: ")[2].partition(";")[0]
        within = run.launch("sh", "-c", "head -c 1000000 /dev/zero > file; exec sleep 1000")
        reason, code, detail = await _end_of(run, "sh", "-c", "head -c 9000000 /dev/zero > file; exec sleep 1000")

        assert (reason, code) == ("exited", 137)
        assert re.fullmatch("disk quota exceeded: its directory holds [2-9] MiB of 2 MiB", detail)
        assert within not in {end.container_id for end in run.heard.ends}
        run.stop(within, grace_s=0)
        await run.ended(within)


async def test_without_isolation_nothing_is_held(state_dir: Path) -> None:
    settings = IsolationSettings(mode=IsolationMode.NONE, disk_quota_mib=1, max_processes=1)
    async with started(EmbeddedEngine(NODE, state_dir, heartbeat_interval_s=0.05, isolation=settings)) as run:
        assert "enforced: memory" not in str(run.heard.isolation["node1"])
        assert not (state_dir / "cgroups").exists()
        script = "head -c 3000000 /dev/zero > file; sleep 0.5 & wait; exit 4"
        assert await _end_of(run, "sh", "-c", script) == ("exited", 4, "")
