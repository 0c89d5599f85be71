"""A client attached to an application: all its output, its end, and standard input, signals and window size to it.

What travels is in `hrm.model.attach_codec`. Three coroutines share one WebSocket: one reads what the client says (it
never waits for the program, so Ctrl-C always gets through), one feeds standard input at the program's own speed, one
delivers output. Nothing is kept beyond the window of standard input and one chunk of output.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from hrm.api.follow import CHUNK_BYTES, Pace
from hrm.api.streams import cancel_all
from hrm.api.wire import to_json
from hrm.model.attach_codec import STDIN_WINDOW_BYTES, encode_output
from hrm.model.containers import LogStream
from hrm.model.error_codec import error_to_dict
from hrm.model.errors import CallerError, HrmError, InvalidInput, NotFound, TooLarge
from hrm.model.jobs import TerminalSize
from hrm.model.reports import ApplicationReport
from hrm.rm.facade import Facade

#: How long to wait for the rest of a log that does not say it has ended although its application has.
_TAIL_GRACE_S = 5.0
_PAGE_TASKS = 500
_LONG_POLL_S = 60.0
_POLICY_VIOLATION = 1008
_SERVICE_RESTART = 1012

SendOutput = Callable[[LogStream, int, bytes], Awaitable[None]]


async def serve_attached(websocket: WebSocket, facade: Facade, application_id: str, closing: asyncio.Event) -> None:
    """Hold the application for this client until either ends. The caller has checked that the client may."""
    facade.attach(application_id)
    try:
        await websocket.accept()
        await _Session(websocket, facade, application_id).run(closing)
    except WebSocketDisconnect:
        pass  # the client is gone; the facade hears of it just below
    finally:
        facade.detach(application_id)


class _Session:
    def __init__(self, websocket: WebSocket, facade: Facade, application_id: str) -> None:
        self._websocket = websocket
        self._facade = facade
        self._id = application_id
        self._output = OutputPump(facade, application_id, self._send_output)
        self._stdin = _StdinFeed(facade, application_id, self._stdin_taken)

    async def run(self, closing: asyncio.Event) -> None:
        await self._send({"type": "attached", "stdin_window_bytes": STDIN_WINDOW_BYTES})
        read = asyncio.create_task(self._read())
        feed = asyncio.create_task(self._stdin.run())
        deliver = asyncio.create_task(self._output.run())
        shut = asyncio.create_task(closing.wait())
        tasks = {read, feed, deliver, shut}
        try:
            # Feeding ends first where the client closes standard input; that alone ends nothing.
            while not (read.done() or deliver.done() or shut.done() or (feed.done() and feed.exception())):
                running = {task for task in tasks if not task.done()}
                await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            await self._finish(read, feed, deliver, shut)
        finally:
            await cancel_all(*tasks)

    async def _finish(self, read: Any, feed: Any, deliver: Any, shut: Any) -> None:
        for task in (deliver, feed, read):
            if task.done() and (error := task.exception()) is not None:
                if not isinstance(error, HrmError):
                    raise error
                await self._send({"type": "error", **error_to_dict(error)})
                await self._websocket.close(_POLICY_VIOLATION)
                return
        if deliver.done():
            await self._send({"type": "ended", "report": deliver.result()})
            await self._websocket.close()
        elif shut.done():
            await self._websocket.close(_SERVICE_RESTART)

    async def _read(self) -> None:
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if (data := message.get("bytes")) is not None:
                self._stdin.add(data)
                self._output.hurry()
            else:
                await self._obey(_command(message.get("text") or ""))

    async def _obey(self, command: dict[str, Any]) -> None:
        match command:
            case {"type": "close_stdin"}:
                self._stdin.close()
            case {"type": "signal", "signum": int(signum)} if 0 < signum < 65:
                await self._facade.signal(self._id, signum)
                self._output.hurry()
            case {"type": "resize", "rows": int(rows), "columns": int(columns)}:
                size = TerminalSize(rows=rows, columns=columns)
                self._facade.resize_terminal(self._id, size.rows, size.columns)
                self._output.hurry()
            case _:
                raise InvalidInput(
                    f"not a command: {str(command)[:100]}", next_step="close_stdin, signal and resize are known"
                )

    async def _send_output(self, stream: LogStream, task_index: int, data: bytes) -> None:
        await self._websocket.send_bytes(encode_output(stream, task_index, data))

    async def _stdin_taken(self, count: int) -> None:
        await self._send({"type": "stdin_taken", "bytes": count})
        self._output.hurry()

    async def _send(self, message: dict[str, Any]) -> None:
        if self._websocket.application_state is WebSocketState.CONNECTED:
            await self._websocket.send_text(to_json(message).decode())


def _command(text: str) -> dict[str, Any]:
    try:
        data = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise CallerError(f"not a JSON object: {text[:100]!r}")
    return data


class _StdinFeed:
    """Standard input on its way: at most a window of it."""

    def __init__(self, facade: Facade, application_id: str, taken: Callable[[int], Awaitable[None]]) -> None:
        self._facade = facade
        self._id = application_id
        self._taken = taken
        self._pieces: deque[bytes] = deque()
        self._bytes = 0
        self._closed = False
        self._changed = asyncio.Event()

    def add(self, data: bytes) -> None:
        """Raises TooLarge from a client that does not keep to the window."""
        if self._bytes + len(data) > STDIN_WINDOW_BYTES:
            raise TooLarge(f"more than {STDIN_WINDOW_BYTES} bytes of standard input under way")
        if data and not self._closed:
            self._pieces.append(data)
            self._bytes += len(data)
            self._changed.set()

    def close(self) -> None:
        self._closed = True
        self._changed.set()

    async def run(self) -> None:
        """Until standard input is closed and all of it delivered. What an ended program leaves unread is dropped."""
        listening = True
        while self._pieces or not self._closed:
            if not self._pieces:
                self._changed.clear()
                await self._changed.wait()
                continue
            data = self._pieces[0]
            if listening:
                try:
                    await self._facade.write_stdin(self._id, data)
                except NotFound:
                    listening = False
            self._pieces.popleft()
            self._bytes -= len(data)
            await self._taken(len(data))
        if listening:
            try:
                await self._facade.close_stdin(self._id)
            except NotFound:
                pass  # it ended by itself meanwhile


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
