"""What every request passes before any route sees it, outermost first. Pure ASGI, so that it costs microseconds.

1. `Boundary`: whatever goes wrong inside becomes an error in the one form; the unforeseen gets an id and no internals.
2. `HostGuard`: the Host and Origin headers name this server (against DNS rebinding: a web page that points its own
   name at 127.0.0.1 still sends its own name).
3. `Authentication`: who calls, by the Unix socket's word or a bearer token, for each path that is not expressly public.
   A route added later is closed.
4. `RateLimit`: one user cannot keep the others from being served.
5. `BodyLimit`: bodies are counted as they come in; one that is too large is refused without being kept.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hrm.api.accounts import Accounts
from hrm.api.peers import PEER, Peer
from hrm.api.settings import LOOPBACK_NAMES, MASTERS, UPLOADS
from hrm.api.tokens import Identity, TokenAuthority
from hrm.api.wire import error_response
from hrm.config.tcp_owner import GONE
from hrm.model.errors import Forbidden, HrmError, InvariantBroken, TooLarge, TooManyRequests, Unauthenticated

logger = logging.getLogger(__name__)

#: Where in the ASGI scope the caller's identity stands behind `Authentication`.
IDENTITY = "hrm.identity"
_BEARER = "bearer "


#: How an error leaves: (error, scope, receive, send).
Refuse = Callable[[HrmError, Scope, Receive, Send], Awaitable[None]]


async def refuse(error: HrmError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with ``error``, also to a WebSocket handshake."""
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008, "reason": error.message[:100]})
        return
    await error_response(error)(scope, receive, send)


