"""One TCP connection to a port of a task, over one WebSocket.

Binary frames are bytes, both ways. Text frames are JSON: ``{"type": "connected"}`` first from the server, then from
either side ``{"type": "end"}`` when it has no more to say, and ``{"type": "error", "error": …}`` from the server before
it closes. A side that does not read holds the other up; nothing is kept but what is on its way.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from hrm.api.streams import cancel_all
from hrm.api.wire import to_json
from hrm.model.error_codec import error_to_dict
from hrm.model.errors import HrmError
from hrm.model.streams import ByteStream

_POLICY_VIOLATION = 1008
_SERVICE_RESTART = 1012


async def serve_forwarded(
    websocket: WebSocket, stream: ByteStream, closing: asyncio.Event, *, accepted: bool = False
) -> None:
    """Until both sides have said everything, or one of them is gone. ``accepted``: the client was let in before."""
    try:
        if not accepted:
            await websocket.accept()
        await _say(websocket, {"type": "connected"})
        await _carry(websocket, stream, closing)
    except WebSocketDisconnect:
        pass  # the client is gone; the program hears of it just below
    finally:
        try:
            await stream.close()
        except HrmError:
            pass  # its node is out of reach, and closes it when nobody reads it


async def _carry(websocket: WebSocket, stream: ByteStream, closing: asyncio.Event) -> None:
    out = asyncio.create_task(_deliver(websocket, stream))
    into = asyncio.create_task(_feed(websocket, stream))
    shut = asyncio.create_task(closing.wait())
    running: set[asyncio.Task[Any]] = {out, into, shut}
    try:
        while not shut.done() and not (out.done() and into.done()):
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            if into in done and not into.exception() and not into.result():
                return  # it hung up
            for task in done - {shut}:
                if (error := task.exception()) is not None:
                    if not isinstance(error, HrmError):
                        raise error
                    await refuse(websocket, error)
                    return
        await websocket.close(_SERVICE_RESTART if shut.done() else 1000)
    finally:
        await cancel_all(out, into, shut)


async def refuse(websocket: WebSocket, error: HrmError) -> None:
    """Say why, and hang up."""
    await _say(websocket, {"type": "error", **error_to_dict(error)})
    await websocket.close(_POLICY_VIOLATION)


async def _deliver(websocket: WebSocket, stream: ByteStream) -> None:
    while data := await stream.read():
        await websocket.send_bytes(data)
    await _say(websocket, {"type": "end"})


async def _feed(websocket: WebSocket, stream: ByteStream) -> bool:
    """True iff the client said that it ended; False iff it hung up."""
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return False
        if (data := message.get("bytes")) is not None:
            await stream.write(data)
        elif _is_end(message.get("text") or ""):
            await stream.end()
            return True


def _is_end(text: str) -> bool:
    try:
        return bool(msgspec.json.decode(text) == {"type": "end"})
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False


async def _say(websocket: WebSocket, message: dict[str, Any]) -> None:
    if websocket.application_state is WebSocketState.CONNECTED:
        await websocket.send_text(to_json(message).decode())
