"""Delegation tokens of the server's own that submissions bring for their programs (YARN's DelegationTokenRenewer).

Whoever submits does not stay to renew them. So they are renewed while an application that brought them lives, and
cancelled when the last one is over: what a program left behind is of no use to whoever finds it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace

import structlog

from hrm.model.errors import ClusterError
from hrm.yarn.calls import TokenKind
from hrm.yarn.errors import InvalidToken
from hrm.yarn.proto.security_pb2 import TokenProto
from hrm.yarn.tokens.secrets import TokenSecrets
from hrm.yarn.tokens.state import DELEGATION_RENEWAL_S, Delegation, Hold

log = structlog.get_logger(__name__)

#: How often it is looked which applications are over.
LOOK_S = 5.0
#: Renewed when they are good for no longer than this, so that a server that is down for a night loses none.
_RENEW_BEFORE_S = DELEGATION_RENEWAL_S / 2


class BroughtTokens:
    """``is_over`` says of an application whether all of it has ended. What is held outlives restarts."""

    def __init__(
        self, secrets: TokenSecrets, is_over: Callable[[str], Awaitable[bool]], clock: Callable[[], float] = time.time
    ) -> None:
        self._secrets = secrets
        self._is_over = is_over
        self._clock = clock

    async def take(self, tokens: Iterable[TokenProto], application_id: str, *, owner: str, cancel: bool) -> None:
        """Look after those that are good and ``owner``'s from now on. Others are let be.

        ``cancel``: whether they are to end with the application. Raises ClusterError.
        """
        found: dict[int, int] = {}
        for token in tokens:
            if token.kind != TokenKind.DELEGATION:
                continue
            try:
                identifier = self._secrets.delegation(token)
            except InvalidToken:
                continue
            # Whoever got hold of another's token must not be able to end it, or to have it live on.
            if identifier.owner == owner:
                found[identifier.sequenceNumber] = identifier.maxDate
        if not found:
            return

        def held(delegations: Mapping[int, Delegation]) -> Mapping[int, Delegation]:
            after = {**delegations}
            for number, max_ms in found.items():
                if (kept := after.get(number)) is None:
                    continue
                before = kept.hold or Hold((), cancel=True, max_ms=max_ms)
                applications = tuple(dict.fromkeys((*before.applications, application_id)))
                hold = Hold(applications, cancel=cancel and before.cancel, max_ms=max_ms)
                after[number] = self._renewed(replace(kept, hold=hold))
            return after

        await self._secrets.change_delegations(held)

    async def run(self) -> None:
        """Until it is cancelled; what cannot be written is tried again."""
        while True:
            try:
                await self.look()
            except ClusterError as error:
                log.warning("delegation tokens not looked after", why=str(error))
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Renew what is due, and let go of what applications brought that are over. Raises ClusterError."""
        holders = {
            name
            for kept in self._secrets.delegations.values()
            if kept.hold is not None
            for name in kept.hold.applications
        }
        if not holders:
            return
        over = {name for name in holders if await self._is_over(name)}

        def looked_after(delegations: Mapping[int, Delegation]) -> Mapping[int, Delegation]:
            after = {}
            for number, kept in delegations.items():
                hold = kept.hold
                if hold is not None:
                    left = tuple(name for name in hold.applications if name not in over)
                    if not left and hold.cancel:
                        continue
                    kept = replace(kept, hold=replace(hold, applications=left) if left else None)
                after[number] = self._renewed(kept)
            return after

        await self._secrets.change_delegations(looked_after)

    def _renewed(self, kept: Delegation) -> Delegation:
        """Good for longer, if it is held and that is due."""
        now_ms = int(self._clock() * 1000)
        if kept.hold is None or not now_ms < kept.until_ms <= now_ms + _RENEW_BEFORE_S * 1000:
            return kept
        return replace(kept, until_ms=min(now_ms + int(DELEGATION_RENEWAL_S * 1000), kept.hold.max_ms))
