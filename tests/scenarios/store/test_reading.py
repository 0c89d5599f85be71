"""What readers and a restart get from the store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from hrm.model.errors import StoreError
from hrm.model.reports import ApplicationOrder
from hrm.model.resources import Resources
from hrm.model.states import ApplicationState, AttemptState, ContainerState, NodeState, TaskState
from hrm.rm.records import AttemptRow, NodeRow
from hrm.rm.store import HistoryRow, Store
from tests.scenarios.store.store_rows import application, container, event, opened, submission, task


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = opened(tmp_path)
    yield store
    await store.close()


async def test_applications_come_newest_first_in_pages(store: Store) -> None:
    await store.commit([application(seq) for seq in range(1, 8)])

    first = await store.applications(limit=3)
    second = await store.applications(limit=3, before_seq=first[-1].seq)

    assert [row.seq for row in first] == [7, 6, 5]
    assert [row.seq for row in second] == [4, 3, 2]


async def test_applications_are_found_by_state_user_and_queue(store: Store) -> None:
    await store.commit(
        [
            application(1, user="ann", queue="research", state=ApplicationState.RUNNING),
            application(2, user="bob", queue="research", state=ApplicationState.RUNNING),
            application(3, user="ann", queue="batch", state=ApplicationState.FAILED),
            application(4, user="ann", queue="research.vision", state=ApplicationState.FINISHED),
        ]
    )

    async def found(**wanted: object) -> list[int]:
        return [row.seq for row in await store.applications(**wanted)]  # type: ignore[arg-type]

    assert await found(user="ann") == [4, 3, 1]
    assert await found(queue="research") == [2, 1]
    assert await found(states=["FAILED", ApplicationState.FINISHED]) == [4, 3]
    assert await found(states=["RUNNING"], user="ann", queue="research") == [1]
    assert await found(user="nobody") == []


async def test_applications_are_searched_and_sorted_in_pages(store: Store) -> None:
    names = ("Train", "evaluate", "train%", "pretrain")
    await store.commit([application(seq, name=name, user=f"u{9 - seq}") for seq, name in enumerate(names, start=1)])

    async def found(**wanted: object) -> list[int]:
        return [row.seq for row in await store.applications(**wanted)]  # type: ignore[arg-type]

    assert await found(search="TRAIN") == [4, 3, 1]
    assert await found(search="%") == [3]
    assert await found(order=ApplicationOrder.OLDEST, limit=2, offset=1) == [2, 3]
    assert await found(order=ApplicationOrder.USER) == [4, 3, 2, 1]
    assert await found(order=ApplicationOrder.NAME, limit=1) == [1]


async def test_one_that_is_not_there_is_none(store: Store) -> None:
    assert await store.application(1) is None
    assert await store.job(1) is None
    assert await store.find_submit_id("ann", "x") is None


async def test_a_submit_id_belongs_to_its_user(store: Store) -> None:
    await store.commit([application(1, user="ann", submit_id="x"), application(2, user="bob", submit_id="x")])

    found = await store.find_submit_id("bob", "x")

    assert found is not None and found.seq == 2


async def test_a_submit_id_makes_one_application_of_a_user(store: Store) -> None:
    await store.commit(submission(1, submit_id="x"), must=False)

    with pytest.raises(StoreError):
        await store.commit(submission(2, submit_id="x"), must=False)

    assert await store.application(2) is None and await store.job(2) is None


async def test_tasks_come_by_their_index_those_without_a_row_left_out(store: Store) -> None:
    await store.commit([*submission(1), *submission(2)])
    await store.commit([task(1, index) for index in (0, 1, 2, 5, 6)] + [task(2, 3)])

    assert [row.task_index for row in await store.tasks(1)] == [0, 1, 2, 5, 6]
    assert [row.task_index for row in await store.tasks(1, first=2, count=4)] == [2, 5]


async def test_history_tells_the_attempts_of_tasks_oldest_first_with_what_their_job_is_called(store: Store) -> None:
    await store.commit([application(1, name="train", user="ann"), application(2, name="detect", user="bob", queue="b")])
    rows = [
        container(1, 1, allocated_at=10.0, ended_at=20.0, device_ids=("GPU-1", "GPU-2")),
        container(2, 2, allocated_at=5.0, resources=Resources(1, 2, 3, (("licences", 4),))),
        container(1, 3, allocated_at=30.0, task_state=TaskState.SUCCEEDED, cpu_s=0.25),
        container(1, 4, allocated_at=1.0, task_index=None),
    ]
    await store.commit(rows)

    assert await store.history() == [
        HistoryRow(rows[1], "detect", "bob", "b"),
        HistoryRow(rows[0], "train", "ann", "research"),
        HistoryRow(rows[2], "train", "ann", "research"),
    ]
    assert [one.row for one in await store.history(1)] == [rows[0], rows[2]]
    assert [one.row for one in await store.history(limit=1, offset=1)] == [rows[0]]


async def test_history_since_a_time_tells_all_that_was_not_over_by_then(store: Store) -> None:
    await store.commit([application(1)])
    await store.commit(
        [
            container(1, 1, allocated_at=10.0, ended_at=20.0),
            container(1, 2, allocated_at=11.0, ended_at=60.0),
            container(1, 3, allocated_at=12.0),
            container(1, 4, allocated_at=55.0, ended_at=56.0),
        ]
    )

    assert [one.row.task_index for one in await store.history(since=50.0)] == [2, 3, 4]


async def test_the_attempts_of_one_task_come_oldest_first(store: Store) -> None:
    await store.commit([application(1)])
    rows = [container(1, number, task_index=7, task_attempt=number) for number in (1, 2, 3)]
    await store.commit([rows[2], rows[0], rows[1], container(1, 4, task_index=8)])

    assert await store.task_attempts(1, 7) == rows


async def test_events_come_oldest_first_after_a_number_of_one_application_or_all(store: Store) -> None:
    rows = [event(seq, application_seq=seq % 2 or None, detail={"n": seq}) for seq in range(1, 8)]
    await store.commit(rows)

    assert await store.events(after_seq=2, limit=3) == rows[2:5]
    assert [row.seq for row in await store.events(application_seq=1)] == [1, 3, 5, 7]


async def test_a_reader_sees_all_that_was_acknowledged_before_it_asked(store: Store) -> None:
    for seq in range(1, 30):
        await store.commit(submission(seq))
        assert await store.application(seq) is not None


async def test_a_fresh_store_has_nothing_to_recover(store: Store) -> None:
    loaded = await store.load()

    assert (loaded.applications, loaded.orphans, loaded.nodes, loaded.finished) == ([], [], [], {})
    assert (loaded.next_application_seq, loaded.next_event_seq) == (1, 1)


async def test_a_restart_gets_what_is_not_over_and_counts_of_what_is(store: Store) -> None:
    waiting = submission(1)
    running = submission(2, state=ApplicationState.RUNNING)
    attempts = [
        AttemptRow(application_seq=2, number=1, state=AttemptState.FAILED, started_at=1.0, ended_at=2.0),
        AttemptRow(application_seq=2, number=2, state=AttemptState.RUNNING, started_at=3.0),
    ]
    tasks = [task(2, 0, TaskState.SUCCEEDED, attempt=1), task(2, 1, TaskState.RUNNING, attempt=2, losses=1)]
    done = container(2, 1, state=ContainerState.COMPLETED, ended_at=9.0)
    live = container(2, 2, device_ids=("virtual-0",))
    node = NodeRow(node_id="box", state=NodeState.RUNNING, rack="/r", total=Resources(1, 2, 3), last_seen_at=4.0)
    await store.commit([*waiting, *running, *attempts, *tasks, done, live, node, event(41)])
    for seq, state in ((3, ApplicationState.FINISHED), (4, ApplicationState.KILLED), (5, ApplicationState.FINISHED)):
        await store.commit([*submission(seq, state=state), task(seq, 0, TaskState.SUCCEEDED)])
    orphan = container(4, 1, state=ContainerState.STOPPING)
    await store.commit([orphan, container(5, 1, state=ContainerState.LOST)])

    loaded = await store.load()

    first, second = loaded.applications
    assert [first.row, first.job] == waiting and [second.row, second.job] == running
    assert (first.attempts, first.tasks, first.containers, first.attempt) == ([], [], [], 1)
    assert (second.attempts, second.tasks, second.containers, second.attempt) == (attempts, tasks, [live], 2)
    assert loaded.orphans == [orphan]
    assert loaded.nodes == [node]
    assert (loaded.next_application_seq, loaded.next_event_seq) == (6, 42)
    assert loaded.finished == {ApplicationState.FINISHED: 2, ApplicationState.KILLED: 1}


async def test_an_application_without_its_job_is_a_damaged_store(store: Store) -> None:
    await store.commit([application(1)])

    with pytest.raises(StoreError, match="no job is kept for application 1"):
        await store.load()


async def test_a_reader_cannot_write(store: Store, tmp_path: Path) -> None:
    await store.commit([application(1)])

    with pytest.raises(StoreError, match="readonly"):
        await store._read(lambda connection: connection.exec_driver_sql("DELETE FROM applications"))

    assert await store.application(1) == replace(application(1))
