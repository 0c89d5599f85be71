"""The one thread that writes.

All batches waiting when the thread gets free go into one transaction: one fsync for all of them (group commit). Their
futures are resolved after it, by one wake-up of the event loop.

What the ResourceManager decided (``must``) is never given up: it is tried again, in order, until it is written.
What is only asked for (a submission) is refused if it cannot be written now; the others go on.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import shutil
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from hrm.model.errors import HrmError, InvariantBroken, StoreError
from hrm.rm.records import Row
from hrm.rm.store.codec import CODECS, Codec, without_unwritable
from hrm.rm.store.database import Database, quiet_close
from hrm.rm.store.deletion import Deletion

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

_log = logging.getLogger(__name__)

FIRST_RETRY_S = 0.05
LONGEST_RETRY_S = 5.0
#: Batches that may wait before submissions are refused. What must be written is never refused.
MAX_WAITING = 10_000
#: Rows encoded at a time: the interpreter's lock is free while SQLite takes them.
_ROWS_AT_A_TIME = 256

#: Called in the writer thread before a step with its name ("connect", "write", "commit") and after the whole
#: ("committed"); what it raises is what the step failed with. For tests of failing disks and of crashes.
Fault = Callable[[str], None]


@dataclass(slots=True)
class _Batch:
    rows: Sequence[Row]
    must: bool
    future: asyncio.Future[None]
    deletion: Deletion | None = None
    error: HrmError | None = None
    #: True iff its texts were made writable.
    cleaned: bool = False


class Writer:
    """Started by its making; `close` ends it. All but the thread's own part runs on the event loop."""

    def __init__(self, database: Database, fault: Fault | None = None) -> None:
        self._database = database
        self._fault = fault or _no_fault
        self._inbox: SimpleQueue[_Batch | None] = SimpleQueue()
        self._waiting: deque[_Batch] = deque()
        self._ending = threading.Event()
        self._connection: sa.Connection | None = None
        self._statements = {row_type: Upsert(codec, database.engine.dialect) for row_type, codec in CODECS.items()}
        #: Set once something that must be written never will be. All that comes after it fails too: what is on disk
        #: stays one moment of the past.
        self._given_up: StoreError | None = None
        #: Why what must be written cannot be; "" while all is well.
        self.trouble = ""
        self._thread = threading.Thread(target=self._run, name="hrm-store-writer", daemon=True)
        self._thread.start()

    # -- on the event loop

    def commit(self, rows: Sequence[Row], *, must: bool, deletion: Deletion | None = None) -> asyncio.Future[None]:
        """Write rows, or delete some: in the order of the calls."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._given_up or self._ending.is_set():
            future.set_exception(self._given_up or StoreError("the store is closed"))
        elif not must and self.trouble:
            future.set_exception(StoreError(self.trouble, next_step="see to the disk; it is tried again by itself"))
        elif not must and self._inbox.qsize() >= MAX_WAITING:
            future.set_exception(StoreError(f"{MAX_WAITING} writes wait for the disk", next_step="try again later"))
        else:
            self._inbox.put(_Batch(rows, must, future, deletion))
        return future

    async def close(self) -> None:
        """Write what waits, then end the thread. What fails even now fails in its future."""
        self._ending.set()
        self._inbox.put(None)
        await asyncio.to_thread(self._thread.join)
        # The thread's last wake-up stands in the loop's queue before this one.
        await asyncio.sleep(0)

    # -- in the thread

    def _run(self) -> None:
        try:
            while (group := self._next_group()) is not None:
                self._write_group(group)
        finally:
            if self._connection is not None:
                quiet_close(self._connection)

    def _next_group(self) -> list[_Batch] | None:
        """All that waits, at least one; None at the end."""
        if not self._waiting and not self._ending.is_set() and (batch := self._inbox.get()) is not None:
            self._waiting.append(batch)
        self._take_waiting()
        group = list(self._waiting)
        self._waiting.clear()
        return group or None

    def _take_waiting(self) -> None:
        try:
            while True:
                if (batch := self._inbox.get_nowait()) is not None:
                    self._waiting.append(batch)
        except Empty:
            pass

    def _write_group(self, group: list[_Batch]) -> None:
        if not self._given_up and self._try_to_write(group) is None:
            _settle(group)
            return
        for at, batch in enumerate(group):
            if batch.error is None:
                self._write_alone(batch, behind=group[at + 1 :])
                _settle([batch])

    def _write_alone(self, batch: _Batch, behind: list[_Batch]) -> None:
        """Until it is written, refused, or the store is closed."""
        if self._given_up:
            batch.error = self._given_up
            return
        delay_s = FIRST_RETRY_S
        while (error := self._try_to_write([batch])) is not None:
            if self._is_of_the_rows(error):
                if batch.must and not batch.cleaned:
                    # A program's name or message may hold bytes that are no text. No reason to lose a decision.
                    batch.rows, batch.cleaned = [without_unwritable(row) for row in batch.rows], True
                    continue
                self._refuse_rows(batch, error)
                return
            trouble = self._describe(error)
            if not batch.must:
                batch.error = StoreError(trouble, next_step="make room or mend the disk, then submit again")
                return
            if not self.trouble:
                _log.error("store: %s; trying again until it works", trouble)
            self.trouble = trouble
            self._refuse_submissions(behind)
            if self._ending.wait(delay_s):
                # One more time; then this batch and all behind it fail, since order holds to the end.
                if (error := self._try_to_write([batch])) is not None:
                    self._given_up = batch.error = StoreError(
                        f"closed before all was written: {self._describe(error)}",
                        next_step="start HRM again after mending it; it asks the nodes what really runs",
                    )
                return
            delay_s = min(delay_s * 2, LONGEST_RETRY_S)
        if self.trouble:
            _log.warning("store: writing works again")
            self.trouble = ""

    def _refuse_rows(self, batch: _Batch, error: Exception) -> None:
        what = f"{self._database.name} cannot hold these rows: {error}"
        if not batch.must:
            batch.error = StoreError(what)
            return
        batch.error = InvariantBroken(what)
        self.trouble = f"a decision could not be written: {error}"
        self._given_up = StoreError(self.trouble, next_step="start the server again: it goes on from what is on disk")

    def _refuse_submissions(self, behind: list[_Batch]) -> None:
        """Nobody waits for a submission while the disk is sick."""
        self._take_waiting()
        refused = [batch for batch in (*behind, *self._waiting) if not batch.must and batch.error is None]
        for batch in refused:
            batch.error = StoreError(self.trouble, next_step="see to the disk; it is tried again by itself")
        if refused:
            self._waiting = deque(batch for batch in self._waiting if batch.error is None)
            _settle(refused)

    def _try_to_write(self, batches: list[_Batch]) -> Exception | None:
        """One transaction; what it failed with, or None."""
        try:
            self._write(batches)
        except Exception as error:  # noqa: BLE001 - whatever it is, the thread must live and the caller be told
            if self._connection is not None:
                # A connection that failed once is not trusted again; closing it rolls back.
                quiet_close(self._connection)
                self._connection = None
            return error
        return None

    def _write(self, batches: list[_Batch]) -> None:
        if self._connection is None:
            self._fault("connect")
            self._connection = self._database.engine.connect()
        # The driver's cursor and statements compiled once, not Connection.execute: groups are small and many. Measured
        # (SQLite, no fsync, 22 columns): 4 rows 60 µs against 200 µs, 64 rows 0.6 ms against 1.8 ms; and the event
        # loop waits for the same interpreter's lock.
        raw = self._connection.connection
        cursor = raw.cursor()
        for row_type, rows in _latest(batches).items():
            upsert = self._statements[row_type]
            for start in range(0, len(rows), _ROWS_AT_A_TIME):
                self._fault("write")
                cursor.executemany(upsert.sql, upsert.parameters(rows[start : start + _ROWS_AT_A_TIME]))
        for batch in batches:
            if batch.deletion is not None:
                self._fault("write")
                batch.deletion.run(cursor, self._database.engine.dialect)
        self._fault("commit")
        raw.commit()
        cursor.close()
        self._fault("committed")

    def _is_of_the_rows(self, error: Exception) -> bool:
        """True iff trying again cannot help, whatever happens to the disk."""
        driver = self._database.engine.dialect.loaded_dbapi
        of_values = (driver.IntegrityError, driver.DataError, driver.ProgrammingError)
        return isinstance(error, (*of_values, TypeError, ValueError, OverflowError, AttributeError, KeyError))

    def _describe(self, error: Exception) -> str:
        path = self._database.path
        reason = str(error.orig) if isinstance(error, sa.exc.DBAPIError) else str(error)
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "is full" in reason
        if path is None or not full:
            return f"cannot write {self._database.name}: {reason}"
        try:
            free = f"{shutil.disk_usage(path.parent).free >> 20} MiB"
        except OSError:
            free = "an unknown amount"
        return f"cannot write {path}: {reason} ({free} free in {path.parent})"


class Upsert:
    """Insert or replace by key, for one row type."""

    def __init__(self, codec: Codec[Any], dialect: sa.Dialect) -> None:
        key = [column.name for column in codec.table.primary_key]
        insert = _insert(codec.table, dialect)
        statement = insert.on_conflict_do_update(
            index_elements=key, set_={name: insert.excluded[name] for name in codec.columns if name not in key}
        )
        compiled = statement.compile(dialect=dialect, column_keys=list(codec.columns))
        self.sql = str(compiled)
        self._codec = codec
        if compiled.positional and tuple(compiled.positiontup or ()) != codec.columns:
            raise InvariantBroken(f"columns of {codec.table.name} and fields of its rows differ in order")
        self._positional = compiled.positional

    def parameters(self, rows: Sequence[Row]) -> Sequence[Any]:
        encode = self._codec.encode
        if self._positional:
            return [encode(row) for row in rows]
        columns = self._codec.columns
        return [dict(zip(columns, encode(row), strict=True)) for row in rows]


def _insert(table: sa.Table, dialect: sa.Dialect) -> sqlite.Insert | postgresql.Insert:
    # Each dialect is imported only where it is used: PostgreSQL's takes 40 ms.
    if dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)


def _latest(batches: Sequence[_Batch]) -> dict[type[Row], list[Row]]:
    """Rows by type in the order of writing; of several with the same key the last."""
    by_type: dict[type[Row], dict[Any, Row]] = {row_type: {} for row_type in CODECS}
    for batch in batches:
        for row in batch.rows:
            by_type[type(row)][CODECS[type(row)].key(row)] = row
    return {row_type: list(rows.values()) for row_type, rows in by_type.items() if rows}


def _settle(batches: Sequence[_Batch]) -> None:
    """Tell the waiting, by one wake-up of their loop."""
    try:
        batches[0].future.get_loop().call_soon_threadsafe(_resolve, batches)
    except RuntimeError:
        _log.debug("the event loop is gone; nobody waits for these writes any more")


def _resolve(batches: Sequence[_Batch]) -> None:
    for batch in batches:
        if batch.future.done():
            continue  # its caller was cancelled; the rows are where they belong
        if batch.error is None:
            batch.future.set_result(None)
        else:
            batch.future.set_exception(batch.error)


def _no_fault(_step: str) -> None:
    return None
