"""Made from the route table: a route that is added later is tested without anybody thinking of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.routing import Route
from starlette.types import Message

from hrm.api.native import create_app
from hrm.api.peers import PEER, Peer
from hrm.api.settings import ApiSettings
from hrm.api.tokens import TokenAuthority
from hrm.config.tcp_owner import GONE
from hrm.model.jobs import JobSpec, TaskGroupSpec
from hrm.model.reports import ReloadReport
from hrm.testing.accounts import made_up_accounts
from hrm.testing.facade import NODE_ID, PORT, FakeFacade

#: Routes without a token, and why.
PUBLIC = {
    "GET /healthz": "says only ok",
    "GET /api/v1/openapi.json": "says what the source says",
    "HEAD /api/v1/openapi.json": "the same",
}
#: Routes that any user may call although another user's application stands behind them, and why.
OPEN_TO_EVERY_USER = {
    "POST /api/v1/applications": "submits as whoever calls",
    "POST /api/v1/applications/placement": "places as whoever calls",
    "POST /api/v1/uploads": "begins an upload of the caller's own",
    "POST /api/v1/uploads/{upload_id}/content": "goes on with one of the caller's own",
    "GET /api/v1/applications": "names, states and resources, as squeue shows them",
    "GET /api/v1/applications/{application_id}": "the same of one",
    "GET /api/v1/applications/{application_id}/wait": "the same, later",
    "GET /api/v1/applications/{application_id}/tasks": "states and places of its tasks",
    "GET /api/v1/applications/{application_id}/explain": "the scheduler's reason: queues, nodes, amounts",
    "GET /api/v1/applications/{application_id}/explanation": "the same",
    "GET /api/v1/containers": "who holds what where",
    "GET /api/v1/work": "the same, and what is waited for",
    "GET /api/v1/history": "who held what where, when",
    "GET /api/v1/events": "what happened, without the details of others' applications",
    "GET /metrics": "shares, nodes and counts concern everybody",
    "POST /api/v1/session": "a token of whoever calls",
    "GET /api/v1/queues": "shares concern everybody",
    "GET /api/v1/queues/access": "who may use which queue",
    "GET /api/v1/nodes": "nodes concern everybody",
    "GET /api/v1/node-labels": "and so do their labels",
    "GET /api/v1/server": "version and load",
}


#: What is for admins alone.
ADMINS_ONLY = {
    "POST /api/v1/server/shutdown",
    "POST /api/v1/server/drain",
    "POST /api/v1/server/undrain",
    "POST /api/v1/nodes/{node_id}/drain",
    "POST /api/v1/nodes/{node_id}/undrain",
    "POST /api/v1/nodes/{node_id}/set",
    "POST /api/v1/node-labels",
    "POST /api/v1/nodes/{node_id}/examine",
    "POST /api/v1/clean",
    "GET /api/v1/queues/configuration",
    "POST /api/v1/queues/reload",
}
#: What is for an application's own master alone, by its attempt's token; no person has one.
MASTERS = "/api/v1/masters/{attempt_id}/"
ROOT, ADA, BOB, STRANGER = 0, 1001, 1002, 4711
SECRET = "not-for-bob"
#: One loop for all houses: their facades' events belong to it.
LOOP = asyncio.Runner()


class Clock:
    now = 1_763_900_000.0

    def __call__(self) -> float:
        return self.now


async def reload() -> ReloadReport:
    return ReloadReport(added=[], removed=[], changed=[])


def configuration() -> dict[str, Any]:
    return {}


def name_of(uid: int) -> str:
    return {ROOT: "root", ADA: "ada", BOB: "bob"}[uid]


def over_the_socket(uid: int) -> Peer:
    """A process of ``uid`` at the other end of the Unix socket."""
    return Peer(proven_uid=uid)


def over_tcp(owner: int | None) -> Peer:
    """A TCP socket of which the kernel says that it is ``owner``'s (None: nothing)."""
    return Peer(find_owner=lambda: owner)


@dataclass(frozen=True)
class Call:
    """One method of one route."""

    method: str
    template: str

    def __str__(self) -> str:
        return f"{self.method} {self.template}"


@dataclass(frozen=True)
class Answer:
    #: 101 where a WebSocket opened.
    status: int
    #: All that was sent, the headers too.
    text: str


