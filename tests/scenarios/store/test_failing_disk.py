"""A disk that is full or sick: nothing acknowledged is lost, and who asks is told why."""

from __future__ import annotations

import asyncio
import errno
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from hrm.model.errors import StoreError
from hrm.model.states import ApplicationState, TaskState
from hrm.testing import eventually_async
from tests.scenarios.store.store_rows import FailingDisk, SickDisk, application, opened, submission, task

#: More steps than the story below takes.
STEPS = 25


@pytest.mark.parametrize(("error", "times"), [(errno.ENOSPC, 1), (errno.EIO, 3)])
async def test_the_nth_step_failing_loses_nothing_acknowledged(tmp_path: Path, error: int, times: int) -> None:
    for nth in range(1, STEPS):
        directory = tmp_path / str(nth)
        directory.mkdir()
        disk = FailingDisk(nth=nth, times=times, error=error)
        store = opened(directory, disk)

        asked: dict[int, asyncio.Future[None]] = {}
        decided: list[asyncio.Future[None]] = [store.commit(submission(1))]
        await decided[0]
        for seq in (2, 3, 4):
            asked[seq] = store.commit(submission(seq), must=False)
            decided.append(store.commit([application(1, state=ApplicationState.RUNNING, tasks_succeeded=seq)]))
            decided.append(store.commit([task(1, seq, TaskState.SUCCEEDED)]))
            await asyncio.gather(decided[-1], return_exceptions=True)
        await asyncio.wait([*asked.values(), *decided])
        await store.close()

        assert all(future.exception() is None for future in decided), f"step {nth}: what must be written was not"
        store = opened(directory)
        kept = {row.seq for row in await store.applications()}
        assert {1, *(seq for seq, future in asked.items() if future.exception() is None)} <= kept
        assert await store.application(1) == application(1, state=ApplicationState.RUNNING, tasks_succeeded=4)
        assert [row.task_index for row in await store.tasks(1)] == [2, 3, 4]
        for seq in kept:
            assert await store.job(seq) is not None, f"step {nth}: half a batch was written"
        await store.close()
    assert not disk.reached, "the story takes more steps than were made to fail"


async def test_a_refused_submission_fails_alone_and_says_how_much_is_free_and_where(tmp_path: Path) -> None:
    disk = SickDisk()
    store = opened(tmp_path, disk)
    with pytest.raises(StoreError) as refused:
        await store.commit(submission(1), must=False)

    free_mib = shutil.disk_usage(tmp_path).free >> 20
    assert str(tmp_path) in refused.value.message
    assert "no space left on device" in refused.value.message
    assert f"{free_mib // 1000}" in refused.value.message and "MiB free" in refused.value.message
    assert refused.value.next_step
    assert store.healthy, "nothing that was decided waits"

    disk.recover()
    await store.commit(submission(1), must=False)
    assert await store.application(1) == application(1)
    await store.close()


async def test_what_was_decided_waits_for_the_disk_and_submissions_are_refused_meanwhile(tmp_path: Path) -> None:
    disk = SickDisk(errno.EIO)
    store = opened(tmp_path, disk)
    decided = [store.commit(submission(1)), store.commit([application(1, priority=7)])]
    asked_before = store.commit(submission(2), must=False)
    await eventually_async(lambda: not store.healthy)

    assert "no space left on device" in store.trouble
    with pytest.raises(StoreError):
        await asyncio.wait_for(asked_before, 5)
    asked = store.commit(submission(3), must=False)
    assert asked.done() and isinstance(asked.exception(), StoreError)
    assert not any(future.done() for future in decided)

    disk.recover()
    await asyncio.gather(*decided)
    await eventually_async(lambda: store.healthy)
    assert await store.application(1) == application(1, priority=7)
    assert [row.seq for row in await store.applications()] == [1]
    await store.close()


async def test_closing_over_a_sick_disk_tells_every_caller_that_its_rows_are_not_written(tmp_path: Path) -> None:
    store = opened(tmp_path, SickDisk())
    waiting = [store.commit(submission(seq)) for seq in (1, 2, 3)]
    await eventually_async(lambda: not store.healthy)

    await store.close()

    assert all(isinstance(future.exception(), StoreError) for future in waiting)
    store = opened(tmp_path)
    assert await store.applications() == []
    await store.close()


async def test_a_disk_that_recovers_while_closing_does_not_get_the_later_rows_without_the_earlier(
    tmp_path: Path,
) -> None:
    disk = SickDisk()
    store = opened(tmp_path, disk)
    waiting = [store.commit(submission(seq)) for seq in (1, 2, 3)]
    await eventually_async(lambda: not store.healthy)

    disk.failures_left = 2
    await store.close()

    assert all(isinstance(future.exception(), StoreError) for future in waiting)
    store = opened(tmp_path)
    assert await store.applications() == []
    await store.close()


async def test_a_database_that_may_not_grow_is_a_full_disk_until_it_may(tmp_path: Path) -> None:
    pages = 60

    @sa.event.listens_for(sa.Engine, "connect")
    def limit(connection: object, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")  # type: ignore[attr-defined]

    try:
        store = opened(tmp_path)
        await store.commit(submission(1))
        with pytest.raises(StoreError, match=r"full .*MiB free in"):
            await store.commit([task(1, index, message="x" * 100) for index in range(10_000)], must=False)
        decided = store.commit([task(1, index, message="y" * 100) for index in range(10_000)])
        await eventually_async(lambda: not store.healthy)
        pages = 1_000_000
        await decided
    finally:
        sa.event.remove(sa.Engine, "connect", limit)

    assert store.healthy
    assert len(await store.tasks(1, count=10_000)) == 10_000
    await store.close()


def written_under_a_limit(directory: Path) -> tuple[int, int, int]:
    """Submissions acknowledged before files might not grow any more, refused, and acknowledged after they might."""
    result = subprocess.run(
        [sys.executable, "-m", "tests.scenarios.store.limited_writer", str(directory)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY)),
    )
    acknowledged, refused, after = (int(word) for word in result.stdout.split())
    return acknowledged, refused, after


async def test_a_limit_of_the_system_on_files_loses_nothing_acknowledged(tmp_path: Path) -> None:
    acknowledged, refused, after = await asyncio.to_thread(written_under_a_limit, tmp_path)

    assert acknowledged > 0 and refused > 0 and after > 0
    store = opened(tmp_path)
    assert len(await store.applications(limit=100_000)) == acknowledged + after
    await store.close()
