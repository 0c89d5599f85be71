"""How fast the store commits, and what it takes from the event loop.

    python benches/store_commits.py [--directory DIR] [--seconds 2] [-o json]

Groups of 1 to 64 rows, each awaited before the next (so each is one transaction and one fsync). Rows are those of a
task's life in equal parts: container, task, event. Processor time is that of the writer thread, kernel included, since
it shares the interpreter's lock with the event loop. Then 100,000 tasks of one job in one commit, with the longest
time that the event loop was held meanwhile. The directory's filesystem decides the fsync.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import count, islice
from pathlib import Path

from msgspec.structs import replace

from hrm.model.resources import Resources
from hrm.model.states import ApplicationState, ContainerState, TaskState
from hrm.rm.records import ApplicationRow, ContainerRow, EventRow, Row, TaskRow
from hrm.rm.store import Store, open_store

SIZES = (1, 4, 16, 64)
MANY_TASKS = 100_000


@dataclass(frozen=True, slots=True)
class Commits:
    rows_per_group: int
    groups_per_s: float
    rows_per_s: float
    cpu_us_per_group: float
    cpu_us_per_row: float


@dataclass(frozen=True, slots=True)
class ManyTasks:
    rows: int
    seconds: float
    loop_held_max_ms: float


def application() -> ApplicationRow:
    return ApplicationRow(
        seq=1, user="ann", name="bench", queue="default", state=ApplicationState.RUNNING, priority=0, submitted_at=1.0
    )


def lives() -> Iterator[Row]:
    """Rows as tasks make them."""
    for number in count(1):
        container_id = f"container_e01_1763900000000_0001_01_{number:06d}"
        yield ContainerRow(
            container_id=container_id,
            application_seq=1,
            attempt_number=1,
            node_id="node",
            resources=Resources(memory_mib=1024, vcores_milli=1000),
            device_ids=(),
            priority=0,
            state=ContainerState.COMPLETED,
            allocated_at=time.time(),
            task_index=number,
            task_attempt=1,
            task_state=TaskState.SUCCEEDED,
            pid=4711,
            started_at=time.time(),
            ended_at=time.time(),
            exit_code=0,
            cpu_s=0.01,
            max_rss_mib=3,
        )
        yield TaskRow(
            application_seq=1, task_index=number, state=TaskState.SUCCEEDED, attempt=1, container_id=container_id
        )
        yield EventRow(
            seq=number, at=time.time(), kind="container_completed", application_seq=1, container_id=container_id
        )


def writer_clock() -> int:
    """The id of the clock that counts the writer thread's processor time."""
    writer = next(thread for thread in threading.enumerate() if thread.name == "hrm-store-writer")
    assert writer.ident is not None
    return time.pthread_getcpuclockid(writer.ident)


async def commits(store: Store, rows: Iterator[Row], size: int, seconds: float) -> Commits:
    clock, cpu_s, groups = writer_clock(), 0.0, 0
    elapsed_s = 0.0
    while elapsed_s < seconds:
        group = list(islice(rows, size))
        begin, cpu_begin = time.perf_counter(), time.clock_gettime(clock)
        await store.commit(group)
        elapsed_s += time.perf_counter() - begin
        cpu_s += time.clock_gettime(clock) - cpu_begin
        groups += 1
    return Commits(
        rows_per_group=size,
        groups_per_s=groups / elapsed_s,
        rows_per_s=groups * size / elapsed_s,
        cpu_us_per_group=cpu_s / groups * 1e6,
        cpu_us_per_row=cpu_s / groups / size * 1e6,
    )


async def many_tasks(store: Store) -> ManyTasks:
    await store.commit([replace(application(), seq=2)])
    rows = [TaskRow(application_seq=2, task_index=index, state=TaskState.PENDING) for index in range(MANY_TASKS)]
    begin = last = time.perf_counter()
    held_s = 0.0
    committed = store.commit(rows)
    while not committed.done():
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        held_s, last = max(held_s, now - last - 0.001), now
    return ManyTasks(rows=len(rows), seconds=time.perf_counter() - begin, loop_held_max_ms=held_s * 1000)


async def measure(directory: Path, seconds: float) -> tuple[list[Commits], ManyTasks]:
    store = open_store(directory / "bench.db", now=time.time())
    await store.commit([application()])
    rows = lives()
    await commits(store, rows, 4, 0.2)  # warm
    measured = [await commits(store, rows, size, seconds) for size in SIZES]
    many = await many_tasks(store)
    await store.close()
    return measured, many


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--directory", type=Path, help="where to put the database [default: the system's for temporary files]"
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="per size of group")
    parser.add_argument("-o", choices=("table", "json"), default="table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        measured, many = asyncio.run(measure(Path(directory), options.seconds))
    if options.o == "json":
        print(json.dumps({"commits": [asdict(one) for one in measured], "many_tasks": asdict(many)}))
        return
    print("rows/group  groups/s  rows/s  cpu µs/group  cpu µs/row")
    for one in measured:
        print(
            f"{one.rows_per_group:10d}  {one.groups_per_s:8.0f}  {one.rows_per_s:6.0f}"
            f"  {one.cpu_us_per_group:12.0f}  {one.cpu_us_per_row:10.1f}"
        )
    print(f"{many.rows} tasks in one commit: {many.seconds:.2f} s, loop held at most {many.loop_held_max_ms:.1f} ms")


if __name__ == "__main__":
    main()
