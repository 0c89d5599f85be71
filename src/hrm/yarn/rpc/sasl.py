"""SASL before the first call: which ways in there are, and the proof that somebody holds a token.

As Hadoop's `SaslRpcServer` and `Server.Connection`. To answer the negotiation with success at once would be simpler,
and clients would take it: but then a master's connection names only its user, and two masters of one user are one.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from hrm.yarn.errors import InvalidToken
from hrm.yarn.proto.rpc_pb2 import RpcSaslProto
from hrm.yarn.rpc.digest_md5 import REALM, BadDigest, DigestServer
from hrm.yarn.rpc.faults import SASL_EXCEPTION, unauthorized
from hrm.yarn.tokens.secrets import Expected, TokenVerifier

TOKEN = "TOKEN"
SIMPLE = "SIMPLE"
DIGEST_MD5 = "DIGEST-MD5"


@dataclass(frozen=True, slots=True)
class Step:
    """What one message came to. ``reply`` is None where nothing is said."""

    reply: RpcSaslProto | None
    #: Set when the client has proven that it holds a token.
    proven: Expected | None = None
    #: The client goes on without a proof, by the door for `simple`.
    simple: bool = False


class SaslExchange:
    """Of one connection, until it says who is calling."""

    def __init__(self, tokens: TokenVerifier | None, *, simple: bool) -> None:
        self._tokens = tokens
        self._simple = simple
        self._digest: DigestServer | None = None
        self._negotiated = False
        self._claimed: Expected | None = None

    def step(self, message: RpcSaslProto) -> Step:
        """Raises RpcFault, after which the connection has to end."""
        if message.state == RpcSaslProto.NEGOTIATE:
            if self._negotiated:
                raise unauthorized("Client already attempted negotiation")
            return Step(self._offer())
        if message.state == RpcSaslProto.INITIATE:
            return self._initiate(message)
        if message.state == RpcSaslProto.RESPONSE:
            return self._respond(message)
        raise unauthorized(
            f"Client sent unsupported state {RpcSaslProto.SaslState.Name(message.state)}", java_class=SASL_EXCEPTION
        )

    def _offer(self) -> RpcSaslProto:
        self._negotiated = True
        offer = RpcSaslProto(state=RpcSaslProto.NEGOTIATE)
        if self._tokens is not None:
            self._digest = DigestServer(self._password_of)
            offer.auths.add(
                method=TOKEN, mechanism=DIGEST_MD5, protocol="", serverId=REALM, challenge=self._digest.challenge
            )
        if self._simple:
            offer.auths.add(method=SIMPLE, mechanism="")
        return offer

    def _initiate(self, message: RpcSaslProto) -> Step:
        if len(message.auths) != 1:
            raise unauthorized("Client mechanism is malformed", java_class=SASL_EXCEPTION)
        chosen = message.auths[0]
        if chosen.method == SIMPLE and self._simple:
            return Step(None, simple=True)
        if self._tokens is None or (chosen.method, chosen.mechanism) != (TOKEN, DIGEST_MD5):
            if self._negotiated:
                ways = [*([TOKEN] if self._tokens else []), *([SIMPLE] if self._simple else [])]
                raise unauthorized(
                    f"{chosen.method[:40]} authentication is not enabled.  Available:[{', '.join(ways)}]"
                )
            return Step(self._offer())
        if self._digest is None:
            self._digest = DigestServer(self._password_of)
            challenge = RpcSaslProto(state=RpcSaslProto.CHALLENGE, token=self._digest.challenge)
            return Step(challenge)
        return self._respond(message)

    def _respond(self, message: RpcSaslProto) -> Step:
        if self._digest is None:
            raise unauthorized("Client sent a response without a challenge", java_class=SASL_EXCEPTION)
        if not message.HasField("token"):
            raise unauthorized("Client did not send a token", java_class=SASL_EXCEPTION)
        try:
            answer = self._digest.evaluate(message.token)
        except BadDigest as error:
            raise unauthorized(f"DIGEST-MD5: {error}", java_class=SASL_EXCEPTION) from None
        except InvalidToken as error:
            raise unauthorized(str(error), java_class=error.java_class) from None
        return Step(RpcSaslProto(state=RpcSaslProto.SUCCESS, token=answer), proven=self._claimed)

    def _password_of(self, user: str) -> str:
        """Hadoop's way to put bytes into names and passwords: base64."""
        assert self._tokens is not None
        try:
            identifier = base64.b64decode(user, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidToken("the token's identifier cannot be read") from None
        self._claimed = self._tokens(identifier)
        return base64.b64encode(self._claimed.password).decode("ascii")
