"""What readers ask the store: history, finished applications, the event log.

They run in one thread over a connection of their own that cannot write. SQLite in WAL mode lets it read beside the
writer; each query sees all that was acknowledged before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa

from hrm.model.errors import StoreError
from hrm.model.reports import ApplicationOrder
from hrm.model.resources import BUILT_IN
from hrm.rm.records import ApplicationRow, AttemptRow, ContainerRow, EventRow, JobRow, Row, TaskRow
from hrm.rm.store.codec import Codec, codec_of
from hrm.rm.store.database import Database, quiet_close
from hrm.rm.store.deletion import over_before
from hrm.rm.store.recovery import Loaded, load
from hrm.rm.store.schema import applications, attempts, containers, events, jobs, tasks

T = TypeVar("T")
R = TypeVar("R", bound=Row)
_ORDERS: dict[ApplicationOrder, tuple[sa.ColumnElement[Any], ...]] = {
    ApplicationOrder.NEWEST: (applications.c.seq.desc(),),
    ApplicationOrder.OLDEST: (applications.c.seq,),
    ApplicationOrder.NAME: (applications.c.name, applications.c.seq.desc()),
    ApplicationOrder.USER: (applications.c.user, applications.c.seq.desc()),
    ApplicationOrder.QUEUE: (applications.c.queue, applications.c.seq.desc()),
    ApplicationOrder.STATE: (applications.c.state, applications.c.seq.desc()),
    ApplicationOrder.ENDED: (applications.c.ended_at.desc().nulls_last(), applications.c.seq.desc()),
}
#: Above every number that is given.
_NO_SEQ = 1 << 62


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One attempt of a task, with what its application is called."""

    row: ContainerRow
    name: str
    user: str
    queue: str


