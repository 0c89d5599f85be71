"""``/ws/v1/cluster/delegation-token``: delegation tokens over HTTP, for programs that speak no RPC."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hrm.yarn.client_tokens import ClientTokens
from hrm.yarn.proto import security_pb2 as security
from hrm.yarn.proto.identifiers_pb2 import YARNDelegationTokenIdentifierProto
from hrm.yarn.tokens.state import DELEGATION_RENEWAL_S
from hrm.yarn.tokens.texts import read_token, token_text
from hrm.yarn.web.bodies import text
from hrm.yarn.web.callers import Callers
from hrm.yarn.web.formats import BadRequest, body_of, plain_answer

_PATH = "/ws/v1/cluster/delegation-token"
#: In which header a token stands that is to be renewed or cancelled.
HEADER = "Hadoop-YARN-RM-Delegation-Token"


class TokenPages:
    """The same rules as over RPC: who comes in by a token gets no other one by it."""

    def __init__(self, tokens: ClientTokens, callers: Callers) -> None:
        self._tokens = tokens
        self._callers = callers
        self.routes = [
            Route(_PATH, self.issue, methods=["POST"]),
            Route(f"{_PATH}/expiration", self.renew, methods=["POST"]),
            Route(_PATH, self.cancel, methods=["DELETE"]),
        ]

    async def issue(self, request: Request) -> Response:
        caller = await self._callers.in_person(request)
        renewer = text(await body_of(request), "renewer")
        if not renewer:
            raise BadRequest("Empty request or renewer: say who may renew it")
        wanted = security.GetDelegationTokenRequestProto(renewer=renewer)
        token = (await self._tokens.get(wanted, caller)).token
        identifier = YARNDelegationTokenIdentifierProto.FromString(token.identifier)
        value = {
            "token": token_text(token),
            "renewer": identifier.renewer,
            "owner": identifier.owner,
            "kind": token.kind,
            "expiration-time": identifier.issueDate + int(DELEGATION_RENEWAL_S * 1000),
            "max-validity": identifier.maxDate,
        }
        return plain_answer(request, "delegation-token", value)

    async def renew(self, request: Request) -> Response:
        caller = await self._callers.in_person(request)
        wanted = security.RenewDelegationTokenRequestProto(token=read_token(_named(request)))
        until_ms = (await self._tokens.renew(wanted, caller)).newExpiryTime
        return plain_answer(request, "delegation-token", {"expiration-time": until_ms})

    async def cancel(self, request: Request) -> Response:
        caller = await self._callers.of(request)
        wanted = security.CancelDelegationTokenRequestProto(token=read_token(_named(request)))
        await self._tokens.cancel(wanted, caller)
        return Response(status_code=200)


def _named(request: Request) -> str:
    value = request.headers.get(HEADER, "")
    if not value:
        raise BadRequest(f"Header '{HEADER}' containing encoded token not found")
    return value
