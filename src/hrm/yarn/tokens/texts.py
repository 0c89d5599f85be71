"""Tokens as one word of a URL or a header, as Hadoop's `Token.encodeToUrlString` makes it."""

from __future__ import annotations

import base64
import binascii

from hrm.yarn.errors import InvalidToken
from hrm.yarn.proto.security_pb2 import TokenProto
from hrm.yarn.tokens.writables import BadWritable, Reader, write_data, write_text

_MAX_CHARS = 16_384


def token_text(token: TokenProto) -> str:
    """In letters that need no escaping, without padding."""
    data = (
        write_data(token.identifier) + write_data(token.password) + write_text(token.kind) + write_text(token.service)
    )
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def read_token(text: str) -> TokenProto:
    """Raises InvalidToken for what is none; whether it is good is another question."""
    if len(text) > _MAX_CHARS:
        raise InvalidToken("the token is too long to be one")
    try:
        # Some encoders pad, and some use the letters that are not for URLs.
        letters = text.strip().rstrip("=").replace("+", "-").replace("/", "_").encode("ascii")
        reader = Reader(base64.b64decode(letters + b"=" * (-len(letters) % 4), altchars=b"-_", validate=True))
        return TokenProto(identifier=reader.data(), password=reader.data(), kind=reader.text(), service=reader.text())
    except (BadWritable, binascii.Error, UnicodeEncodeError):
        raise InvalidToken("the token cannot be read") from None
