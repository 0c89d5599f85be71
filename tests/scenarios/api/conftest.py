"""A door over a `FakeFacade`: in the process for plain answers, over a real socket for what streams."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from hrm.api.accounts import Accounts
from hrm.api.native import create_app
from hrm.api.settings import ApiSettings
from hrm.api.tokens import TokenAuthority
from hrm.model.reports import ReloadReport
from hrm.sdk.client import Client
from hrm.testing import eventually
from hrm.testing.accounts import made_up_accounts
from hrm.testing.facade import FakeFacade

Answer = TypeVar("Answer")
TOKENS = TokenAuthority(bytes(range(32)))


async def reloaded() -> ReloadReport:
    return ReloadReport(added=["research"], removed=[], changed=["batch"])


@pytest.fixture
def bearer() -> Callable[..., dict[str, str]]:
    """The header by which a user comes in."""

    def header(user: str, *, admin: bool = False) -> dict[str, str]:
        return {"Authorization": f"Bearer {TOKENS.mint(user, admin=admin)}"}

    return header


@pytest.fixture
def facade() -> FakeFacade:
    return FakeFacade()


@pytest.fixture
def settings() -> ApiSettings:
    return ApiSettings()


@pytest.fixture
def accounts() -> Accounts:
    """Of a machine where root runs the server. Its users are all the tester, who bears the tokens of all of them."""
    tester = os.geteuid() or 1001
    return made_up_accounts({"root": 0, "ada": tester, "bob": tester})


@pytest.fixture
def app(facade: FakeFacade, settings: ApiSettings, accounts: Accounts) -> FastAPI:
    return create_app(facade, tokens=TOKENS, settings=settings, reload=reloaded, accounts=accounts)


@pytest.fixture
async def http(app: FastAPI, bearer: Callable[..., dict[str, str]]) -> AsyncIterator[httpx.AsyncClient]:
    """ada's, who is no admin."""
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=bearer("ada")) as client:
        yield client


class RunningServer:
    """The door served by uvicorn on loopback, in a thread of its own."""

    def __init__(self, app: FastAPI, facade: FakeFacade, settings: ApiSettings) -> None:
        self.facade = facade
        self.app = app
        # As the server does it: asyncio turns Nagle's delay off where the protocol is named.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen(128)
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="warning", **settings.uvicorn_options()))
        self._thread = threading.Thread(target=self._run, name="api server")
        self._thread.start()
        eventually(lambda: self._server.started)

    def _run(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._server.serve(sockets=[self._socket]))
        self._loop.close()

    def do(self, work: Callable[[FakeFacade], Answer]) -> Answer:
        """Run ``work`` where the facade lives."""

        async def call() -> Any:
            result = work(self.facade)
            return await result if isinstance(result, Awaitable) else result

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(timeout=10)

    def token(self, user: str, *, admin: bool = False) -> str:
        return TOKENS.mint(user, admin=admin)

    def client(self, user: str = "ada", *, admin: bool = False, timeout_s: float = 10.0) -> Client:
        return Client(self.address, token=self.token(user, admin=admin), timeout_s=timeout_s)

    def drop_connections(self) -> None:
        """As a network does: every connection ends, without a word."""

        async def drop() -> None:
            for connection in list(self._server.server_state.connections):
                connection.transport.abort()

        asyncio.run_coroutine_threadsafe(drop(), self._loop).result(timeout=10)

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
            self._thread.join(timeout=10)
        assert not self._thread.is_alive(), "the server did not end"


@pytest.fixture
def server(app: FastAPI, facade: FakeFacade, settings: ApiSettings) -> Iterator[RunningServer]:
    running = RunningServer(app, facade, settings)
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def unused_address() -> str:
    """Where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def silent_server() -> Iterator[str]:
    """It takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def other_server() -> Iterator[str]:
    """A web server that has never heard of HRM."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as other:
        thread = threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{other.server_port}"
        other.shutdown()
        thread.join()


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    with server.client() as connected:
        yield connected
