"""Who looks at the page: a session is a token in a cookie that lasts for a working day.

The cookie goes to the page's own paths alone (``Path=/ui``), is no script's to read, and is not sent with requests
that other sites cause (``SameSite=Strict``). Forms carry a word that only a page made for their user has, so that even
a site on the same host cannot have them sent. The API takes no cookie at all.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from hrm.api.cluster import SESSION_S
from hrm.api.tokens import Identity, TokenAuthority
from hrm.model.errors import Forbidden
from hrm.web.page import ROOT

COOKIE = "hrm_session"
LANGUAGE_COOKIE = "hrm_language"
_MAX_COOKIE_CHARS = 8192


class CookieAsToken:
    """Hands the token of the session's cookie on as if it had come as a bearer token."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            token = cookie(headers, COOKIE)
            if token and "authorization" not in headers:
                scope = {**scope, "headers": list(scope["headers"])}
                MutableHeaders(scope=scope)["authorization"] = f"Bearer {token}"
        await self._app(scope, receive, send)


def cookie(headers: Headers, name: str) -> str | None:
    """The cookie's value; None where there is none or the header is none."""
    text = headers.get("cookie", "")
    if len(text) > _MAX_COOKIE_CHARS:
        return None
    try:
        morsel = SimpleCookie(text).get(name)
    except CookieError:
        return None
    return morsel.value if morsel else None


def begin(response: Response, tokens: TokenAuthority, identity: Identity, *, now: float, secure: bool) -> None:
    """Let ``response`` begin a session of ``identity``, which lasts no longer than the token that it came with."""
    ttl_s = SESSION_S if identity.expires_at is None else min(SESSION_S, max(1.0, identity.expires_at - now))
    session = tokens.mint(identity.user, admin=identity.admin, ttl_s=ttl_s)
    response.set_cookie(COOKIE, session, max_age=int(ttl_s), path=ROOT, secure=secure, httponly=True, samesite="strict")


def end(response: Response) -> None:
    response.delete_cookie(COOKIE, path=ROOT, httponly=True, samesite="strict")


class Forms:
    """Forms carry a word that is the user's own and this server's until it ends."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def word(self, identity: Identity) -> str:
        """What forms that are made for ``identity`` send back."""
        return hmac.digest(self._key, identity.user.encode(), hashlib.sha256).hex()

    def check(self, identity: Identity, word: str) -> None:
        """Raises Forbidden iff the form was not made for ``identity``."""
        if not hmac.compare_digest(self.word(identity).encode(), word.encode()):
            raise Forbidden("this form was not made for you, or before a restart", next_step="load the page anew")
