"""Writing: order, grouping, and what is promised when a future is done."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from hrm.model.errors import InvariantBroken, StoreError
from hrm.model.states import ApplicationState, TaskState
from hrm.rm.records import JobRow
from tests.scenarios.store.store_rows import HeldDisk, application, event, opened, submission, task


async def test_what_was_acknowledged_is_there_after_a_new_opening(tmp_path: Path) -> None:
    store = opened(tmp_path)
    await store.commit(submission(1), must=False)
    await store.close()

    store = opened(tmp_path)

    assert await store.application(1) == application(1)
    assert await store.job(1) == JobRow(application_seq=1, spec={"command": ["true"], "seq": 1})
    await store.close()


async def test_batches_that_wait_go_into_one_transaction_and_end_together(tmp_path: Path) -> None:
    disk = HeldDisk()
    store = opened(tmp_path, disk)
    first = store.commit(submission(1))
    await asyncio.to_thread(disk.holding.wait, 60)

    waiting = [store.commit(submission(seq)) for seq in range(2, 52)]
    disk.let_go()
    await first
    await waiting[0]

    assert all(future.done() for future in waiting)
    assert disk.transactions == 2
    assert len(await store.applications()) == 51
    await store.close()


async def test_the_later_of_two_waiting_rows_with_one_key_wins(tmp_path: Path) -> None:
    disk = HeldDisk()
    store = opened(tmp_path, disk)
    held = store.commit(submission(1))
    await asyncio.to_thread(disk.holding.wait, 60)

    for state in (ApplicationState.ACCEPTED, ApplicationState.RUNNING, ApplicationState.FINISHED):
        last = store.commit([application(1, state=state)])
    disk.let_go()
    await asyncio.gather(held, last)

    assert await store.application(1) == application(1, state=ApplicationState.FINISHED)
    await store.close()


async def test_commits_take_effect_in_the_order_of_their_calls(tmp_path: Path) -> None:
    store = opened(tmp_path)
    ended: list[int] = []
    for number in range(100):
        future = store.commit([application(1, priority=number)])
        future.add_done_callback(lambda _, number=number: ended.append(number))
    await future

    await asyncio.sleep(0)
    assert ended == list(range(100))
    row = await store.application(1)
    assert row is not None and row.priority == 99
    await store.close()


async def test_a_row_is_replaced_whole(tmp_path: Path) -> None:
    store = opened(tmp_path)
    full = application(1, started_at=5.0, exit_code=3, message="half way", submit_id="mine", kill_requested=True)
    await store.commit([full])

    bare = replace(full, started_at=None, exit_code=None, message="", submit_id=None, kill_requested=False)
    await store.commit([bare])

    assert await store.application(1) == bare
    await store.close()


async def test_a_commit_of_nothing_ends_after_those_before_it(tmp_path: Path) -> None:
    store = opened(tmp_path)
    before = store.commit(submission(1))

    await store.commit(())

    assert before.done()
    await store.close()


async def test_closing_writes_all_that_waits(tmp_path: Path) -> None:
    store = opened(tmp_path)
    waiting = [store.commit(submission(seq)) for seq in range(1, 21)]

    await store.close()

    assert all(future.done() and future.exception() is None for future in waiting)
    store = opened(tmp_path)
    assert len(await store.applications()) == 20
    await store.close()


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = opened(tmp_path)
    await store.close()

    with pytest.raises(StoreError, match="closed"):
        await store.commit(submission(1))


async def test_a_caller_that_was_cancelled_takes_nothing_back(tmp_path: Path) -> None:
    store = opened(tmp_path)
    future = store.commit(submission(1))
    future.cancel()

    await store.commit(())

    assert await store.application(1) == application(1)
    await store.close()


async def test_submissions_that_no_database_can_hold_fail_alone(tmp_path: Path) -> None:
    store = opened(tmp_path)
    await store.commit(submission(1, submit_id="mine"))
    waiting = [
        store.commit(submission(2, submit_id="mine"), must=False),
        store.commit(submission(3, name="\ud800"), must=False),
        store.commit(submission(4)),
    ]

    results = await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(result) for result in results] == [StoreError, StoreError, type(None)]
    assert [row.seq for row in await store.applications()] == [4, 1]
    assert store.healthy
    await store.close()


async def test_a_decision_is_not_lost_over_bytes_that_are_no_text(tmp_path: Path) -> None:
    store = opened(tmp_path)
    not_text = b"cannot run caf\xe9".decode(errors="surrogateescape")

    await store.commit([application(1, message=not_text), event(1, detail={not_text: [not_text]})])

    row = await store.application(1)
    assert row is not None and row.message == r"cannot run caf\udce9"
    assert [row.detail for row in await store.events()] == [{row.message: [row.message]}]
    await store.close()


async def test_after_a_decision_that_no_database_can_hold_nothing_later_is_written(tmp_path: Path) -> None:
    store = opened(tmp_path)
    waiting = [store.commit(submission(1)), store.commit([task(99, 0)]), store.commit(submission(2))]

    results = await asyncio.gather(*waiting, return_exceptions=True)
    later = await asyncio.gather(store.commit(submission(3)), return_exceptions=True)

    assert [type(result) for result in [*results, *later]] == [type(None), InvariantBroken, StoreError, StoreError]
    assert [row.seq for row in await store.applications()] == [1]
    assert not store.healthy and "could not be written" in store.trouble
    await store.close()


async def test_a_hundred_thousand_tasks_in_one_commit_do_not_hold_the_loop(tmp_path: Path) -> None:
    """0.6 s where it was measured; how fast exactly is a matter of `benches/store_commits.py`."""
    store = opened(tmp_path)
    await store.commit(submission(1))
    rows = [task(1, index) for index in range(100_000)]

    turns = 0
    committed = store.commit(rows)
    while not committed.done():
        await asyncio.sleep(0.001)
        turns += 1

    assert turns > 20, "rows must be encoded in the writer's thread, in small portions"
    assert await store.tasks(1, first=99_999) == [task(1, 99_999, TaskState.PENDING)]
    await store.close()
