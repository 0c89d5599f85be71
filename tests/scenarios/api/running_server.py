"""A door over a `FakeFacade` as clients meet it: served by uvicorn, over real sockets."""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
from fastapi import FastAPI

from hrm.api.settings import ApiSettings
from hrm.api.tokens import TokenAuthority
from hrm.config import sockets
from hrm.sdk.client import Client
from hrm.testing import eventually
from hrm.testing.facade import FakeFacade

Answer = TypeVar("Answer")
TOKENS = TokenAuthority(bytes(range(32)))


class RunningServer:
    """The door served by uvicorn, on loopback and on a Unix socket for everybody, in a thread of its own."""

    def __init__(self, app: FastAPI, facade: FakeFacade, settings: ApiSettings) -> None:
        self.facade = facade
        self.app = app
        # As the server does it: asyncio turns Nagle's delay off where the protocol is named.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen(128)
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        # Not pytest's own directory: other users could not reach into it.
        self._folder = Path(tempfile.mkdtemp(prefix="hrm-"))
        self._folder.chmod(0o755)
        self.socket_file = self._folder / "hrm.sock"
        self._sockets = [self._socket, sockets.listen(self.socket_file, mode=0o666)]
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="warning", **settings.uvicorn_options()))
        self._thread = threading.Thread(target=self._run, name="api server")
        self._thread.start()
        eventually(lambda: self._server.started)

    def _run(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._server.serve(sockets=self._sockets))
        self._loop.close()

    def do(self, work: Callable[[FakeFacade], Answer]) -> Answer:
        """Run ``work`` where the facade lives."""

        async def call() -> Any:
            result = work(self.facade)
            return await result if isinstance(result, Awaitable) else result

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(timeout=60)

    def token(self, user: str, *, admin: bool = False) -> str:
        return TOKENS.mint(user, admin=admin)

    def client(self, user: str = "ada", *, admin: bool = False) -> Client:
        return Client(self.address, token=self.token(user, admin=admin), timeout_s=60.0)

    @property
    def unix_address(self) -> str:
        return f"unix:{self.socket_file}"

    @property
    def open_connections(self) -> int:
        return len(self._server.server_state.connections)

    def drop_connections(self) -> None:
        """As a network does: every connection ends, without a word."""

        async def drop() -> None:
            for connection in list(self._server.server_state.connections):
                connection.transport.abort()

        asyncio.run_coroutine_threadsafe(drop(), self._loop).result(timeout=60)

    def count_calls(self, method: str) -> Callable[[], int]:
        """How often the facade's ``method`` is called from now on."""
        inside = getattr(self.facade, method)
        calls = 0

        def counted(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            return inside(*arguments, **named)

        setattr(self.facade, method, counted)
        return lambda: calls

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self.app.state.streams.end_all)
            self._server.should_exit = True
            self._thread.join(timeout=60)
        shutil.rmtree(self._folder, ignore_errors=True)
        assert not self._thread.is_alive(), "the server did not end"