class Queries:
    """The reading half of `hrm.rm.store.Store`. Each method raises StoreError if the database cannot be read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: sa.Connection | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="hrm-store-reader")

    async def applications(
        self,
        *,
        states: Sequence[str] = (),
        user: str | None = None,
        queue: str | None = None,
        limit: int = 1000,
        before_seq: int | None = None,
        search: str = "",
        order: ApplicationOrder = ApplicationOrder.NEWEST,
        offset: int = 0,
    ) -> list[ApplicationRow]:
        """In this order; ``before_seq`` is the last of the page before (of the newest first); ``queue`` is one queue
        without those below; ``search`` is part of the name, upper or lower case."""
        codec = codec_of(ApplicationRow)
        query = sa.select(*codec.selection()).order_by(*_ORDERS[order]).limit(limit).offset(offset)
        if search:
            query = query.where(applications.c.name.icontains(search, autoescape=True))
        if states:
            query = query.where(applications.c.state.in_([str(state) for state in states]))
        if user is not None:
            query = query.where(applications.c.user == user)
        if queue is not None:
            query = query.where(applications.c.queue == queue)
        if before_seq is not None:
            query = query.where(applications.c.seq < before_seq)
        return await self._rows(codec, query)

    async def application(self, seq: int) -> ApplicationRow | None:
        codec = codec_of(ApplicationRow)
        return await self._one(codec, sa.select(*codec.selection()).where(applications.c.seq == seq))

    async def resource_seconds(self, application_seq: int, now: float) -> dict[str, float]:
        """What all containers of an application held, times the seconds that they held it until ``now``."""
        held = sa.func.coalesce(containers.c.ended_at, now) - containers.c.allocated_at
        seconds = sa.case((held > 0, held), else_=0.0)  # a clock may have been put back
        columns = [sa.func.coalesce(sa.func.sum(containers.c[name] * seconds), 0.0) for name in BUILT_IN]
        query = sa.select(*columns).where(containers.c.application_seq == application_seq)
        return await self._read(lambda connection: dict(zip(BUILT_IN, connection.execute(query).one(), strict=True)))

    async def application_counts(self) -> dict[str, int]:
        """By state."""
        query = sa.select(applications.c.state, sa.func.count()).group_by(applications.c.state)
        return await self._read(
            lambda connection: {str(state): int(count) for state, count in connection.execute(query)}
        )

    async def find_submit_id(self, user: str, submit_id: str) -> ApplicationRow | None:
        """The application that this user's submission ``submit_id`` made."""
        codec = codec_of(ApplicationRow)
        query = sa.select(*codec.selection()).where(applications.c.user == user, applications.c.submit_id == submit_id)
        return await self._one(codec, query)

    async def job(self, application_seq: int) -> JobRow | None:
        codec = codec_of(JobRow)
        return await self._one(codec, sa.select(*codec.selection()).where(jobs.c.application_seq == application_seq))

    async def attempts(self, application_seq: int) -> list[AttemptRow]:
        """The runs of its master, oldest first."""
        codec = codec_of(AttemptRow)
        query = sa.select(*codec.selection()).where(attempts.c.application_seq == application_seq)
        return await self._rows(codec, query.order_by(attempts.c.number))

    async def tasks(self, application_seq: int, *, first: int = 0, count: int = 1000) -> list[TaskRow]:
        """Those of the ``count`` tasks from index ``first`` on that have a row: a task has none before it begins."""
        codec = codec_of(TaskRow)
        query = sa.select(*codec.selection()).where(
            tasks.c.application_seq == application_seq,
            tasks.c.task_index >= first,
            tasks.c.task_index < first + count,
        )
        return await self._rows(codec, query.order_by(tasks.c.task_index))

    async def task_attempts(self, application_seq: int, task_index: int) -> list[ContainerRow]:
        """The containers of one task, oldest first."""
        codec = codec_of(ContainerRow)
        query = sa.select(*codec.selection()).where(
            containers.c.application_seq == application_seq, containers.c.task_index == task_index
        )
        return await self._rows(codec, query.order_by(containers.c.task_attempt))

    async def history(
        self,
        application_seq: int | None = None,
        *,
        since: float | None = None,
        limit: int = 10_000,
        offset: int = 0,
    ) -> list[HistoryRow]:
        """Attempts of tasks, oldest first; with ``since`` (epoch seconds) those that were not over by then."""
        codec = codec_of(ContainerRow)
        query: sa.Select[*tuple[Any, ...]] = (
            sa.select(*codec.selection(), applications.c.name, applications.c.user, applications.c.queue)
            .join(applications, applications.c.seq == containers.c.application_seq)
            .where(containers.c.task_index.is_not(None))
        )
        if application_seq is not None:
            query = query.where(containers.c.application_seq == application_seq)
        if since is not None:
            query = query.where(sa.or_(containers.c.ended_at.is_(None), containers.c.ended_at >= since))
        query = _oldest_first(query).offset(offset).limit(limit)

        def read(connection: sa.Connection) -> list[HistoryRow]:
            return [
                HistoryRow(codec.decode(columns), name, user, queue)
                for *columns, name, user, queue in connection.execute(query)
            ]

        return await self._read(read)

    async def events(self, after_seq: int = 0, application_seq: int | None = None, limit: int = 1000) -> list[EventRow]:
        """Oldest first."""
        codec = codec_of(EventRow)
        query = sa.select(*codec.selection()).where(events.c.seq > after_seq).order_by(events.c.seq).limit(limit)
        if application_seq is not None:
            query = query.where(events.c.application_seq == application_seq)
        return await self._rows(codec, query)

    async def events_of(self, application_seq: int, kinds: Sequence[str] | None, *, limit: int) -> list[EventRow]:
        """Those of one application of these kinds (None: of all), oldest first: of too many the latest."""
        codec = codec_of(EventRow)
        query = sa.select(*codec.selection()).where(events.c.application_seq == application_seq)
        if kinds is not None:
            query = query.where(events.c.kind.in_(list(kinds)))
        return (await self._rows(codec, query.order_by(events.c.seq.desc()).limit(limit)))[::-1]

    async def applications_over(
        self, *, ended_before: float | None, keep: int | None, limit: int, after_seq: int = 0
    ) -> list[int]:
        """Numbers of those that are not kept, the oldest first.

        They are over since before ``ended_before`` (epoch seconds), or over and not among the ``keep`` newest that
        are; None is no bound. Nothing of them runs any more.
        """
        query = sa.select(applications.c.seq).where(over_before(ended_before, keep), applications.c.seq > after_seq)
        query = query.order_by(applications.c.seq).limit(limit)
        return await self._read(lambda connection: list(connection.scalars(query)))

    async def count_applications_over(self, *, ended_before: float | None, keep: int | None) -> int:
        """How many `applications_over` would name in all."""
        query = sa.select(sa.func.count()).select_from(applications).where(over_before(ended_before, keep))
        return await self._read(lambda connection: connection.scalar(query) or 0)

    async def places(self, application_seq: int) -> dict[str, list[str]]:
        """Ids of all containers that an application ever had, by node."""
        query = sa.select(containers.c.node_id, containers.c.container_id)
        query = query.where(containers.c.application_seq == application_seq)

        def read(connection: sa.Connection) -> dict[str, list[str]]:
            found: dict[str, list[str]] = {}
            for node_id, container_id in connection.execute(query):
                found.setdefault(node_id, []).append(container_id)
            return found

        return await self._read(read)

    async def last_event(self, *, before: float | None, keep: int | None) -> int:
        """Number of the newest event that is not kept, 0 if there is none.

        It is of ``before`` (epoch seconds), or not among the ``keep`` newest.
        """
        last = 0
        if keep is not None:
            query = sa.select(events.c.seq).order_by(events.c.seq.desc()).offset(keep).limit(1)
            last = await self._read(lambda connection: connection.scalar(query) or 0)
        if before is not None:
            # By their order, which is that of time but for a clock that was put back. Only what goes is looked at.
            younger = sa.select(events.c.seq).where(events.c.at >= before).order_by(events.c.seq).limit(1)
            first_kept = sa.func.coalesce(younger.scalar_subquery(), _NO_SEQ)
            older = sa.select(sa.func.max(events.c.seq)).where(events.c.seq < first_kept)
            last = max(last, await self._read(lambda connection: connection.scalar(older) or 0))
        return last

    async def count_events(self, up_to_seq: int) -> int:
        """How many there are up to this one."""
        query = sa.select(sa.func.count()).select_from(events).where(events.c.seq <= up_to_seq)
        return await self._read(lambda connection: connection.scalar(query) or 0)

    async def load(self) -> Loaded:
        """What a restart begins from."""
        return await self._read(load)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown(wait=False)

    async def _rows(self, codec: Codec[R], query: sa.Select[*tuple[Any, ...]]) -> list[R]:
        return await self._read(lambda connection: [codec.decode(columns) for columns in connection.execute(query)])

    async def _one(self, codec: Codec[R], query: sa.Select[*tuple[Any, ...]]) -> R | None:
        rows = await self._rows(codec, query.limit(1))
        return rows[0] if rows else None

    async def _read(self, read: Callable[[sa.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._in_thread, read)

    def _in_thread(self, read: Callable[[sa.Connection], T]) -> T:
        try:
            if self._connection is None:
                self._connection = _read_only(self._database)
            # Ends the transaction after each query: an open one would keep the write-ahead log from being trimmed.
            with self._connection.begin():
                return read(self._connection)
        except (sa.exc.SQLAlchemyError, OSError) as error:
            self._disconnect()
            reason = error.orig if isinstance(error, sa.exc.DBAPIError) else error
            raise StoreError(f"cannot read {self._database.name}: {reason}", next_step="check the disk") from error

    def _disconnect(self) -> None:
        if self._connection is not None:
            quiet_close(self._connection)
            self._connection = None


def _read_only(database: Database) -> sa.Connection:
    """A connection that cannot write, by mistake either."""
    connection = database.engine.connect()
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA query_only = ON")
        connection.rollback()
        return connection
    return connection.execution_options(postgresql_readonly=True)


def _oldest_first(query: sa.Select[*tuple[Any, ...]]) -> sa.Select[*tuple[Any, ...]]:
    return query.order_by(containers.c.allocated_at, containers.c.container_id)