class House:
    """A door of root's server (or another's) with one running application of ada's behind it, and calls to it."""

    def __init__(self, own_uid: int = ROOT) -> None:
        self.clock = Clock()
        self.tokens = TokenAuthority(bytes(range(32)), clock=self.clock)
        self.facade = FakeFacade()
        accounts = made_up_accounts({name_of(uid): uid for uid in (ROOT, ADA, BOB)}, own_uid=own_uid)
        self.app = create_app(
            self.facade,
            tokens=self.tokens,
            settings=ApiSettings(),
            reload=reload,
            configuration=configuration,
            accounts=accounts,
        )
        self.application_id = LOOP.run(self._furnish())

    def attempt_id(self, number: int = 1) -> str:
        """Of the application's master."""
        return f"{self.application_id.replace('application', 'appattempt')}_{number:06d}"

    def masters_token(self, number: int = 1, **claims: float) -> str:
        return self.tokens.mint("ada", attempt_id=self.attempt_id(number), **claims)

    async def _furnish(self) -> str:
        group = TaskGroupSpec(command=("sleep", SECRET), env={"KEY": SECRET})
        application_id = (await self.facade.submit(JobSpec(groups=(group,), stdin=True), user="ada")).application_id
        self.facade.begin(application_id)
        self.facade.write(application_id, SECRET.encode())
        self.facade.write(application_id, b"", stream=SECRET)
        self.facade.files.left[application_id, 0] = {SECRET: b""}
        app = self.facade.apps[application_id]
        app.message = app.tasks[0].message = f"cannot read {SECRET}"
        await self.facade.record("task_failed", application_id, message=SECRET)
        return application_id

    def status(self, call: Call, token: str | None = None, peer: Peer | None = None) -> int:
        return self.answer(call, token, peer).status

    def answer(self, call: Call, token: str | None = None, peer: Peer | None = None) -> Answer:
        """What a caller with ``token`` at the other end ``peer`` gets; an endless answer is left after its begin."""
        return LOOP.run(self._answer(call, token, peer))

    async def _answer(self, call: Call, token: str | None, peer: Peer | None) -> Answer:
        kind = "websocket" if call.method == "WEBSOCKET" else "http"
        path = call.template.format(
            application_id=self.application_id,
            attempt_id=self.attempt_id(),
            node_id=NODE_ID,
            port=PORT,
            upload_id="0" * 64,
        )
        headers = [(b"host", b"127.0.0.1")]
        if token is not None:
            headers.append((b"authorization", f"Bearer {token}".encode()))
        bodies = {
            "signal": {"signum": 15},
            "move": {"queue": "default"},
            "priority": {"priority": 1},
            "deadline": {"at": None},
            "placement": {"job": {"groups": [{"command": ["true"]}]}},
            "uploads": {"manifest": {"entries": []}},
            "clean": {"kinds": ["logs"]},
            "applications": {"job": {"groups": [{"command": ["true"]}]}},
        }
        body = json.dumps(bodies.get(path.rpartition("/")[2], {})).encode() if call.method == "POST" else b""
        scope = {
            "type": kind,
            "method": call.method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"timeout_s=0.01" if path.endswith("wait") else b"",
            "headers": headers,
            "extensions": {"websocket.http.response": {}},
            "state": {} if peer is None else {PEER: peer},
        }
        received = [{"type": "websocket.connect"} if kind == "websocket" else {"type": "http.request", "body": body}]
        sent: list[Message] = []
        begun = asyncio.Event()

        async def receive() -> Message:
            if received:
                return received.pop()
            await asyncio.wait_for(begun.wait(), 10)
            return {"type": f"{kind}.disconnect", "code": 1001}

        async def send(message: Message) -> None:
            sent.append(message)
            if message["type"] not in ("http.response.start", "websocket.accept"):
                begun.set()

        await self.app(scope, receive, send)
        status = 101 if sent[0]["type"] == "websocket.accept" else int(sent[0]["status"])
        return Answer(status, repr(sent))


def calls(app: FastAPI) -> Iterator[Call]:
    for route in app.routes:
        if isinstance(route, APIWebSocketRoute):
            yield Call("WEBSOCKET", route.path)
        else:
            assert isinstance(route, (APIRoute, Route)), f"a kind of route that this test does not know: {route!r}"
            yield from (Call(method, route.path) for method in sorted(route.methods or ()))


ALL = list(calls(House().app))
CLOSED = [call for call in ALL if str(call) not in PUBLIC]
MASTERS_ONLY = [call for call in CLOSED if call.template.startswith(MASTERS)]
OWNERS_AND_ADMINS = [call for call in CLOSED if str(call) not in OPEN_TO_EVERY_USER and call not in MASTERS_ONLY]


@pytest.fixture(scope="module", autouse=True)
def closed_loop() -> Iterator[None]:
    yield
    LOOP.close()


@pytest.fixture(scope="module")
def house() -> House:
    """One for all tests here: what they do must change nothing."""
    return House()


