"""What a client does with a job that runs: read its output, type to it, signal it, hold on to it."""

from __future__ import annotations

import asyncio

from hrm.model.containers import LogChunk, LogFile
from hrm.model.errors import Conflict, NotFound
from hrm.model.execution import ExecSpec
from hrm.model.reports import PortsReport
from hrm.model.states import ContainerState
from hrm.model.streams import ByteStream
from hrm.rm.applications import LiveApplication, LiveContainer
from hrm.rm.manager import ABANDONED_GRACE_S, ResourceManager
from hrm.rm.records import ApplicationRow, ContainerRow
from hrm.rm.turn import Turn

#: How often a writer looks whether its task has begun.
BEGIN_POLL_S = 0.02


class Interaction:
    """Works on live applications; the service finds them."""

    def __init__(self, manager: ResourceManager) -> None:
        self._manager = manager

    # --- output

    async def read_live_log(
        self,
        app: LiveApplication,
        task_index: int,
        stream: str,
        offset: int,
        max_bytes: int,
        attempt: int | None,
    ) -> LogChunk:
        """Of a task of an application that is not over."""
        if not 0 <= task_index < app.master.task_count:
            raise NotFound(f"{app.id} has tasks 0 to {app.master.task_count - 1}, not {task_index}")
        task = app.master.task(task_index)
        container = app.containers.get(task.container_id) if task.container_id else None
        if container is None or attempt not in (None, task.attempt):
            if attempt is None and not (task.state.final and task.attempt):
                # It has not begun, tries again, or never will.
                return LogChunk(data=b"", next_offset=max(0, offset), end=task.state.final)
            return await self.read_ended_log(app.row, task_index, stream, offset, max_bytes, attempt)
        if container.row.pid is None:
            return LogChunk(data=b"", next_offset=max(0, offset), end=False)
        chunk = await self._read(container.row, stream, offset, max_bytes)
        # The file has ended, but the task may be tried again: it ends when the task is over.
        return LogChunk(data=chunk.data, next_offset=chunk.next_offset, end=False, dropped_bytes=chunk.dropped_bytes)

    async def read_ended_log(
        self,
        row: ApplicationRow,
        task_index: int,
        stream: str,
        offset: int,
        max_bytes: int,
        attempt: int | None,
    ) -> LogChunk:
        """Of a task that is over, from the latest attempt unless one is named."""
        containers = await self._manager.store.task_attempts(row.seq, task_index)
        wanted = [one for one in containers if attempt is None or one.task_attempt == attempt]
        if not wanted:
            if row.state.final and attempt is None and 0 <= task_index < row.tasks_total:
                return LogChunk(data=b"", next_offset=max(0, offset), end=True)
            what = f"task {task_index}" + (f", attempt {attempt}" if attempt is not None else "")
            raise NotFound(f"no {what} in this application", next_step="`hrm history APP` lists the attempts")
        latest = max(wanted, key=lambda one: one.task_attempt or 0)
        if latest.started_at is None:
            # Never begun; or over by now and this not on disk yet, in which case its output is still to come.
            return LogChunk(data=b"", next_offset=max(0, offset), end=latest.state.final)
        return await self._read(latest, stream, offset, max_bytes)

    async def log_files(self, row: ApplicationRow, task_index: int, attempt: int | None) -> list[LogFile]:
        """Of a task's latest attempt unless one is named; none of one that has not begun. Raises NotFound."""
        containers = await self._manager.store.task_attempts(row.seq, task_index)
        wanted = [one for one in containers if attempt in (None, one.task_attempt)]
        if not wanted:
            if attempt is None and 0 <= task_index < row.tasks_total:
                return []
            what = f"task {task_index}" + (f", attempt {attempt}" if attempt is not None else "")
            raise NotFound(f"no {what} in this application", next_step="`hrm history APP` lists the attempts")
        latest = max(wanted, key=lambda one: one.task_attempt or 0)
        if latest.started_at is None:
            return []
        return await self._manager.engine.log_files(latest.node_id, latest.container_id)

    async def _read(self, row: ContainerRow, stream: str, offset: int, max_bytes: int) -> LogChunk:
        return await self._manager.engine.read_log(
            row.node_id, row.container_id, stream, offset=offset, max_bytes=max_bytes
        )

    # --- input and signals

    async def write_stdin(self, app: LiveApplication, data: bytes) -> None:
        container = await self._begun(app)
        if container is not None:
            await self._manager.engine.write_stdin(container.row.node_id, container.row.container_id, data)

    async def close_stdin(self, app: LiveApplication) -> None:
        container = await self._begun(app)
        if container is not None:
            self._manager.engine.close_stdin(container.row.node_id, container.row.container_id)

    async def _begun(self, app: LiveApplication) -> LiveContainer | None:
        """The container of its one task, as soon as it runs; None if the application ends before."""
        if not (app.job.stdin or app.job.terminal):
            raise Conflict(f"{app.id} was submitted without an input")
        while not app.ended.is_set():
            for container in app.containers.values():
                if container.row.pid is not None:
                    return container
            await asyncio.sleep(BEGIN_POLL_S)
        return None

    def signal(self, app: LiveApplication, signum: int, container_id: str | None = None) -> int:
        """To all that runs, or to one container; returns how many that was."""
        running = [
            container
            for name, container in app.containers.items()
            if container.row.state in (ContainerState.RUNNING, ContainerState.STOPPING) and container_id in (None, name)
        ]
        for container in running:
            self._manager.engine.signal(container.row.node_id, container.row.container_id, signum)
        return len(running)

    def resize_terminal(self, app: LiveApplication, rows: int, columns: int) -> None:
        for container in app.containers.values():
            self._manager.engine.resize_terminal(container.row.node_id, container.row.container_id, rows, columns)

    # --- connections

    async def ports(self, app: LiveApplication, task_index: int) -> PortsReport:
        row = self._running(app, task_index)
        ports = await self._manager.engine.listening_ports(row.node_id, row.container_id)
        return PortsReport(
            application_id=str(app.id),
            task_index=task_index,
            container_id=row.container_id,
            node_id=row.node_id,
            ports=ports,
        )

    async def connect(self, app: LiveApplication, task_index: int, port: int) -> ByteStream:
        row = self._running(app, task_index)
        return await self._manager.engine.connect(row.node_id, row.container_id, port)

    async def execute(self, app: LiveApplication, task_index: int, spec: ExecSpec, *, by: str) -> ByteStream:
        row = self._running(app, task_index)
        stream = await self._manager.engine.execute(row.node_id, row.container_id, spec)
        self._manager.post(self._note_joined, app, row.container_id, by, spec.command[0])
        return stream

    def _note_joined(self, turn: Turn, app: LiveApplication, container_id: str, user: str, program: str) -> None:
        self._manager.record(
            turn,
            "program_joined",
            application_seq=app.row.seq,
            container_id=container_id,
            user=user,
            program=program[:200],
        )

    def _running(self, app: LiveApplication, task_index: int) -> ContainerRow:
        """Raises NotFound and Conflict."""
        if not 0 <= task_index < app.master.task_count:
            raise NotFound(f"{app.id} has tasks 0 to {app.master.task_count - 1}, not {task_index}")
        container_id = app.master.task(task_index).container_id
        container = app.containers.get(container_id) if container_id else None
        if container is None or container.row.pid is None:
            raise Conflict(f"task {task_index} of {app.id} does not run", next_step="`hrm explain APP` says why")
        return container.row

    # --- holding on

    def attach(self, app: LiveApplication) -> None:
        app.attachments += 1
        app.abandoned_at = None

    def detach(self, app: LiveApplication) -> None:
        app.attachments = max(0, app.attachments - 1)
        if app.job.attached and app.attachments == 0:
            app.abandoned_at = self._manager.clock() + ABANDONED_GRACE_S
