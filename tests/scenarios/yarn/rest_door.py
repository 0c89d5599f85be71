"""YARN's REST interface at a live ResourceManager, without sockets: a test says whose a connection is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from hrm.config.tcp_owner import Address
from hrm.model.errors import Unauthenticated
from hrm.yarn.web.site import Site
from tests.scenarios.yarn.client_door import Door

#: By user id; root's processes are admins'.
USERS = {0: "root", 1001: "ada", 1002: "bob"}


@dataclass(frozen=True)
class Somebody:
    """Who a token or a socket is."""

    user: str
    admin: bool = False
    attempt_id: str | None = None


class People:
    """The machine's accounts."""

    async def identity(self, uid: int) -> Somebody:
        return Somebody(USERS[uid], admin=uid == 0)

    async def may_bear_token_of(self, user: str, uid: int) -> bool:
        return uid == 0 or USERS[uid] == user


def verify(token: str) -> Somebody:
    tokens = {
        "of-bob": Somebody("bob"),
        "of-admin": Somebody("chief", admin=True),
        "of-master": Somebody("ada", attempt_id="appattempt_1_0001_000001"),
    }
    if token not in tokens:
        raise Unauthenticated("this is not a token of this server")
    return tokens[token]


class Rest:
    """Requests by default come from a process of ``user``'s on this machine; None: from another machine."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self._uid: int | None = 1001
        #: Whose the programs are that listen on this machine.
        self.listeners = {1001}
        self.site = Site(
            door.life.service,
            door.clients,
            links=door.links,
            nodes=door.nodes,
            verify=verify,
            tokens=door.tokens,
            accounts=People(),
            hosts=("rm",),
            source="127.0.0.1",
            owner_of=self._owner_of,
            listeners_of=lambda address: self.listeners,
            clock=door.life.manager.clock,
        )
        self._client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.site.app, raise_app_exceptions=False, client=("10.0.0.9", 40000)),
            base_url="http://rm:8088",
        )

    def _owner_of(self, theirs: Address, ours: Address) -> int | None:
        assert theirs == ("10.0.0.9", 40000)
        return self._uid

    async def __call__(
        self, path: str, *, method: str = "GET", user: str | None = "ada", **request: Any
    ) -> httpx.Response:
        self._uid = None if user is None else next(uid for uid, name in USERS.items() if name == user)
        return await self._client.request(method, path if path.startswith("/") else f"/ws/v1/cluster/{path}", **request)

    async def told(self, path: str, **request: Any) -> Any:
        """What is told in JSON, at once or in the one object that is around it."""
        response = await self(path, **request)
        assert response.status_code in (200, 202), response.text
        return response.json()

    async def close(self) -> None:
        await self._client.aclose()
        self.site.close()
