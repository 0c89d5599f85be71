"""Made from the route table: a route that is added later is tested without anybody thinking of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.routing import Route
from starlette.types import Message

from hrm.api.native import create_app
from hrm.api.settings import ApiSettings
from hrm.api.tokens import TokenAuthority
from hrm.model.jobs import JobSpec, TaskGroupSpec
from hrm.model.reports import ReloadReport
from hrm.testing.facade import FakeFacade

#: Routes without a token, and why.
PUBLIC = {
    "GET /healthz": "says only ok",
    "GET /api/v1/openapi.json": "says what the source says",
    "HEAD /api/v1/openapi.json": "the same",
}
#: Routes that any user may call although another user's application stands behind them, and why.
OPEN_TO_EVERY_USER = {
    "POST /api/v1/applications": "submits as whoever calls",
    "GET /api/v1/applications": "names, states and resources, as squeue shows them",
    "GET /api/v1/applications/{application_id}": "the same of one",
    "GET /api/v1/applications/{application_id}/wait": "the same, later",
    "GET /api/v1/applications/{application_id}/tasks": "states and places of its tasks",
    "GET /api/v1/applications/{application_id}/explain": "the scheduler's reason: queues, nodes, amounts",
    "GET /api/v1/containers": "who holds what where",
    "GET /api/v1/history": "who held what where, when",
    "GET /api/v1/events": "what happened, without the details of others' applications",
    "GET /api/v1/queues": "shares concern everybody",
    "GET /api/v1/nodes": "nodes concern everybody",
    "GET /api/v1/server": "version and load",
}


class Clock:
    now = 1_763_900_000.0

    def __call__(self) -> float:
        return self.now


async def reload() -> ReloadReport:
    raise AssertionError("nobody in these tests may reload")


@dataclass(frozen=True)
class Call:
    """One method of one route."""

    method: str
    template: str

    def __str__(self) -> str:
        return f"{self.method} {self.template}"


class House:
    """A door with one application of ada's behind it, and calls to it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.tokens = TokenAuthority(bytes(range(32)), clock=self.clock)
        self.facade = FakeFacade()
        self.app = create_app(self.facade, tokens=self.tokens, settings=ApiSettings(), reload=reload)
        job = JobSpec(groups=(TaskGroupSpec(command=("sleep", "60")),), stdin=True)
        self.application_id = asyncio.run(self.facade.submit(job, user="ada")).application_id

    def status(self, call: Call, token: str | None) -> int:
        """What a caller with ``token`` gets; 101 where a WebSocket opens."""
        return asyncio.run(self._status(call, token))

    async def _status(self, call: Call, token: str | None) -> int:
        kind = "websocket" if call.method == "WEBSOCKET" else "http"
        path = call.template.format(application_id=self.application_id)
        headers = [(b"host", b"127.0.0.1")]
        if token is not None:
            headers.append((b"authorization", f"Bearer {token}".encode()))
        body = json.dumps({"signum": 15}).encode() if path.endswith("signal") else b""
        scope = {
            "type": kind,
            "method": call.method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": headers,
            "extensions": {"websocket.http.response": {}},
        }
        received = [{"type": "websocket.connect"} if kind == "websocket" else {"type": "http.request", "body": body}]
        sent: list[Message] = []

        async def receive() -> Message:
            return received.pop() if received else {"type": f"{kind}.disconnect", "code": 1001}

        async def send(message: Message) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        return 101 if sent[0]["type"] == "websocket.accept" else int(sent[0]["status"])


def calls(app: FastAPI) -> Iterator[Call]:
    for route in app.routes:
        if isinstance(route, APIWebSocketRoute):
            yield Call("WEBSOCKET", route.path)
        else:
            assert isinstance(route, (APIRoute, Route)), f"a kind of route that this test does not know: {route!r}"
            yield from (Call(method, route.path) for method in sorted(route.methods or ()))


ALL = list(calls(House().app))
CLOSED = [call for call in ALL if str(call) not in PUBLIC]
OWNERS_AND_ADMINS = [call for call in CLOSED if str(call) not in OPEN_TO_EVERY_USER]


@pytest.fixture(scope="module")
def house() -> House:
    """One for all tests here: what they do must change nothing."""
    return House()


def test_the_lists_of_exceptions_name_only_routes_that_exist() -> None:
    assert (PUBLIC.keys() | OPEN_TO_EVERY_USER.keys()) <= {str(call) for call in ALL}


@pytest.mark.parametrize("call", CLOSED, ids=str)
def test_without_a_token_nobody_comes_in(house: House, call: Call) -> None:
    assert house.status(call, None) == 401


@pytest.mark.parametrize("call", CLOSED, ids=str)
def test_with_a_token_of_another_server_nobody_comes_in(house: House, call: Call) -> None:
    assert house.status(call, TokenAuthority(bytes(32), clock=house.clock).mint("ada", admin=True)) == 401


@pytest.mark.parametrize("call", CLOSED, ids=str)
def test_with_an_expired_token_nobody_comes_in(house: House, call: Call) -> None:
    token = house.tokens.mint("ada", admin=True, ttl_s=60)
    house.clock.now += 61

    assert house.status(call, token) == 401


@pytest.mark.parametrize("call", OWNERS_AND_ADMINS, ids=str)
def test_another_user_is_told_that_it_is_not_theirs(house: House, call: Call) -> None:
    assert house.status(call, house.tokens.mint("bob")) == 403
    app = house.facade.apps[house.application_id]
    assert (app.signals, app.attachments, app.state.final, house.facade.shutdown_requested) == ([], 0, False, False)


@pytest.mark.parametrize("call", [call for call in ALL if str(call) in PUBLIC], ids=str)
def test_what_is_public_needs_no_token(house: House, call: Call) -> None:
    assert house.status(call, None) == 200


@pytest.mark.parametrize("path", ["/", "/api/v1", "/api/v1/secrets", "/healthz/", "//healthz", "/docs", "/redoc"])
def test_a_path_that_is_not_there_is_closed_too(house: House, path: str) -> None:
    assert house.status(Call("GET", path), None) == 401


def test_the_owner_comes_in_everywhere_but_where_an_admin_is_needed() -> None:
    house = House()
    token = house.tokens.mint("ada")
    refused = [
        str(call)
        for call in OWNERS_AND_ADMINS
        if house.status(call, token) == 403  # kill is called too, so the application has ended for what follows
    ]

    assert refused == ["POST /api/v1/server/shutdown", "POST /api/v1/queues/reload"]
