"""A disk that refuses one write of the node's state, whichever it is: no end is invented, and none is forgotten."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hrm.engines.embedded import EmbeddedEngine
from hrm.model.containers import ExitReason
from hrm.nm.shepherd import faults, records
from hrm.testing import eventually_async, kill_shepherd, started

Refuse = Callable[..., Path]


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Refuse:
    """Have the shepherd's ``nth`` write at a point fail; returns the file that is there once it did."""

    def plan(point: str, nth: int, error: str) -> Path:
        struck = tmp_path / "struck"
        monkeypatch.setenv(faults.VARIABLE, f"{point}:{nth}:{error}:{struck}")
        return struck

    return plan


@pytest.mark.parametrize(("nth", "error"), [(1, "ENOSPC"), (2, "EIO"), (3, "ENOSPC")])
@pytest.mark.parametrize("point", faults.DISK_POINTS)
async def test_whichever_write_fails_every_container_runs_once_and_its_end_is_kept_until_acknowledged(
    engine: EmbeddedEngine,
    successor: EmbeddedEngine,
    refuse: Refuse,
    tmp_path: Path,
    point: str,
    nth: int,
    error: str,
) -> None:
    struck = refuse(point, nth, error)
    ledger = tmp_path / "ledger"
    async with started(engine) as run:
        launched = [run.launch("sh", "-c", f"echo $HRM_CONTAINER_ID >> {ledger}; exit 3") for _ in range(3)]
        for container_id in launched:
            record = await run.ended(container_id)
            assert (record.reason, record.exit_code) == (ExitReason.EXITED, 3)
        if not point.startswith("shepherd.acknowledge"):
            assert struck.exists()
    async with started(successor) as run:
        told = {record.container_id: record.exit_code for record in run.heard.registered_finished}
        assert told == dict.fromkeys(launched, 3)
        run.engine.acknowledge(run.node_id, launched)
        # What is asked for after it has been done.
        await run.ended(run.launch("true"))
    assert struck.exists()
    assert sorted(ledger.read_text().split()) == sorted(launched)


async def test_what_was_acknowledged_is_never_told_as_anything_else_even_if_that_could_not_be_written(
    engine: EmbeddedEngine, successor: EmbeddedEngine, refuse: Refuse, state_dir: Path
) -> None:
    struck = refuse("shepherd.exited", 1, "ENOSPC")
    async with started(engine) as run:
        container_id = run.launch("sh", "-c", "exit 3")
        await run.ended(container_id)
        assert struck.exists()
        run.engine.acknowledge(run.node_id, [container_id])
        await run.ended(run.launch("true"))
    kill_shepherd(state_dir)
    async with started(successor) as run:
        assert container_id not in [record.container_id for record in run.heard.registered_finished]


def leave_no_room(state_dir: Path) -> None:
    """From now on nothing can begin, however often it is tried: where directories are made, none can be …"""
    folder = state_dir / records.CONTAINERS
    folder.rename(state_dir / "aside")
    folder.symlink_to("nowhere")


def make_room(state_dir: Path) -> None:
    """… until now."""
    folder = state_dir / records.CONTAINERS
    folder.unlink()
    (state_dir / "aside").rename(folder)


async def held_back(state_dir: Path) -> None:
    """Until the shepherd says that it holds back what it was to begin."""
    log = state_dir / records.LOG
    await eventually_async(lambda: "nothing can begin" in log.read_text(), describe="something is held back")


async def test_what_the_disk_holds_back_can_be_stopped(engine: EmbeddedEngine, state_dir: Path) -> None:
    async with started(engine) as run:
        leave_no_room(state_dir)
        container_id = run.launch("true")
        await held_back(state_dir)
        run.stop(container_id)
        record = await run.ended(container_id)
    assert (record.reason, record.exit_code) == (ExitReason.NOT_STARTED, None)


async def test_what_is_held_back_does_not_begin_behind_the_back_of_whoever_comes_next(
    engine: EmbeddedEngine, successor: EmbeddedEngine, state_dir: Path, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    script = f"echo $HRM_CONTAINER_ID >> {ledger}"
    async with started(engine) as run:
        leave_no_room(state_dir)
        forgotten = run.launch("sh", "-c", script)
        await held_back(state_dir)
    async with started(successor) as run:
        make_room(state_dir)
        assert forgotten not in [one.container_id for one in (*run.heard.registered_finished, *run.heard.starts)]
        # Longer than the shepherd waits before it tries again.
        await run.ended(run.launch("sleep", "1.5"))
        assert not ledger.exists()

        await run.ended(run.launch("sh", "-c", script, container_id=forgotten))
    assert ledger.read_text().split() == [forgotten]
