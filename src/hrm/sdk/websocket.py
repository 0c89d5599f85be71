"""A WebSocket to the server, over TCP or its Unix socket."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec

from hrm.model.error_codec import error_from_dict
from hrm.model.errors import HrmError, NoServer
from hrm.sdk.transport import PREFIX, Transport

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

_MAX_FRAME_BYTES = 16 << 20
_FAREWELL_S = 0.5


#: No wait is longer: Python sees a signal between two instructions, and one that comes just before a wait at its end.
LONGEST_WAIT_S = 0.25


def open_websocket(stack: ExitStack, transport: Transport, path: str) -> tuple[ClientConnection, type[Exception]]:
    """The connection, which ``stack`` closes, and what it raises from then on.

    Raises what the server refuses it with, and NoServer.
    """
    # Imported here: it takes 130 ms, and most commands never attach.
    from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
    from websockets.sync.client import connect, unix_connect

    connection = transport.connect_socket()
    open_on = unix_connect if connection.family == socket.AF_UNIX else connect
    try:
        # With a socket of ours no proxy of the environment comes between. TLS is spoken on it already.
        opening = open_on(
            uri=f"ws://{transport.place}{PREFIX}{path}",
            sock=connection,
            additional_headers=transport.headers,
            compression=None,
            max_size=_MAX_FRAME_BYTES,
            open_timeout=transport.timeout_s,
            # One who leaves in the middle of much output does not read on until the answer to its farewell comes.
            close_timeout=_FAREWELL_S,
            # A reader that pauses (a pager, a browser) holds up the answers to pings too, and is not dead.
            ping_interval=None,
            user_agent_header=None,
        )
        return stack.enter_context(opening), ConnectionClosed
    except InvalidStatus as refused:
        connection.close()
        raise _refusal(refused.response.body, transport.address) from None
    except (InvalidHandshake, OSError, EOFError) as error:
        connection.close()
        raise NoServer(f"{transport.address} does not let a client attach: {error}") from None


def _refusal(body: bytes | bytearray | None, address: str) -> HrmError:
    try:
        data = msgspec.json.decode(body or b"")
    except (msgspec.DecodeError, UnicodeDecodeError):
        data = None
    return error_from_dict(data) or NoServer(f"what answers at {address} is no HRM server")
