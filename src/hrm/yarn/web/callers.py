"""Who asks over HTTP: by a token, or by the socket, where the kernel says whose it is. A name that the
caller claims (``?user.name=``) proves nothing and is not looked at.

YARN's port 8088 has been open to the world on many clusters, and anybody could run programs by it. Here nobody comes in
without a proof. And because pages of masters are passed on under this very address, their scripts run in its name in a
viewer's browser: what a browser sends changes nothing without a token.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Protocol

from starlette.requests import Request

from hrm.config.tcp_owner import GONE, Address, socket_owner
from hrm.yarn.calls import Caller
from hrm.yarn.client_tokens import ClientTokens
from hrm.yarn.errors import AccessDenied
from hrm.yarn.rpc.simple import Accounts
from hrm.yarn.tokens.texts import read_token
from hrm.yarn.web.formats import NoIdentity

_BEARER = "bearer "
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_READS = ("GET", "HEAD")
#: In which header a delegation token stands that says who asks (DelegationTokenAuthenticator).
_DELEGATION = "x-hadoop-delegation-token"


class Identity(Protocol):
    """What a token of the server's says."""

    @property
    def user(self) -> str: ...
    @property
    def admin(self) -> bool: ...
    @property
    def attempt_id(self) -> str | None: ...


class Callers:
    """Tells who asks, or refuses."""

    def __init__(
        self,
        *,
        verify: Callable[[str], Identity],
        tokens: ClientTokens,
        accounts: Accounts,
        hosts: Collection[str],
        owner_of: Callable[[Address, Address], int | None] = socket_owner,
    ) -> None:
        """``verify`` raises Unauthenticated; ``hosts`` are names of this server besides the loopback's."""
        self._verify = verify
        self._tokens = tokens
        self._accounts = accounts
        self._hosts = frozenset(name.lower() for name in (*_LOOPBACK, *hosts))
        self._owner_of = owner_of

    async def of(self, request: Request) -> Caller:
        """Raises NoIdentity, AccessDenied and Unauthenticated."""
        self._check_host(request)
        changes = request.method not in _READS
        authorization = request.headers.get("authorization", "")
        if authorization.lower().startswith(_BEARER):
            return await self._by_token(request, authorization[len(_BEARER) :].strip())
        delegated = request.headers.get(_DELEGATION) or request.query_params.get("delegation")
        if delegated:
            return replace(self._tokens.caller(read_token(delegated)), address=_address(request))
        if changes and (request.headers.get("origin") or request.headers.get("sec-fetch-site")):
            raise AccessDenied("what a browser sends changes nothing without a token (Authorization: Bearer TOKEN)")
        owner = await self._owner(request)
        if owner is None:
            raise NoIdentity(
                "nothing proves who you are: send a token (Authorization: Bearer TOKEN; `hrm token create` makes them)"
            )
        account = await self._accounts.identity(owner)
        return Caller(user=account.user, admin=account.admin, address=_address(request))

    async def in_person(self, request: Request) -> Caller:
        """Who asks, proven by the kernel: what makes tokens is not done by tokens. Raises AccessDenied, and as `of`."""
        caller = await self.of(request)
        if request.headers.get("authorization") or caller.token is not None:
            raise AccessDenied("delegation tokens are given out and renewed to who comes in without one")
        return caller

    async def _by_token(self, request: Request, token: str) -> Caller:
        identity = self._verify(token)
        if identity.attempt_id is not None:
            raise AccessDenied("this is a master's token, which is for its own calls alone")
        owner = await self._owner(request)
        if owner is not None and not await self._accounts.may_bear_token_of(identity.user, owner):
            raise AccessDenied(f"this is a token of {identity.user}, and another user's process sends it")
        return Caller(user=identity.user, admin=identity.admin, address=_address(request))

    async def _owner(self, request: Request) -> int | None:
        """The user id of the process at the other end; None iff it is on another machine."""
        server = request.scope.get("server")
        if request.client is None or server is None or server[1] is None:
            raise NoIdentity("the connection does not say where it comes from")
        owner = await asyncio.to_thread(self._owner_of, _address(request), (server[0], server[1]))
        if owner == GONE:
            raise NoIdentity("whoever asked has hung up")
        return owner

    def _check_host(self, request: Request) -> None:
        """A page that points its own name here still sends its own name (DNS rebinding)."""
        hosts = request.headers.getlist("host")
        # A node's port has one name more: that of the machine which it is found at.
        names = {*self._hosts, request.scope.get("hrm.host", "")}
        if len(hosts) != 1 or names_host(hosts[0]) not in names - {""}:
            raise AccessDenied(f"the Host header does not name this server: {', '.join(hosts)[:100]!r}")


def brings_token(request: Request) -> bool:
    """True iff it says by a token who asks; whether that is good is another question."""
    return bool(
        request.headers.get("authorization")
        or request.headers.get(_DELEGATION)
        or request.query_params.get("delegation")
    )


def _address(request: Request) -> Address:
    return (request.client.host, request.client.port) if request.client is not None else ("", 0)


def names_host(host: str) -> str:
    """Without its port and an IPv6 address's brackets, in lower case."""
    host = host.lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host
