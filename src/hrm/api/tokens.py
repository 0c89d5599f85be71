"""Bearer tokens: who somebody is, signed by the server, kept nowhere.

A token is ``hrm1.<payload>.<signature>``: the payload is a small JSON object, the signature HMAC-SHA256 over all that
stands before it, both in URL-safe base64. A server knows its own tokens by its secret alone, so a restart forgets
none; a new secret ends them all.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from hrm.model.errors import InvalidInput, Unauthenticated

_VERSION = "hrm1"
_MAX_TOKEN_CHARS = 2048
_MIN_SECRET_BYTES = 32
_USER = re.compile(r"[^\s\x00-\x1f\x7f]{1,256}")
_NEXT_STEP = "read the token from the server's home directory ($HRM_HOME/token), or ask its operator for a new one"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who calls. An admin may do everything to everybody's applications, reload queues and end the server."""

    user: str
    admin: bool = False
    #: Epoch seconds; None iff the token lasts as long as the server's secret.
    expires_at: float | None = None
    #: Set iff this is no person but a master, of this application attempt: it may do what a master does there, no more.
    attempt_id: str | None = None


class TokenAuthority:
    """Makes tokens and tells whose they are. ``secret`` signs them; ``clock`` gives epoch seconds."""

    def __init__(self, secret: bytes, *, clock: Callable[[], float] = time.time) -> None:
        if len(secret) < _MIN_SECRET_BYTES:
            raise InvalidInput(
                f"the secret that signs tokens has {len(secret)} bytes, and needs {_MIN_SECRET_BYTES}",
                next_step="delete the secret file: the next start makes a new one (and ends all tokens)",
            )
        self._secret = secret
        self._clock = clock

    def mint(self, user: str, *, admin: bool = False, ttl_s: float | None = None, attempt_id: str | None = None) -> str:
        """A token for ``user``, valid for ``ttl_s`` seconds (None: without end); for a master, of ``attempt_id`` alone.

        Raises InvalidInput.
        """
        if not _USER.fullmatch(user):
            raise InvalidInput(f"not a user's name: {user[:40]!r}", field="user")
        if ttl_s is not None and not ttl_s > 0:
            raise InvalidInput(f"must be above zero: {ttl_s}", field="ttl_s")
        claims: dict[str, object] = {"u": user}
        if admin:
            claims["a"] = 1
        if attempt_id is not None:
            claims["m"] = attempt_id
        if ttl_s is not None:
            claims["e"] = self._clock() + ttl_s
        signed = f"{_VERSION}.{_encode(json.dumps(claims, separators=(',', ':')).encode())}"
        return f"{signed}.{_encode(self._sign(signed))}"

    def verify(self, token: str) -> Identity:
        """Whose the token is. Raises Unauthenticated.

        A garbled, a foreign and a forged token get one answer. That a token has expired is told only of one that
        this server signed.
        """
        foreign = Unauthenticated("this is not a token of this server", next_step=_NEXT_STEP)
        if len(token) > _MAX_TOKEN_CHARS or token.count(".") != 2 or not token.isascii():
            raise foreign
        signed, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature, _encode(self._sign(signed))) or not signed.startswith(f"{_VERSION}."):
            raise foreign
        try:
            claims = json.loads(_decode(signed.partition(".")[2]))
            identity = Identity(
                user=claims["u"],
                admin=claims.get("a") == 1,
                expires_at=claims.get("e"),
                attempt_id=claims.get("m"),
            )
        except (ValueError, KeyError, binascii.Error):  # signed, and yet not of this version's making
            raise foreign from None
        if identity.expires_at is not None and self._clock() >= identity.expires_at:
            raise Unauthenticated("the token has expired", next_step=_NEXT_STEP)
        return identity

    def is_of(self, token: str, user: str, *, admin: bool) -> bool:
        """True iff it is valid, ``user``'s, and an admin's or not."""
        try:
            identity = self.verify(token)
        except Unauthenticated:
            return False
        return (identity.user, identity.admin, identity.attempt_id) == (user, admin, None)

    def _sign(self, text: str) -> bytes:
        return hmac.digest(self._secret, text.encode("ascii"), hashlib.sha256)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
