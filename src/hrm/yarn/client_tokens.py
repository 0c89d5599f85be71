"""Delegation tokens as clients ask for them: programs act in a user's name by them, until they end or are cancelled."""

from __future__ import annotations

from typing import Any

from hrm.yarn.calls import Caller
from hrm.yarn.errors import AccessDenied
from hrm.yarn.proto import security_pb2 as security
from hrm.yarn.proto.security_pb2 import TokenProto
from hrm.yarn.tokens.secrets import TokenSecrets


class ClientTokens:
    """``service`` is the clients' door as ``host:port``: what a client keeps a token under."""

    def __init__(self, secrets: TokenSecrets, *, service: str) -> None:
        self._secrets = secrets
        self._service = service
        self.handlers: dict[str, Any] = {
            "getDelegationToken": self.get,
            "renewDelegationToken": self.renew,
            "cancelDelegationToken": self.cancel,
        }

    def caller(self, token: TokenProto) -> Caller:
        """Who acts by it. Raises InvalidToken."""
        return self._secrets.delegated(token)

    async def get(
        self, request: security.GetDelegationTokenRequestProto, caller: Caller
    ) -> security.GetDelegationTokenResponseProto:
        _without_token(caller)
        token = await self._secrets.issue_delegation(
            caller.user, request.renewer, real_user=caller.real_user, service=self._service
        )
        return security.GetDelegationTokenResponseProto(token=token)

    async def renew(
        self, request: security.RenewDelegationTokenRequestProto, caller: Caller
    ) -> security.RenewDelegationTokenResponseProto:
        _without_token(caller)
        until_ms = await self._secrets.renew_delegation(request.token, by=caller.user)
        return security.RenewDelegationTokenResponseProto(newExpiryTime=until_ms)

    async def cancel(
        self, request: security.CancelDelegationTokenRequestProto, caller: Caller
    ) -> security.CancelDelegationTokenResponseProto:
        await self._secrets.cancel_delegation(request.token, by=caller.user)
        return security.CancelDelegationTokenResponseProto()


def _without_token(caller: Caller) -> None:
    """A token that makes tokens would never end, whatever its last day is (YARN's isAllowedDelegationTokenOp)."""
    if caller.token is not None:
        raise AccessDenied("delegation tokens are given out and renewed to who comes in without one")
