"""What is committed is what is read, whatever is in the rows."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from hrm.model.states import ApplicationState, TaskState
from hrm.rm.records import ApplicationRow, EventRow, JobRow, Row, TaskRow
from hrm.rm.store import open_store

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
TIMES = st.floats(allow_nan=False)
SEQS = st.integers(1, 4)
APPLICATIONS = st.builds(
    ApplicationRow,
    seq=SEQS,
    user=TEXTS,
    name=TEXTS,
    queue=TEXTS,
    state=st.sampled_from(ApplicationState),
    priority=st.integers(-(2**31), 2**31 - 1),
    submitted_at=TIMES,
    ended_at=st.none() | TIMES,
    exit_code=st.none() | st.integers(0, 255),
    message=TEXTS,
    kill_requested=st.booleans(),
)
TASKS = st.builds(
    TaskRow, application_seq=SEQS, task_index=st.integers(0, 3), state=st.sampled_from(TaskState), message=TEXTS
)
EVENTS = st.builds(
    EventRow,
    seq=st.integers(1, 5),
    at=TIMES,
    kind=TEXTS,
    application_seq=st.none() | SEQS,
    detail=st.none() | st.dictionaries(TEXTS, st.integers(0, 9) | TEXTS, max_size=3),
)
BATCHES = st.lists(st.lists(APPLICATIONS | TASKS | EVENTS, max_size=4), max_size=6)
EVERY_APPLICATION = [
    ApplicationRow(
        seq=seq, user="ann", name="", queue="q", state=ApplicationState.SUBMITTED, priority=0, submitted_at=0.0
    )
    for seq in range(1, 5)
]


@settings(max_examples=25, deadline=None)
@given(BATCHES)
def test_after_any_commits_the_store_holds_the_last_row_of_each_key(batches: list[list[Row]]) -> None:
    """The model is a dict: committing is assigning."""
    asyncio.run(_compare(batches))


async def _compare(batches: Sequence[Sequence[Row]]) -> None:
    applications = {row.seq: row for row in EVERY_APPLICATION}
    tasks: dict[tuple[int, int], TaskRow] = {}
    events: dict[int, EventRow] = {}
    with tempfile.TemporaryDirectory() as directory:
        store = open_store(Path(directory) / "hrm.db", now=1.0)
        jobs = [JobRow(application_seq=row.seq, spec={}) for row in EVERY_APPLICATION]
        committed = [store.commit([*EVERY_APPLICATION, *jobs])]
        for batch in batches:
            committed.append(store.commit(batch))
            for row in batch:
                match row:
                    case ApplicationRow():
                        applications[row.seq] = row
                    case TaskRow():
                        tasks[row.application_seq, row.task_index] = row
                    case EventRow():
                        events[row.seq] = row
        await asyncio.gather(*committed)

        assert await store.applications() == [applications[seq] for seq in sorted(applications, reverse=True)]
        assert await store.events() == [events[seq] for seq in sorted(events)]
        for seq in applications:
            assert await store.tasks(seq) == [tasks[key] for key in sorted(tasks) if key[0] == seq]
        loaded = await store.load()
        assert [saved.row for saved in loaded.applications] == [
            row for _, row in sorted(applications.items()) if not row.state.final
        ]
        assert sum(loaded.finished.values()) == sum(row.state.final for row in applications.values())
        await store.close()
