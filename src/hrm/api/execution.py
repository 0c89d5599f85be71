"""A program beside a task, over one WebSocket.

The client's first frame is text, ``{"type": "exec", "command": […], …}`` (`hrm.model.execution.exec_from_dict`). What
follows is as with a forwarded port (`hrm.api.forward`); binary frames carry those of `hrm.model.execution`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from hrm.api.forward import refuse, serve_forwarded
from hrm.model.errors import HrmError, InvalidInput
from hrm.model.execution import ExecSpec, exec_from_dict
from hrm.model.streams import ByteStream

#: The client knows what it wants before it connects.
_FIRST_WORD_S = 10.0


async def serve_executed(
    websocket: WebSocket, start: Callable[[ExecSpec], Awaitable[ByteStream]], closing: asyncio.Event
) -> None:
    """Until the program has ended and that is told, or one side is gone."""
    try:
        await websocket.accept()
        try:
            stream = await start(await _asked(websocket))
        except HrmError as error:
            await refuse(websocket, error)
            return
    except WebSocketDisconnect:
        return  # before anything was started
    await serve_forwarded(websocket, stream, closing, accepted=True)


async def _asked(websocket: WebSocket) -> ExecSpec:
    """Raises InvalidInput, WebSocketDisconnect."""
    try:
        message = await asyncio.wait_for(websocket.receive(), _FIRST_WORD_S)
    except TimeoutError:
        raise InvalidInput("no command came", field="exec") from None
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect
    try:
        data: Any = msgspec.json.decode(message.get("text") or "")
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidInput(f"not JSON: {error}", field="exec") from None
    return exec_from_dict(data)
