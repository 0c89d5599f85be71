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

from hrm.api.output import OutputPump
from hrm.api.streams import cancel_all
from hrm.api.wire import to_json
from hrm.model.attach_codec import STDIN_WINDOW_BYTES, encode_output
from hrm.model.containers import LogStream
from hrm.model.error_codec import error_to_dict
from hrm.model.errors import CallerError, HrmError, InvalidInput, NotFound, TooLarge
from hrm.model.jobs import TerminalSize
from hrm.rm.facade import Facade

_POLICY_VIOLATION = 1008
_SERVICE_RESTART = 1012


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
            dropped = self._output.dropped_bytes
            await self._send({"type": "ended", "report": deliver.result(), "dropped_bytes": dropped})
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