def assert_nothing_happened(house: House) -> None:
    app = house.facade.apps[house.application_id]
    assert (app.signals, app.attachments, app.state.final) == ([], 0, False)
    assert (house.facade.shutdown_requested, house.facade.drained_by, house.facade.drain) == (False, "", None)


def test_the_lists_of_exceptions_name_only_routes_that_exist() -> None:
    assert (PUBLIC.keys() | OPEN_TO_EVERY_USER.keys() | ADMINS_ONLY) <= {str(call) for call in ALL}


@pytest.mark.parametrize("call", CLOSED, ids=str)
def test_without_a_token_nobody_comes_in(house: House, call: Call) -> None:
    assert house.status(call) == 401
    assert house.status(call, peer=over_tcp(ADA)) == 401
    assert house.status(call, peer=over_tcp(ROOT)) == 401


@pytest.mark.parametrize("call", CLOSED, ids=str)
def test_with_a_token_of_another_server_nobody_comes_in(house: House, call: Call) -> None:
    token = TokenAuthority(bytes(32), clock=house.clock).mint("ada", admin=True)

    assert house.status(call, token) == 401
    assert house.status(call, token, over_the_socket(ADA)) == 401


@pytest.mark.parametrize("call", CLOSED, ids=str)
def test_with_an_expired_token_nobody_comes_in(house: House, call: Call) -> None:
    token = house.tokens.mint("ada", admin=True, ttl_s=60)
    house.clock.now += 61

    assert house.status(call, token) == 401
    assert house.status(call, token, over_the_socket(ADA)) == 401


@pytest.mark.parametrize("call", CLOSED, ids=str)
@pytest.mark.parametrize("thief", [over_tcp(BOB), over_the_socket(BOB), over_tcp(STRANGER)], ids=["tcp", "unix", "?"])
def test_with_a_token_of_another_user_nobody_comes_in(house: House, call: Call, thief: Peer) -> None:
    assert house.status(call, house.tokens.mint("ada"), thief) == 403
    assert house.status(call, house.tokens.mint("root", admin=True), thief) == 403
    assert_nothing_happened(house)


@pytest.mark.parametrize("call", CLOSED, ids=str)
def test_who_hangs_up_at_once_to_hide_whose_process_it_is_has_called_for_nothing(house: House, call: Call) -> None:
    assert house.status(call, house.tokens.mint("root", admin=True), over_tcp(GONE)) == 401
    assert_nothing_happened(house)


@pytest.mark.parametrize("call", OWNERS_AND_ADMINS, ids=str)
def test_another_user_is_told_that_it_is_not_theirs(house: House, call: Call) -> None:
    assert house.status(call, house.tokens.mint("bob")) == 403
    assert house.status(call, house.tokens.mint("bob"), over_tcp(BOB)) == 403
    assert house.status(call, peer=over_the_socket(BOB)) == 403
    assert house.status(call, peer=over_the_socket(STRANGER)) == 403
    assert_nothing_happened(house)


@pytest.mark.parametrize("call", [call for call in CLOSED if call.method != "POST"], ids=str)
def test_no_answer_to_another_user_holds_what_is_inside_an_application(house: House, call: Call) -> None:
    for uid in (BOB, STRANGER):
        assert SECRET not in house.answer(call, peer=over_the_socket(uid)).text
    assert SECRET not in house.answer(call, house.tokens.mint("bob"), over_tcp(BOB)).text


def test_the_owner_is_given_what_is_inside() -> None:
    house = House()
    by_owner = {str(call) for call in CLOSED if SECRET in house.answer(call, peer=over_the_socket(ADA)).text}

    assert by_owner >= {
        "GET /api/v1/applications",
        "GET /api/v1/applications/{application_id}",
        "GET /api/v1/applications/{application_id}/tasks",
        "GET /api/v1/applications/{application_id}/logs",
        "GET /api/v1/applications/{application_id}/log-files",
        "GET /api/v1/applications/{application_id}/files",
        "GET /api/v1/events",
    }


@pytest.mark.parametrize("call", [call for call in ALL if str(call) in PUBLIC], ids=str)
def test_what_is_public_needs_no_token(house: House, call: Call) -> None:
    assert house.status(call) == 200


@pytest.mark.parametrize("path", ["/", "/api/v1", "/api/v1/secrets", "/healthz/", "//healthz", "/docs", "/redoc"])
def test_a_path_that_is_not_there_is_closed_too(house: House, path: str) -> None:
    assert house.status(Call("GET", path)) == 401


