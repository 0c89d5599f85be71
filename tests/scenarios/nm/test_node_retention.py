"""A node keeps its directory within bounds, asked or not."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from hrm.engines.embedded import EmbeddedEngine
from hrm.model.cleaning import CleanPolicy
from hrm.nm import housekeeping
from hrm.nm.shepherd import records
from hrm.testing import eventually_async
from hrm.testing.engine_harness import EngineHarness, started
from tests.scenarios.nm.conftest import NODE


def left(state_dir: Path, folder: str) -> list[str]:
    return sorted(os.listdir(state_dir / folder))


async def over(run: EngineHarness, **fields: object) -> str:
    """A container that printed something and ended, and whose end is acknowledged."""
    container_id = run.launch("sh", "-c", "echo done; echo data > $HRM_CONTAINER_DIR/data", **fields)
    await run.ended(container_id)
    run.engine.acknowledge(run.node_id, [container_id])
    return container_id


async def test_a_node_that_nobody_asks_clears_up_by_itself(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "SILENCE_S", 0.04)
    keep = CleanPolicy(scratch_age_s=0.0, logs_age_s=0.0)
    async with started(EmbeddedEngine(NODE, state_dir, heartbeat_interval_s=0.05, keep=keep)) as run:
        gone = await over(run, container_id="container_e01_1_0009_01_000001")
        runs = run.launch("sh", "-c", "echo still; sleep 1000")
        await run.printed(runs, "still")

        await eventually_async(lambda: gone not in left(state_dir, records.CONTAINERS), describe="it is cleared away")
        await eventually_async(lambda: f"{gone}.stdout" not in left(state_dir, records.LOGS))
        assert await run.log(runs) == "still\n"
        assert runs in left(state_dir, records.CONTAINERS)
        run.stop(runs, grace_s=0)
        await run.ended(runs)


async def test_cleaning_hundreds_of_containers_does_not_hold_the_loop(engine: EmbeddedEngine, state_dir: Path) -> None:
    async with started(engine) as run:
        await over(run)
        old = time.time() - 1000
        for seq in range(800):
            name = f"container_e01_1_0002_01_{seq:06d}"
            (state_dir / records.CONTAINERS / name).mkdir()
            (state_dir / records.CONTAINERS / name / "data").write_bytes(b"x" * 100)
            for path in (state_dir / records.LOGS / f"{name}.stdout", state_dir / records.EXITS / name):
                path.write_bytes(b"x" * 100)
                os.utime(path, (old, old))

        longest_s, cleaning = (
            0.0,
            asyncio.ensure_future(
                engine.clean(
                    run.node_id,
                    CleanPolicy(scratch_age_s=100.0, logs_age_s=100.0),
                    spare=(),
                    dry_run=False,
                    budget_s=60.0,
                )
            ),
        )
        while not cleaning.done():
            # Of this thread: what else the machine does meanwhile does not count.
            begin = time.thread_time()
            await asyncio.sleep(0)
            longest_s = max(longest_s, time.thread_time() - begin)

        assert (cleaning.result().logs, cleaning.result().scratch) == (800, 800)
        assert len(left(state_dir, records.CONTAINERS)) == 1
        # The thread gives way every few milliseconds; the rest is for a machine that has much else to do.
        assert longest_s < 0.1
