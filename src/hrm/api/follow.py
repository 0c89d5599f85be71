"""Following output while it is written. Logs are files on nodes, so following is polling, at a pace that fits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from hrm.model.errors import NotFound
from hrm.model.reports import TaskReport
from hrm.rm.facade import Facade

CHUNK_BYTES = 64 * 1024


class Pace:
    """How long to wait between two looks: 4 ms after something came, longer and longer while nothing does.

    So typing at a program feels direct, and a silent one costs about seven looks a second.
    """

    def __init__(self, *, shortest_s: float = 0.004, longest_s: float = 0.150, growth: float = 1.5) -> None:
        self._shortest_s = shortest_s
        self._longest_s = longest_s
        self._growth = growth
        self._interval_s = shortest_s
        self._hurried = asyncio.Event()

    def reset(self) -> None:
        """Something came: look again soon."""
        self._interval_s = self._shortest_s

    def hurry(self) -> None:
        """Something is about to come: cut the present pause short."""
        self.reset()
        self._hurried.set()

    async def pause(self) -> None:
        """Wait, and wait longer next time."""
        try:
            async with asyncio.timeout(self._interval_s):
                await self._hurried.wait()
            self._hurried.clear()
        except TimeoutError:
            self._interval_s = min(self._interval_s * self._growth, self._longest_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPiece:
    """What came next of one task's stream."""

    attempt: int
    data: bytes
    next_offset: int
    #: Bytes of this attempt that the limit on logs dropped so far.
    dropped_bytes: int


async def task_report(facade: Facade, application_id: str, task_index: int) -> TaskReport:
    """The task as it is now. Raises NotFound for an application or a task that is not there."""
    for task in await facade.tasks(application_id, offset=task_index, limit=1):
        return task
    raise NotFound(f"{application_id} has no task {task_index}", next_step=f"`hrm ps {application_id}` shows its tasks")


async def follow_log(
    facade: Facade,
    application_id: str,
    task_index: int,
    stream: str,
    *,
    offset: int,
    attempt: int | None,
    through_retries: bool,
) -> AsyncGenerator[LogPiece, None]:
    """A task's stream from ``offset`` of ``attempt`` (None: the latest) on, to the end of that attempt.

    With ``through_retries`` later attempts follow, until the task has ended. Waits for a task that has not begun.
    """
    pace = Pace()
    current = attempt
    ended = False
    while True:
        if current is None or ended:
            task = await task_report(facade, application_id, task_index)
            if current is None and task.attempt:
                current = task.attempt
            elif current is not None and task.attempt > current:
                current, offset, ended = current + 1, 0, False
                pace.reset()
            elif task.state.final:
                return
            else:
                await pace.pause()
                continue
        assert current is not None
        chunk = await facade.read_log(
            application_id, task_index, stream, offset=offset, max_bytes=CHUNK_BYTES, attempt=current
        )
        offset = chunk.next_offset
        if chunk.data:
            pace.reset()
            yield LogPiece(attempt=current, data=chunk.data, next_offset=offset, dropped_bytes=chunk.dropped_bytes)
        ended = chunk.end
        if ended and not through_retries:
            return
        if not ended and not chunk.data:
            await pace.pause()
