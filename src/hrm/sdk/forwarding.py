"""Ports of tasks, brought to this machine's loopback."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import msgspec

from hrm.config.tcp_owner import GONE, socket_owner
from hrm.model.error_codec import error_from_dict
from hrm.model.errors import ClusterError, Conflict, Forbidden, HrmError, NoServer
from hrm.sdk.transport import Transport
from hrm.sdk.websocket import LONGEST_WAIT_S, open_websocket

LOOPBACK = "127.0.0.1"
#: Connections at once through one forwarded port; who comes then waits.
MAX_CONNECTIONS = 100
_PIECE_BYTES = 64 << 10
_END = '{"type":"end"}'


class Tunnel:
    """Made by `Client.forward`: one TCP connection to a port of a task. One thread sends, one receives."""

    def __init__(self, transport: Transport, path: str) -> None:
        self._stack = ExitStack()
        self._websocket, self._closed_error = open_websocket(self._stack, transport, path)
        self._address = transport.address

    def send(self, data: bytes) -> None:
        """Waits while the program does not read. Raises NoServer."""
        self.say(data)

    def end(self) -> None:
        """Nothing more will be sent."""
        self.say(_END)

    def receive(self, timeout_s: float | None = None) -> bytes:
        """Some of what the program says; b"" when it has said everything. Raises NoServer, ClusterError.

        TimeoutError where nothing comes for ``timeout_s``.
        """
        while True:
            try:
                frame = self._websocket.recv(LONGEST_WAIT_S if timeout_s is None else timeout_s)
            except TimeoutError:
                if timeout_s is None:
                    continue
                raise
            except self._closed_error as error:
                raise NoServer(f"the connection to {self._address} was lost: {error}") from None
            if isinstance(frame, bytes):
                return frame
            message = msgspec.json.decode(frame)
            if message["type"] == "end":
                return b""
            if message["type"] == "error":
                raise error_from_dict(message) or ClusterError("the server reports an error without words")

    def close(self) -> None:
        """Let go, also from another thread."""
        self._stack.close()

    def say(self, frame: str | bytes) -> None:
        """A frame as it is. Raises NoServer."""
        try:
            self._websocket.send(frame)
        except self._closed_error as error:
            raise NoServer(f"the connection to {self._address} was lost: {error}") from None


class PortForwarder:
    """Listens on ``local_port`` of loopback (0: any that is free) and opens a tunnel for each connection.

    Only the caller's own processes, and root's, come in. ``on_error`` hears why a connection could not be carried.
    Raises Conflict where the port is taken.
    """

    def __init__(
        self, open_tunnel: Callable[[], Tunnel], *, local_port: int, on_error: Callable[[HrmError], None]
    ) -> None:
        self._open_tunnel = open_tunnel
        self._on_error = on_error
        self._room = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._over = False
        try:
            self._listener = socket.create_server((LOOPBACK, local_port), backlog=64)
        except OSError as error:
            raise Conflict(
                f"cannot listen on {LOOPBACK}:{local_port}: {error.strerror}", next_step="choose another LOCAL port"
            ) from None
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="accept", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Listen no more, and break off what is open."""
        self._over = True
        for one in (self._listener, *self._snapshot()):
            _shut(one, socket.SHUT_RDWR)
        self._listener.close()

    def _snapshot(self) -> list[socket.socket]:
        with self._lock:
            return list(self._open)

    def _accept(self) -> None:
        while True:
            self._room.acquire()
            try:
                connection, peer = self._listener.accept()
            except OSError:
                return  # it was closed
            threading.Thread(target=self._serve, args=(connection, peer), name="forward", daemon=True).start()

    def _serve(self, connection: socket.socket, peer: tuple[str, int]) -> None:
        with self._lock:
            self._open.add(connection)
        try:
            owner = socket_owner(peer, (LOOPBACK, self.port))
            if owner in (None, os.geteuid(), 0):
                self._carry(connection, self._open_tunnel())
            elif owner != GONE:  # who hung up at once has nobody to answer to
                raise Forbidden(f"a process of user id {owner} connected to {LOOPBACK}:{self.port}, and was refused")
        except HrmError as error:
            if not self._over:
                self._on_error(error)
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()
            self._room.release()

    def _carry(self, connection: socket.socket, tunnel: Tunnel) -> None:
        feeding = threading.Thread(target=_feed, args=(connection, tunnel), name="feed", daemon=True)
        feeding.start()
        try:
            while data := tunnel.receive():
                connection.sendall(data)
            _shut(connection, socket.SHUT_WR)
            # What it still has to say goes on; it ends when it closes, or with the program.
            feeding.join()
        except OSError:
            return  # our side hung up
        finally:
            tunnel.close()
            _shut(connection, socket.SHUT_RDWR)
            feeding.join()


def _feed(connection: socket.socket, tunnel: Tunnel) -> None:
    try:
        while data := connection.recv(_PIECE_BYTES):
            tunnel.send(data)
        tunnel.end()
    except (OSError, NoServer):
        # Either side is gone: the thread that receives finds out, and says so.
        tunnel.close()


def _shut(connection: socket.socket, how: int) -> None:
    try:
        connection.shutdown(how)
    except OSError:
        return  # it was not connected any more
