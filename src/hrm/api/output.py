"""The output of all tasks of one application, delivered as it is written and whole before the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from hrm.api.follow import CHUNK_BYTES, Pace
from hrm.api.streams import cancel_all
from hrm.model.containers import LogStream
from hrm.model.errors import NotFound
from hrm.model.reports import ApplicationReport
from hrm.rm.facade import Facade

#: How long to wait for the rest of a log that does not say it has ended although its application has.
_TAIL_GRACE_S = 5.0
_PAGE_TASKS = 500
_LONG_POLL_S = 60.0

SendOutput = Callable[[LogStream, int, bytes], Awaitable[None]]


class _Cursor:
    """How far the output of one begun task is delivered."""

    def __init__(self, attempt: int = 1) -> None:
        self.attempt = attempt
        self.offsets = dict.fromkeys(LogStream, 0)
        self.open = set(LogStream)


class OutputPump:
    """Delivers the output of every task of an application, each attempt from its begin, in the order of each stream.

    Running tasks are found by their containers. One that began and ended between two looks is found because the
    application counts more ended tasks than are known here; only then are tasks listed, from the first not known.
    """

    def __init__(self, facade: Facade, application_id: str, send: SendOutput) -> None:
        self._facade = facade
        self._id = application_id
        self._send = send
        self._pace = Pace()
        self._cursors: dict[int, _Cursor] = {}
        self._delivered: set[int] = set()
        self._ended: set[int] = set()
        self._all_ended_below = 0
        #: What the limit on logs dropped of the output that was delivered to its end.
        self.dropped_bytes = 0

    def hurry(self) -> None:
        """Output is likely soon: the program was just told something."""
        self._pace.hurry()

    async def run(self) -> ApplicationReport:
        """The application's last report, once all output is delivered."""
        ended = asyncio.create_task(self._wait())
        ended.add_done_callback(lambda _: self._pace.hurry())
        loop = asyncio.get_running_loop()
        try:
            quiet_since = loop.time()
            while True:
                over = ended.done()
                await self._discover()
                if await self._deliver():
                    quiet_since = loop.time()
                    self._pace.reset()
                    continue
                if over and (not self._cursors or loop.time() - quiet_since > _TAIL_GRACE_S):
                    return ended.result()
                if not over:
                    quiet_since = loop.time()
                await self._pace.pause()
        finally:
            await cancel_all(ended)

    async def _wait(self) -> ApplicationReport:
        while True:
            report = await self._facade.wait(self._id, timeout_s=_LONG_POLL_S)
            if report.state.final:
                return report

    async def _discover(self) -> None:
        for container in self._facade.containers(self._id):
            if (index := container.task_index) is not None and index not in self._delivered:
                self._cursors.setdefault(index, _Cursor())
        report = await self._facade.application(self._id)
        ended = report.tasks_succeeded + report.tasks_failed + report.tasks_killed
        offset = self._all_ended_below
        while ended > len(self._ended):
            page = await self._facade.tasks(self._id, offset=offset, limit=_PAGE_TASKS)
            for task in page:
                if task.state.final and task.task_index not in self._ended:
                    self._ended.add(task.task_index)
                    if task.attempt:
                        if task.task_index not in self._delivered:
                            self._cursors.setdefault(task.task_index, _Cursor())
                    else:
                        self._delivered.add(task.task_index)
            if not page:
                return
            offset += len(page)
            while self._all_ended_below in self._ended:
                self._all_ended_below += 1

    async def _deliver(self) -> bool:
        """One round over all streams that are open: at most one chunk of each. True iff anything moved."""
        moved = False
        for index, cursor in list(self._cursors.items()):
            for stream in LogStream:
                if stream in cursor.open:
                    moved |= await self._deliver_one(index, cursor, stream)
            if not cursor.open:
                moved |= await self._next(index, cursor)
        return moved

    async def _deliver_one(self, index: int, cursor: _Cursor, stream: LogStream) -> bool:
        try:
            chunk = await self._facade.read_log(
                self._id,
                index,
                stream,
                offset=cursor.offsets[stream],
                max_bytes=CHUNK_BYTES,
                attempt=cursor.attempt,
            )
        except NotFound:
            # Not begun yet, or it left no log; which of the two, its state tells once it has ended.
            if index in self._ended:
                cursor.open.discard(stream)
            return False
        cursor.offsets[stream] = chunk.next_offset
        if chunk.data:
            await self._send(stream, index, chunk.data)
        if chunk.end:
            cursor.open.discard(stream)
            self.dropped_bytes += chunk.dropped_bytes
        return bool(chunk.data) or chunk.end

    async def _next(self, index: int, cursor: _Cursor) -> bool:
        """An attempt is delivered to its end: go on to the next one, or be done with the task."""
        for task in await self._facade.tasks(self._id, offset=index, limit=1):
            if task.attempt > cursor.attempt:
                self._cursors[index] = _Cursor(cursor.attempt + 1)
                return True
            if not task.state.final:
                return False
            self._ended.add(index)
        self._delivered.add(index)
        del self._cursors[index]
        return True
