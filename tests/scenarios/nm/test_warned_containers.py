"""A container that is to end for others: the notice in its directory, and TERM to whoever has a handler for it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hrm.engines.embedded import EmbeddedEngine
from hrm.model.containers import PreemptionNotice
from hrm.nm.shepherd import records
from hrm.testing import EngineHarness, eventually_async, started

NOTICE = PreemptionNotice(kill_at=2e9, reason="research is due 2 GPUs", beneficiary="application_1_0002")


@pytest.fixture
async def run(engine: EmbeddedEngine) -> AsyncIterator[EngineHarness]:
    async with started(engine) as harness:
        yield harness


@pytest.fixture
def folder(state_dir: Path) -> Path:
    """Where the containers' own directories are."""
    return state_dir / records.CONTAINERS


def python(script: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", "-u", "-c", script)


async def test_the_environment_names_both_files_in_the_containers_own_directory(
    run: EngineHarness, folder: Path
) -> None:
    container_id = run.launch("sh", "-c", "echo $HRM_PREEMPTION_FILE $HRM_CHECKPOINT_FILE")
    await run.ended(container_id)

    home = folder / container_id
    assert await run.log(container_id) == f"{home}/.hrm-preemption {home}/.hrm-checkpoint\n"


async def test_the_notice_is_there_whole_until_the_container_is_spared(run: EngineHarness, folder: Path) -> None:
    container_id = run.launch("sh", "-c", "echo ready; sleep 1000")
    await run.printed(container_id, "ready")
    notice = folder / container_id / records.PREEMPTION

    run.engine.warn(run.node_id, container_id, NOTICE)
    await eventually_async(notice.exists)
    said = json.loads(notice.read_text())
    run.engine.spare(run.node_id, container_id)
    await eventually_async(lambda: not notice.exists())

    assert said == {"kill_at": 2e9, "reason": "research is due 2 GPUs", "beneficiary": "application_1_0002"}
    assert os.listdir(folder / container_id) == []


async def test_a_handler_that_comes_late_gets_its_signal_then_and_only_once(run: EngineHarness, tmp_path: Path) -> None:
    script = (
        "import os, signal, sys, time\n"
        "print('ready')\n"
        f"while not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.01)\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('term'))\n"
        "while True: time.sleep(0.01)\n"
    )
    container_id = run.launch(*python(script))
    await run.printed(container_id, "ready")

    run.engine.warn(run.node_id, container_id, NOTICE)
    await run.ended(run.launch("true"))
    (tmp_path / "go").touch()
    await run.printed(container_id, "term")
    run.engine.warn(run.node_id, container_id, NOTICE)
    await run.ended(run.launch("true"))

    assert await run.log(container_id) == "ready\nterm\n"


async def test_of_a_group_only_those_with_a_handler_are_signalled(run: EngineHarness) -> None:
    # The shell has none, its child has one: the shell lives to say how that ended.
    child = 'trap "exit 7" TERM; echo ready; sleep 1000 & wait'
    container_id = run.launch("sh", "-c", f"sh -c '{child}'; echo child said $?")
    await run.printed(container_id, "ready")

    run.engine.warn(run.node_id, container_id, NOTICE)
    record = await run.ended(container_id)

    assert record.exit_code == 0
    assert await run.log(container_id) == "ready\nchild said 7\n"


async def test_a_link_in_place_of_the_notice_leads_nowhere(run: EngineHarness, folder: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    script = f"ln -s {precious} .hrm-preemption; ln -s {precious} .hrm-preemption.new; echo ready; sleep 1000"
    container_id = run.launch("sh", "-c", script)
    await run.printed(container_id, "ready")
    notice = folder / container_id / records.PREEMPTION

    run.engine.warn(run.node_id, container_id, NOTICE)
    await eventually_async(lambda: not notice.is_symlink())

    assert json.loads(notice.read_text())["kill_at"] == 2e9
    assert precious.read_text() == "precious"


async def test_a_directory_that_is_gone_keeps_nobody_from_being_warned(run: EngineHarness) -> None:
    container_id = run.launch("sh", "-c", "rmdir $HRM_CONTAINER_DIR; trap 'exit 7' TERM; echo ready; sleep 1000 & wait")
    await run.printed(container_id, "ready")

    run.engine.warn(run.node_id, container_id, NOTICE)

    assert (await run.ended(container_id)).exit_code == 7


async def test_a_checkpoint_is_told_with_the_next_heartbeat(run: EngineHarness) -> None:
    container_id = run.launch("sh", "-c", "touch $HRM_CHECKPOINT_FILE; echo ready; sleep 1000")
    await run.printed(container_id, "ready")

    def saved_at() -> float | None:
        told = [one for _, usages in run.heard.heartbeats for one in usages if one.container_id == container_id]
        return told[-1].saved_at if told else None

    started_at = run.heard.starts[-1].started_at
    at = await eventually_async(saved_at)
    assert started_at - 1 <= at <= time.time()
