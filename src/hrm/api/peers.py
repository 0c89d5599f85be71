"""Who is at the other end of a connection, as the kernel tells it.

Over the Unix socket it is told with the connection (SO_PEERCRED, unix(7)). Over TCP a connecting socket on this machine
stands in ``/proc/net/tcp`` with the user who opened it (`hrm.config.tcp_owner`); that is looked up once for each
connection.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from functools import partial

from uvicorn.protocols.http.h11_impl import H11Protocol

from hrm.config.tcp_owner import GONE, socket_owner

#: Where in the ASGI scope's ``state`` the `Peer` of the connection stands.
PEER = "hrm.peer"


class Peer:
    """The other end of one connection."""

    __slots__ = ("_find_owner", "_owner", "proven_uid")

    def __init__(self, *, proven_uid: int | None = None, find_owner: Callable[[], int | None] | None = None) -> None:
        """``find_owner`` is asked once, in a thread; None iff ``proven_uid`` says it."""
        #: Whose process it is, told by the kernel when the connection was made; None iff it came over TCP.
        self.proven_uid = proven_uid
        self._owner = proven_uid
        self._find_owner = find_owner

    @classmethod
    def of(cls, transport: asyncio.BaseTransport) -> Peer:
        connection: socket.socket = transport.get_extra_info("socket")
        if connection.family == socket.AF_UNIX:
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
            return cls(proven_uid=struct.unpack("iII", credentials)[1])
        try:
            theirs, ours = connection.getpeername(), connection.getsockname()
        except OSError:
            return cls(find_owner=lambda: GONE)
        return cls(find_owner=partial(socket_owner, theirs[:2], ours[:2]))

    async def owner(self) -> int | None:
        """The user id that the other end's socket belongs to; see `socket_owner`."""
        if self._find_owner is not None:
            self._owner = await asyncio.to_thread(self._find_owner)
            self._find_owner = None
        return self._owner


class PeerProtocol(H11Protocol):
    """HTTP as uvicorn speaks it; each connection knows its peer, also after it has become a WebSocket."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn names the narrower type
        self.app_state = {**self.app_state, PEER: Peer.of(transport)}
