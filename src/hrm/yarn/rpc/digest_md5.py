"""DIGEST-MD5 (RFC 2831) with quality of protection ``auth``: the server's side.

Hadoop's clients know no other mechanism for tokens. MD5 is broken as a hash and this mechanism is retired (RFC 6331);
what it has to hold here is that a listener cannot make the response of 20 random bytes of password.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping

REALM = "default"
DIGEST_URI = f"/{REALM}"
_MAX_RESPONSE_BYTES = 16 << 10
_NONCE_BYTES = 30
#: ``name=token`` or ``name="quoted"``, with what separates it from the next.
_DIRECTIVE = re.compile(r'\s*([a-z][a-z-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))\s*(?:,|$)', re.I | re.S)
_ESCAPED = re.compile(r"\\(.)", re.S)


class BadDigest(Exception):
    """A response that is malformed, or was not made with the password. The message is for the client."""


def parse_directives(text: str) -> dict[str, str]:
    """``realm="default",nc=00000001`` by names. Raises BadDigest, also for a name that comes twice."""
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _DIRECTIVE.match(text, at)
        if match is None:
            raise BadDigest("the response cannot be read")
        name, quoted, plain = match.groups()
        if name.lower() in found:
            raise BadDigest(f"the response has two of {name.lower()}")
        found[name.lower()] = plain if quoted is None else _ESCAPED.sub(r"\1", quoted)
        at = match.end()
    return found


def digest(a2_prefix: str, given: Mapping[str, str], password: str) -> str:
    """The value of ``response`` (prefix ``AUTHENTICATE``) or ``rspauth`` (no prefix) of RFC 2831, section 2.1.2.1."""
    user = f"{given['username']}:{given.get('realm', '')}:{password}".encode()
    a1 = _md5(user) + f":{given['nonce']}:{given['cnonce']}".encode()
    if "authzid" in given:
        a1 += f":{given['authzid']}".encode()
    a2 = f"{a2_prefix}:{given['digest-uri']}".encode()
    middle = f"{given['nonce']}:{given['nc']}:{given['cnonce']}:{given['qop']}"
    return _md5(f"{_md5(a1).hex()}:{middle}:{_md5(a2).hex()}".encode()).hex()


class DigestServer:
    """One exchange. ``password_of`` gets the user name and raises what it likes for one that is not known."""

    def __init__(self, password_of: Callable[[str], str], *, nonce: str | None = None) -> None:
        self._password_of = password_of
        self._nonce = nonce or secrets.token_urlsafe(_NONCE_BYTES)

    @property
    def challenge(self) -> bytes:
        return f'realm="{REALM}",nonce="{self._nonce}",qop="auth",charset=utf-8,algorithm=md5-sess'.encode()

    def evaluate(self, response: bytes) -> bytes:
        """What the client is told when it has proven that it knows the password. Raises BadDigest."""
        if len(response) > _MAX_RESPONSE_BYTES:
            raise BadDigest(f"the response has {len(response)} bytes")
        try:
            given = parse_directives(response.decode("utf-8"))
        except UnicodeDecodeError:
            raise BadDigest("the response is no UTF-8") from None
        given.setdefault("qop", "auth")
        for name in ("username", "cnonce", "response"):
            if not given.get(name):
                raise BadDigest(f"the response lacks {name}")
        wanted = {"realm": REALM, "nonce": self._nonce, "nc": "00000001", "qop": "auth", "digest-uri": DIGEST_URI}
        for name, value in wanted.items():
            if given.get(name) != value:
                raise BadDigest(f"the response has another {name} than it should")
        if given.get("authzid", given["username"]) != given["username"]:
            raise BadDigest("nobody may act for another user here")
        password = self._password_of(given["username"])
        if not hmac.compare_digest(given["response"].encode(), digest("AUTHENTICATE", given, password).encode()):
            raise BadDigest("the response was not made with this token's password")
        return f"rspauth={digest('', given, password)}".encode()


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()