@pytest.mark.parametrize(
    ("token", "peer"),
    [
        (True, None),
        (True, over_tcp(ADA)),
        (True, over_tcp(ROOT)),
        (True, over_tcp(None)),
        (True, over_the_socket(ADA)),
        (False, over_the_socket(ADA)),
    ],
    ids=["token", "own socket", "root's socket", "unknown socket", "both", "unix"],
)
def test_the_owner_comes_in_everywhere_but_where_an_admin_is_needed(token: bool, peer: Peer | None) -> None:
    house = House()
    refused = {
        str(call)
        for call in OWNERS_AND_ADMINS
        # kill is called too, so the application has ended for what follows
        if house.status(call, house.tokens.mint("ada") if token else None, peer) == 403
    }

    assert refused == ADMINS_ONLY


@pytest.mark.parametrize("call", OWNERS_AND_ADMINS, ids=str)
def test_root_comes_in_everywhere_by_the_socket(call: Call) -> None:
    assert House().status(call, peer=over_the_socket(ROOT)) < 300


SUBMIT = Call("POST", "/api/v1/applications")


@pytest.mark.parametrize(
    ("own_uid", "may", "may_not"),
    [(ROOT, (ROOT, ADA, BOB), (STRANGER,)), (ADA, (ADA,), (ROOT, BOB, STRANGER))],
    ids=["root's server", "ada's server"],
)
def test_jobs_are_taken_from_those_as_whom_they_can_run(
    own_uid: int, may: tuple[int, ...], may_not: tuple[int, ...]
) -> None:
    house = House(own_uid)

    assert [house.status(SUBMIT, peer=over_the_socket(uid)) for uid in may] == [201] * len(may)
    assert [house.status(SUBMIT, peer=over_the_socket(uid)) for uid in may_not] == [403] * len(may_not)
    assert [app.user for app in house.facade.apps.values()][1:] == [name_of(uid) for uid in may]


@pytest.mark.parametrize("own_uid", [ROOT, ADA])
def test_a_token_of_an_admin_submits_as_its_user_and_as_nobody_else(own_uid: int) -> None:
    house = House(own_uid)

    assert house.status(SUBMIT, house.tokens.mint("ci", admin=True), over_tcp(own_uid)) == 403
    assert house.status(SUBMIT, house.tokens.mint("ada", admin=True), over_tcp(own_uid)) == 201
    assert [app.user for app in house.facade.apps.values()] == ["ada", "ada"]


@pytest.mark.parametrize("call", MASTERS_ONLY, ids=str)
def test_nobody_speaks_in_a_masters_place_not_even_its_owner_or_an_admin(house: House, call: Call) -> None:
    assert house.status(call, house.tokens.mint("ada")) == 403
    assert house.status(call, house.tokens.mint("bob")) == 403
    assert house.status(call, house.tokens.mint("root", admin=True)) == 403
    for uid in (ROOT, ADA, BOB, STRANGER):
        assert house.status(call, peer=over_the_socket(uid)) == 403
    assert house.facade.masters.calls == []


@pytest.mark.parametrize("call", MASTERS_ONLY, ids=str)
def test_a_masters_token_is_of_its_attempt_alone(house: House, call: Call) -> None:
    assert house.status(call, house.masters_token(2)) == 403
    other = house.tokens.mint("ada", attempt_id="appattempt_1763900000000_0999_000001")
    assert house.status(call, other) == 403
    assert house.status(call, house.masters_token(), over_tcp(BOB)) == 403
    assert house.status(call, house.masters_token(), over_the_socket(STRANGER)) == 403
    assert house.facade.masters.calls == []


@pytest.mark.parametrize("call", MASTERS_ONLY, ids=str)
def test_an_expired_masters_token_opens_nothing(house: House, call: Call) -> None:
    token = house.masters_token(ttl_s=60)
    house.clock.now += 61

    assert house.status(call, token) == 401


@pytest.mark.parametrize("call", [call for call in CLOSED if call not in MASTERS_ONLY], ids=str)
def test_a_masters_token_opens_nothing_else(house: House, call: Call) -> None:
    assert house.status(call, house.masters_token()) == 403
    assert house.status(call, house.masters_token(), over_the_socket(ADA)) == 403
    assert_nothing_happened(house)


def test_a_master_comes_in_where_it_is_its_own_and_its_attempt_lives() -> None:
    house = House()
    calls = [call for call in MASTERS_ONLY if call.template.endswith(("register", "allocate", "stop"))]
    assert {house.status(call, house.masters_token()) for call in calls} <= {200, 204}
    assert len(house.facade.masters.calls) == len(calls) == 3

    house.facade.masters.over.add(house.attempt_id())
    assert {house.status(call, house.masters_token()) for call in calls} == {401}
