"""The store as the ResourceManager sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from hrm.rm.records import Row
from hrm.rm.store.database import Database, open_database
from hrm.rm.store.deletion import Deletion, skipped_numbers, some_containers, some_events, some_tasks, whole_application
from hrm.rm.store.queries import Queries
from hrm.rm.store.writer import Fault, Writer

#: Between two slices of a deletion.
DELETION_PAUSE_S = 0.005


class Store(Queries):
    """Rows on disk: one thread writes, one reads, and the event loop waits for neither."""

    def __init__(self, database: Database, *, fault: Fault | None = None) -> None:
        super().__init__(database)
        self._writer = Writer(database, fault)

    @property
    def epoch(self) -> int:
        """How often this store was opened: 1 the first time."""
        return self._database.epoch

    @property
    def cluster_timestamp(self) -> int:
        """When this store was made, in ms since 1970."""
        return self._database.cluster_timestamp

    @property
    def healthy(self) -> bool:
        """False while something that must be written cannot be; ``trouble`` says why."""
        return not self._writer.trouble

    @property
    def trouble(self) -> str:
        return self._writer.trouble

    def commit(self, rows: Sequence[Row], *, must: bool = True) -> asyncio.Future[None]:
        """Write these rows whole, each inserted or replaced by its key, all or none of them.

        Call it on the event loop. The future is done when they are on disk. Commits are kept in order. ``must``: what
        was decided; it is tried again until it is written, and fails only if the store is closed before that
        (StoreError) or no database could hold the rows (InvariantBroken); every later commit fails then too, so that
        the disk holds one moment of the past. Otherwise: what is only asked for; it fails with StoreError if it cannot
        be written now.
        """
        return self._writer.commit(rows, must=must)

    async def delete_application(self, seq: int) -> int:
        """Delete one that is over, slice by slice; how many rows that were. One of which something runs stays.

        Raises StoreError if it cannot be written now; what was deleted till then is.
        """
        rows = 0
        for make in (some_containers, some_tasks):
            while (deleted := await self._delete(make(seq))) > 0:
                rows += deleted
        return rows + await self._delete(whole_application(seq))

    async def skip_application_numbers(self, up_to_seq: int) -> None:
        """No later life gives an application one of these numbers. Raises StoreError if it cannot be written now."""
        await self._writer.commit((), must=False, deletion=skipped_numbers(up_to_seq))

    async def delete_events(self, up_to_seq: int) -> int:
        """Delete the events up to this one, slice by slice; how many that were. Raises StoreError."""
        rows = 0
        while (deleted := await self._delete(some_events(up_to_seq))) > 0:
            rows += deleted
        return rows

    async def _delete(self, deletion: Deletion) -> int:
        await self._writer.commit((), must=False, deletion=deletion)
        # Whoever waits for the disk goes first.
        await asyncio.sleep(DELETION_PAUSE_S)
        return deletion.deleted

    async def close(self) -> None:
        """Write all that waits, then let go of the database."""
        await self._writer.close()
        await super().close()


def open_store(database: Path | str, *, now: float, fault: Fault | None = None) -> Store:
    """Open or create the store; each opening begins a new epoch.

    ``database``: the path of a SQLite file, or a URL of SQLAlchemy. ``now``: epoch seconds. ``fault``: for tests, see
    `hrm.rm.store.writer`. Raises StoreError if the database cannot be opened, is corrupt, or is a newer HRM's; then
    nothing was changed.
    """
    return Store(open_database(database, now=now), fault=fault)
