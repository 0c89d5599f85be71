"""Deleting applications and events: what goes, what stays, and that no number is given twice."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hrm.model.errors import StoreError
from hrm.model.states import ApplicationState, AttemptState, ContainerState
from hrm.rm.records import AttemptRow
from hrm.rm.store import Store
from hrm.rm.store.deletion import SLICE_ROWS
from tests.scenarios.store.store_rows import application, container, event, opened, submission, task


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = opened(tmp_path)
    yield store
    await store.close()


async def add(store: Store, seq: int, *, ended_at: float | None = None, tasks: int = 1, runs: bool = False) -> None:
    """An application with tasks; over iff ``ended_at`` is given."""
    over = ended_at is not None
    state = ApplicationState.FINISHED if over else ApplicationState.RUNNING
    held = ContainerState.RUNNING if runs or not over else ContainerState.COMPLETED
    await store.commit(
        [
            *submission(seq, state=state, ended_at=ended_at, tasks_total=tasks),
            AttemptRow(application_seq=seq, number=1, state=AttemptState.FINISHED, started_at=1.0),
            *(task(seq, index) for index in range(tasks)),
            *(container(seq, index, state=held) for index in range(tasks)),
        ]
    )


def rows_of(tmp_path: Path, seq: int) -> dict[str, int]:
    with sqlite3.connect(tmp_path / "hrm.db") as connection:
        return {
            table: connection.execute(f"SELECT count(*) FROM {table} WHERE application_seq = ?", (seq,)).fetchone()[0]
            for table in ("jobs", "attempts", "tasks", "containers")
        }


async def test_an_application_goes_with_all_that_is_its_and_nothing_else(store: Store, tmp_path: Path) -> None:
    await add(store, 1, ended_at=10.0, tasks=2 * SLICE_ROWS + 1)
    await add(store, 2, ended_at=10.0, tasks=3)

    deleted = await store.delete_application(1)

    assert deleted == 2 * (2 * SLICE_ROWS + 1) + 1
    assert [row.seq for row in await store.applications()] == [2]
    assert set(rows_of(tmp_path, 1).values()) == {0}
    assert rows_of(tmp_path, 2) == {"jobs": 1, "attempts": 1, "tasks": 3, "containers": 3}


async def test_those_that_ended_before_a_time_are_named_oldest_first(store: Store) -> None:
    for seq, ended_at in ((1, 30.0), (2, 10.0), (3, 20.0), (4, None)):
        await add(store, seq, ended_at=ended_at)

    assert await store.applications_over(ended_before=25.0, keep=None, limit=10) == [2, 3]
    assert await store.applications_over(ended_before=25.0, keep=None, limit=1) == [2]
    assert await store.applications_over(ended_before=25.0, keep=None, limit=10, after_seq=2) == [3]
    assert await store.count_applications_over(ended_before=25.0, keep=None) == 2


async def test_those_beyond_a_count_of_ended_ones_are_named(store: Store) -> None:
    for seq, ended_at in ((1, 30.0), (2, None), (3, 10.0), (4, 20.0), (5, None)):
        await add(store, seq, ended_at=ended_at)

    assert await store.applications_over(ended_before=None, keep=2, limit=10) == [1]
    assert await store.applications_over(ended_before=None, keep=3, limit=10) == []
    assert await store.applications_over(ended_before=None, keep=0, limit=10) == [1, 3, 4]
    assert await store.applications_over(ended_before=None, keep=None, limit=10) == []


async def test_one_of_which_something_runs_is_not_named_and_stays(store: Store, tmp_path: Path) -> None:
    await add(store, 1, ended_at=10.0, runs=True)

    assert await store.applications_over(ended_before=100.0, keep=0, limit=10) == []
    assert await store.count_applications_over(ended_before=100.0, keep=0) == 0


async def test_one_that_is_not_over_keeps_its_row_whoever_asks(store: Store) -> None:
    await add(store, 1)
    await store.delete_application(1)

    assert await store.application(1) is not None


async def test_the_number_of_a_deleted_application_is_not_given_again(tmp_path: Path) -> None:
    store = opened(tmp_path)
    await add(store, 6, ended_at=1.0)
    await add(store, 7, ended_at=1.0)
    await store.delete_application(7)
    await store.delete_application(6)
    await store.close()

    store = opened(tmp_path)
    assert (await store.load()).next_application_seq == 8
    await store.close()


async def test_old_events_go_and_their_numbers_are_not_given_again(tmp_path: Path) -> None:
    store = opened(tmp_path)
    await store.commit([event(seq) for seq in range(1, SLICE_ROWS + 11)])

    assert await store.last_event(before=3005.0, keep=None) == 4
    assert await store.last_event(before=None, keep=3) == SLICE_ROWS + 7
    assert await store.last_event(before=3005.0, keep=3) == SLICE_ROWS + 7
    assert await store.last_event(before=1.0, keep=SLICE_ROWS + 10) == 0
    assert await store.last_event(before=1e9, keep=None) == SLICE_ROWS + 10
    assert await store.delete_events(SLICE_ROWS + 7) == SLICE_ROWS + 7
    assert [row.seq for row in await store.events()] == [SLICE_ROWS + 8, SLICE_ROWS + 9, SLICE_ROWS + 10]
    await store.delete_events(SLICE_ROWS + 10)
    await store.close()

    store = opened(tmp_path)
    assert (await store.load()).next_event_seq == SLICE_ROWS + 11
    await store.close()


async def test_commits_go_on_between_the_slices(store: Store) -> None:
    await add(store, 1, ended_at=1.0, tasks=4 * SLICE_ROWS)
    deleting = asyncio.ensure_future(store.delete_application(1))
    await store.commit([application(2)])

    assert not deleting.done()
    await deleting
    assert [row.seq for row in await store.applications()] == [2]


async def test_a_disk_that_refuses_leaves_what_was_not_deleted_for_the_next_time(tmp_path: Path) -> None:
    class Refusing:
        on = False

        def __call__(self, step: str) -> None:
            if self.on and step == "commit":
                raise OSError(errno.ENOSPC, "full")

    disk = Refusing()
    store = opened(tmp_path, fault=disk)
    await add(store, 1, ended_at=1.0)
    disk.on = True
    with pytest.raises(StoreError):
        await store.delete_application(1)
    disk.on = False

    assert await store.applications_over(ended_before=2.0, keep=None, limit=10) == [1]
    assert await store.delete_application(1) == 3
    await store.close()


async def test_the_containers_of_an_application_are_told_by_node(store: Store) -> None:
    await store.commit([*submission(1), container(1, 1), container(1, 2, node_id="other"), container(1, 3)])

    assert await store.places(1) == {
        "box": ["container_e01_1_0001_01_000001", "container_e01_1_0001_01_000003"],
        "other": ["container_e01_1_0001_01_000002"],
    }
