"""A door over a `FakeFacade`: in the process for plain answers, over a real socket for what streams."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from hrm.api.accounts import Accounts
from hrm.api.native import create_app
from hrm.api.settings import ApiSettings
from hrm.model.reports import ReloadReport
from hrm.sdk.client import Client
from hrm.testing.accounts import made_up_accounts
from hrm.testing.facade import FakeFacade
from tests.scenarios.api.running_server import TOKENS, RunningServer


async def reloaded() -> ReloadReport:
    return ReloadReport(added=["research"], removed=[], changed=["batch"])


def configuration() -> dict[str, Any]:
    return {"scheduler": {"policy": "drf"}, "queues": {"batch": {"weight": 2.0}}}


@pytest.fixture
def bearer() -> Callable[..., dict[str, str]]:
    """The header by which a user comes in."""

    def header(user: str, **claims: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {TOKENS.mint(user, **claims)}"}

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
    return create_app(
        facade, tokens=TOKENS, settings=settings, reload=reloaded, configuration=configuration, accounts=accounts
    )


@pytest.fixture
async def http(app: FastAPI, bearer: Callable[..., dict[str, str]]) -> AsyncIterator[httpx.AsyncClient]:
    """ada's, who is no admin."""
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=bearer("ada")) as client:
        yield client


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
