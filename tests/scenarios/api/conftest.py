"""A door over a `FakeFacade`: in the process for plain answers, over a real socket for what streams."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeVar

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from hrm.api.native import create_app
from hrm.api.settings import ApiSettings
from hrm.api.tokens import TokenAuthority
from hrm.model.reports import ReloadReport
from hrm.sdk.client import Client
from hrm.testing import eventually
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
def app(facade: FakeFacade, settings: ApiSettings) -> FastAPI:
    return create_app(facade, tokens=TOKENS, settings=settings, reload=reloaded)


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
        self._socket = socket.create_server(("127.0.0.1", 0))
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

    def client(self, user: str = "ada", *, admin: bool = False, timeout_s: float = 10.0) -> Client:
        return Client(self.address, token=TOKENS.mint(user, admin=admin), timeout_s=timeout_s)

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
def client(server: RunningServer) -> Iterator[Client]:
    with server.client() as connected:
        yield connected