class Boundary:
    """Errors become answers. Nothing that was not written for callers leaves the process."""

    def __init__(self, app: ASGIApp, *, refuse: Refuse = refuse) -> None:
        self._app = app
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        begun = False

        async def watch(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except HrmError as error:
            if begun:
                raise
            await self._refuse(error, scope, receive, send)
        except Exception:
            incident = secrets.token_hex(6)
            logger.exception("incident %s: %s %s", incident, scope.get("method", "WS"), scope["path"])
            if begun:
                raise
            unforeseen = InvariantBroken(
                f"the server failed to answer (incident {incident})",
                next_step="its log says more under that id; please report it",
            )
            await self._refuse(unforeseen, scope, receive, send)


class HostGuard:
    """Refuses (403) a Host or Origin header that does not name this server."""

    def __init__(
        self, app: ASGIApp, *, hosts: Collection[str], origins: Collection[str], refuse: Refuse = refuse
    ) -> None:
        self._app = app
        self._refuse = refuse
        self._hosts = frozenset(name.lower().strip("[]") for name in (*LOOPBACK_NAMES, *hosts))
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and (error := self._check(Headers(scope=scope))):
            return await self._refuse(error, scope, receive, send)
        await self._app(scope, receive, send)

    def _check(self, headers: Headers) -> HrmError | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or _host_name(hosts[0]) not in self._hosts:
            return Forbidden(
                f"the Host header does not name this server: {', '.join(hosts)[:100]!r}",
                next_step="call it by a loopback name, or list the name under server.allowed_hosts",
            )
        own = (f"http://{hosts[0].lower()}", f"https://{hosts[0].lower()}")
        for origin in headers.getlist("origin"):
            if origin.lower() not in own and origin.lower() not in self._origins:
                return Forbidden(
                    f"pages of {origin[:100]!r} may not call this server",
                    next_step="list the origin under server.allowed_origins",
                )
        return None


class Authentication:
    """Tells the inside who calls, or refuses (401, 403); ``public`` paths need nobody's name.

    Over the Unix socket it is the user whose process calls. A bearer token names the user over TCP, and there too for
    who wants to call as somebody else. With ``check_socket_owner`` a token counts only in the hands of its user (of
    root, of the server's user), where the caller's socket is on this machine: one that was read from a command line
    or a log is of no use to other users of the machine.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        tokens: TokenAuthority,
        accounts: Accounts,
        check_socket_owner: bool,
        public: Collection[str],
        refuse: Refuse = refuse,
    ) -> None:
        self._app = app
        self._refuse = refuse
        self._tokens = tokens
        self._accounts = accounts
        self._check_socket_owner = check_socket_owner
        self._public = frozenset(public)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and scope["path"] not in self._public:
            try:
                identity = await self._identify(Headers(scope=scope), scope.get("state", {}).get(PEER))
                if identity.attempt_id is not None and not scope["path"].startswith(MASTERS):
                    raise Forbidden(
                        "this is a master's token, which is for its own calls alone",
                        next_step="use a token of yours for all else",
                    )
                scope[IDENTITY] = identity
            except (Unauthenticated, Forbidden) as error:
                return await self._refuse(error, scope, receive, send)
        await self._app(scope, receive, send)

    async def _identify(self, headers: Headers, peer: Peer | None) -> Identity:
        values = headers.getlist("authorization")
        if not values and peer is not None and peer.proven_uid is not None:
            return await self._accounts.identity(peer.proven_uid)
        if len(values) != 1 or not values[0].lower().startswith(_BEARER):
            raise Unauthenticated(
                "no bearer token",
                next_step="send the header `Authorization: Bearer TOKEN` ($HRM_HOME/token holds one), or come in by "
                "$HRM_HOME/hrm.sock, which needs none",
            )
        identity = self._tokens.verify(values[0][len(_BEARER) :].strip())
        if self._check_socket_owner and peer is not None:
            await self._check_hands(identity.user, peer)
        return identity

    async def _check_hands(self, user: str, peer: Peer) -> None:
        owner = await peer.owner()
        if owner is None:
            return  # another machine's, or a system that does not tell
        if owner == GONE:
            raise Unauthenticated("whoever called has hung up", next_step="keep the connection until the answer comes")
        if not await self._accounts.may_bear_token_of(user, owner):
            raise Forbidden(
                f"this is a token of {user}, and the process that sends it belongs to user id {owner}",
                next_step="use your own token, or the Unix socket, which needs none; for a proxy that passes on its "
                "clients' tokens, the operator sets server.check_socket_owner: false",
            )


class RateLimit:
    """A token bucket per user: ``burst`` requests at once, ``requests_per_s`` in the long run, else 429.

    Per user, not per token, so that a second token buys nothing. The table holds the ``max_users`` seen last.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        requests_per_s: float,
        burst: int,
        max_users: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
        refuse: Refuse = refuse,
    ) -> None:
        self._app = app
        self._refuse = refuse
        self._rate = requests_per_s
        self._burst = float(burst)
        self._max_users = max_users
        self._clock = clock
        #: By user: requests left, and when that was worked out.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        identity: Identity | None = scope.get(IDENTITY)
        if identity is not None and not self._take(identity.user):
            error = TooManyRequests(
                f"more than {self._rate:g} requests a second", next_step="wait a second, and ask for more at a time"
            )
            return await self._refuse(error, scope, receive, send)
        await self._app(scope, receive, send)

    def _take(self, user: str) -> bool:
        now = self._clock()
        left, at = self._buckets.pop(user, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._rate)
        allowed = left >= 1
        self._buckets[user] = (left - 1 if allowed else left, now)
        if len(self._buckets) > self._max_users:
            self._buckets.popitem(last=False)
        return allowed


class BodyLimit:
    """Refuses (413) a body above ``max_bytes``: at once where its length is declared, else when it gets too long.

    What the client goes on sending is read and dropped by the HTTP server; nothing of it is kept.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, refuse: Refuse = refuse) -> None:
        self._app = app
        self._refuse = refuse
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # What is uploaded is streamed to the disk, and held to the sizes that were agreed before.
        streamed = scope["path"].startswith(UPLOADS) if scope["type"] == "http" else True
        if streamed:
            return await self._app(scope, receive, send)
        length = Headers(scope=scope).get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > self._max_bytes:
            return await self._refuse(self._too_large(), scope, receive, send)
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._max_bytes:
                raise self._too_large()
            return message

        await self._app(scope, counted, send)

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"the body is larger than {self._max_bytes} bytes",
            next_step="pass large input as files; the operator may raise server.max_body",
        )


def _host_name(host: str) -> str:
    """The Host header without its port, in lower case, an IPv6 address without its brackets."""
    name = host.lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.rpartition(":")[0] if name.count(":") == 1 else name
