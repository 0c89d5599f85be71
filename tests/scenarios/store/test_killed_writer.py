"""``kill -9`` in the middle of commits."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scenarios.store.store_rows import opened

TASKS_PER_BATCH = 5


def killed_after(acknowledgements: int, directory: Path) -> set[int]:
    """Everything that a writer said was acknowledged until it was killed."""
    command = [sys.executable, "-m", "tests.scenarios.store.endless_writer", str(directory), str(TASKS_PER_BATCH)]
    acknowledged: set[int] = set()
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            acknowledged.add(int(line))
            if len(acknowledged) == acknowledgements:
                writer.kill()  # what it had said by then is still in the pipe, and read to its end
    assert len(acknowledged) >= acknowledgements
    return acknowledged


@pytest.mark.parametrize("acknowledgements", [1, 7, 60, 300])
async def test_a_killed_writer_loses_nothing_acknowledged_and_halves_nothing(
    tmp_path: Path, acknowledgements: int
) -> None:
    acknowledged = await asyncio.to_thread(killed_after, acknowledgements, tmp_path)

    store = opened(tmp_path)
    kept = {row.seq for row in await store.applications(limit=1_000_000)}
    assert acknowledged <= kept
    for seq in kept:
        assert len(await store.tasks(seq)) == TASKS_PER_BATCH
    assert store.epoch == 2
    assert (await store.load()).next_application_seq == max(kept) + 1
    await store.close()
