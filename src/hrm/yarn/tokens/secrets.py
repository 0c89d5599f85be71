"""Makes tokens of each kind and tells whether one is good, as YARN's managers of secrets do.

A password is HMAC-SHA1 of the identifier by the key that the identifier names, so that nothing is kept per token but
for delegation tokens, which can be cancelled. Identifiers are bare messages of `hrm.yarn.proto.identifiers_pb2`.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import structlog
from google.protobuf.message import DecodeError, Message

from hrm.config.home import Home
from hrm.model.errors import ClusterError
from hrm.model.ids import AttemptId
from hrm.yarn.calls import Caller, TokenKind, VerifiedToken
from hrm.yarn.errors import AccessDenied, InvalidToken, YarnError
from hrm.yarn.ids import attempt_id, attempt_message, node_address
from hrm.yarn.proto.identifiers_pb2 import (
    AMRMTokenIdentifierProto,
    ClientToAMTokenIdentifierProto,
    ContainerTokenIdentifierProto,
    NMTokenIdentifierProto,
    YARNDelegationTokenIdentifierProto,
)
from hrm.yarn.proto.records_pb2 import NodeIdProto
from hrm.yarn.proto.security_pb2 import TokenProto
from hrm.yarn.tokens.keys import KeyLifetime, MasterKey
from hrm.yarn.tokens.state import DELEGATION_MAX_S, DELEGATION_RENEWAL_S, LIFETIMES, Delegation, TokenState

log = structlog.get_logger(__name__)

MAX_DELEGATIONS = 10_000
MAX_DELEGATIONS_OF_ONE = 1_000
_LOOK_S = 60.0
Identifier = TypeVar("Identifier", bound=Message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What whoever holds a token must know, and who they are then."""

    password: bytes
    user: str
    real_user: str | None = None
    token: VerifiedToken


#: Gets the identifier's bytes. Raises InvalidToken.
TokenVerifier = Callable[[bytes], Expected]


class TokenSecrets:
    """Of one server. All but `run` and what concerns delegation tokens answers at once and touches no disk."""

    def __init__(
        self,
        state: TokenState,
        save: Callable[[bytes], None],
        *,
        clock: Callable[[], float] = time.time,
        lifetimes: Mapping[TokenKind, KeyLifetime] = LIFETIMES,
    ) -> None:
        """``save`` writes what `TokenState.encode` gives; it is called in a thread and raises ClusterError."""
        self._state = state
        self._save = save
        self._clock = clock
        self._lifetimes = lifetimes
        self._changing = asyncio.Lock()

    @classmethod
    def open(cls, home: Home, *, clock: Callable[[], float] = time.time) -> TokenSecrets:
        """With the keys that are kept in the home, made the first time. Call it under the home's lock.

        Raises InvalidInput (the file is damaged), Forbidden (others could read it) and ClusterError.
        """

        def save(data: bytes) -> None:
            home.write_private(home.yarn_keys_file, data)

        data = home.read_private(home.yarn_keys_file)
        state = TokenState.decode(data, where=str(home.yarn_keys_file)) if data else TokenState.new(clock())
        state = state.rolled(LIFETIMES, clock())
        save(state.encode())
        return cls(state, save, clock=clock)

    async def run(self) -> None:
        """Change keys when they are due, until it is cancelled; what cannot be written is tried again."""
        while True:
            try:
                await self.roll()
            except ClusterError as error:
                log.warning("yarn_keys_not_changed", why=str(error))
            await asyncio.sleep(_LOOK_S)

    async def roll(self) -> None:
        """Change the keys that are due now."""
        if self._state.is_due(self._lifetimes, self._clock()):
            async with self._changing:
                await self._become(self._state.rolled(self._lifetimes, self._clock()))

    # Masters to the ResourceManager.

    def issue_amrm(self, attempt: AttemptId) -> TokenProto:
        """What the attempt's master proves itself with to the ResourceManager."""
        key = self._current(TokenKind.AMRM)
        identifier = AMRMTokenIdentifierProto(appAttemptId=attempt_message(attempt), keyId=key.key_id)
        return self._token(TokenKind.AMRM, key, identifier)

    def renew_amrm(self, held: VerifiedToken) -> TokenProto | None:
        """The token to hand to a master in its next answer; None iff the one that it holds is of the latest key."""
        identifier = held.identifier
        assert isinstance(identifier, AMRMTokenIdentifierProto) and held.attempt is not None
        current = self._current(TokenKind.AMRM).key_id
        return None if identifier.keyId == current else self.issue_amrm(held.attempt)

    def amrm_verifier(self, is_live: Callable[[AttemptId], bool]) -> TokenVerifier:
        """For the masters' port. ``is_live`` says whether the attempt's master may still speak."""

        def expected(data: bytes) -> Expected:
            identifier = _parse(AMRMTokenIdentifierProto, data)
            attempt = _attempt(identifier)
            key = self._key(TokenKind.AMRM, identifier.keyId)
            if not is_live(attempt):
                raise InvalidToken(f"{attempt} is not known, or over")
            held = VerifiedToken(kind=TokenKind.AMRM, identifier=identifier, attempt=attempt)
            return Expected(password=key.password(data), user=str(attempt), token=held)

        return expected

    # Masters to nodes.

    @property
    def nm_key_id(self) -> int:
        """The key that NM tokens are made with. When it has changed, masters need new ones for all their nodes."""
        return self._current(TokenKind.NM).key_id

    def issue_nm(self, attempt: AttemptId, node: NodeIdProto, submitter: str) -> TokenProto:
        """What a master proves itself with to one node."""
        key = self._current(TokenKind.NM)
        identifier = NMTokenIdentifierProto(
            appAttemptId=attempt_message(attempt), nodeId=node, appSubmitter=submitter, keyId=key.key_id
        )
        return self._token(TokenKind.NM, key, identifier, service=node_address(node))

    def nm_verifier(self, node: NodeIdProto) -> TokenVerifier:
        """For the port of ``node``."""

        def expected(data: bytes) -> Expected:
            identifier = _parse(NMTokenIdentifierProto, data)
            key = self._key(TokenKind.NM, identifier.keyId)
            if identifier.nodeId != node:
                raise InvalidToken(f"the token is for the node {node_address(identifier.nodeId)}")
            attempt = _attempt(identifier)
            held = VerifiedToken(kind=TokenKind.NM, identifier=identifier, attempt=attempt)
            return Expected(password=key.password(data), user=str(attempt), token=held)

        return expected

    # What a master may start on a node.

    def issue_container(self, identifier: ContainerTokenIdentifierProto) -> TokenProto:
        """What lets a master start one container. All but the key is the caller's to fill, the expiry too (ms)."""
        key = self._current(TokenKind.CONTAINER)
        identifier = _copy(identifier)
        identifier.masterKeyId = key.key_id
        return self._token(TokenKind.CONTAINER, key, identifier, service=identifier.nmHostAddr)

    def verify_container(
        self, token: TokenProto, node: NodeIdProto, attempt: AttemptId
    ) -> ContainerTokenIdentifierProto:
        """What the token lets ``attempt`` start on ``node``. Raises InvalidToken."""
        identifier = _parse(ContainerTokenIdentifierProto, token.identifier)
        key = self._key(TokenKind.CONTAINER, identifier.masterKeyId)
        if token.kind != TokenKind.CONTAINER or not hmac.compare_digest(token.password, key.password(token.identifier)):
            raise InvalidToken("the container's token is not one of this cluster")
        if identifier.nmHostAddr != node_address(node):
            raise InvalidToken(f"the container's token is for the node {identifier.nmHostAddr}")
        if attempt_id(identifier.containerId.app_attempt_id) != attempt:
            raise InvalidToken("the container's token is another attempt's")
        if self._clock() * 1000 >= identifier.expiryTimeStamp:
            raise InvalidToken("the container's token has expired")
        return identifier

    # Clients to masters.

    def client_to_am_key(self, attempt: AttemptId) -> bytes:
        """What the attempt's master is told at its registration, to know its clients by."""
        return self._current(TokenKind.CLIENT_TO_AM).password(str(attempt).encode())

    def issue_client_to_am(self, attempt: AttemptId, client: str, *, service: str = "") -> TokenProto:
        """What a client proves itself with to the attempt's master, which checks it alone.

        ``service`` is where the master listens, as ``host:port``; "" iff it listens nowhere yet.
        """
        identifier = ClientToAMTokenIdentifierProto(appAttemptId=attempt_message(attempt), clientName=client)
        key = MasterKey(0, self.client_to_am_key(attempt), 0.0)
        return self._token(TokenKind.CLIENT_TO_AM, key, identifier, service)

    # Delegation: a program in a user's name to the ResourceManager.

    async def issue_delegation(
        self, owner: str, renewer: str, *, real_user: str | None = None, service: str = ""
    ) -> TokenProto:
        """A token by which programs act as ``owner``; kept when this returns. Raises YarnError for one too many."""
        async with self._changing:
            now_ms = int(self._clock() * 1000)
            good = self._state.good_delegations(now_ms)
            if len(good) >= MAX_DELEGATIONS:
                raise YarnError(f"there are {len(good)} delegation tokens, and no more are given out until some end")
            if sum(kept.owner == owner for kept in good.values()) >= MAX_DELEGATIONS_OF_ONE:
                raise YarnError(f"{owner} has {MAX_DELEGATIONS_OF_ONE} delegation tokens: cancel some")
            key = self._current(TokenKind.DELEGATION)
            identifier = YARNDelegationTokenIdentifierProto(
                owner=owner,
                renewer=renewer,
                realUser=real_user or "",
                issueDate=now_ms,
                maxDate=now_ms + int(DELEGATION_MAX_S * 1000),
                sequenceNumber=self._state.delegations_made + 1,
                masterKeyId=key.key_id,
            )
            good[identifier.sequenceNumber] = Delegation(owner, now_ms + int(DELEGATION_RENEWAL_S * 1000))
            await self._become(replace(self._state, delegations_made=identifier.sequenceNumber, delegations=good))
            return self._token(TokenKind.DELEGATION, key, identifier, service=service)

    async def renew_delegation(self, token: TokenProto, *, by: str) -> int:
        """Until when it is good now, in epoch milliseconds. Raises InvalidToken, AccessDenied (``by`` is not the one
        who may renew it)."""
        async with self._changing:
            identifier = self.delegation(token)
            if not identifier.renewer or identifier.renewer != by:
                raise AccessDenied(f"{by} may not renew the token of {identifier.owner}: {identifier.renewer} may")
            until_ms = min(int((self._clock() + DELEGATION_RENEWAL_S) * 1000), identifier.maxDate)
            good = {**self._state.delegations}
            good[identifier.sequenceNumber] = replace(good[identifier.sequenceNumber], until_ms=until_ms)
            await self._become(replace(self._state, delegations=good))
            return until_ms

    async def cancel_delegation(self, token: TokenProto, *, by: str) -> None:
        """It is good for nobody from now on. Raises InvalidToken, AccessDenied."""
        async with self._changing:
            identifier = self.delegation(token)
            if by not in (identifier.owner, identifier.renewer, identifier.realUser) or not by:
                raise AccessDenied(f"{by} may not cancel the token of {identifier.owner}")
            good = {**self._state.delegations}
            del good[identifier.sequenceNumber]
            await self._become(replace(self._state, delegations=good))

    def delegated(self, token: TokenProto) -> Caller:
        """Who acts by a token of which all is known, its password too. Raises InvalidToken."""
        self.delegation(token)
        expected = self.delegation_verifier()(token.identifier)
        return Caller(user=expected.user, real_user=expected.real_user, token=expected.token)

    def delegation_verifier(self) -> TokenVerifier:
        """For the clients' port."""

        def expected(data: bytes) -> Expected:
            identifier, key = self._good_delegation(data)
            real = identifier.realUser if identifier.realUser not in ("", identifier.owner) else None
            held = VerifiedToken(kind=TokenKind.DELEGATION, identifier=identifier)
            return Expected(password=key.password(data), user=identifier.owner, real_user=real, token=held)

        return expected

    @property
    def delegations(self) -> Mapping[int, Delegation]:
        """Those that were not cancelled, by their numbers."""
        return self._state.delegations

    async def change_delegations(self, change: Callable[[Mapping[int, Delegation]], Mapping[int, Delegation]]) -> None:
        """Keep what ``change`` makes of them; it counts when this returns. Raises ClusterError."""
        async with self._changing:
            changed = change(self._state.delegations)
            if changed != self._state.delegations:
                await self._become(replace(self._state, delegations=changed))

    def delegation(self, token: TokenProto) -> YARNDelegationTokenIdentifierProto:
        """What a delegation token says that is good. Raises InvalidToken."""
        identifier, key = self._good_delegation(token.identifier)
        if token.kind != TokenKind.DELEGATION or not hmac.compare_digest(
            token.password, key.password(token.identifier)
        ):
            raise InvalidToken("the delegation token is not one of this cluster")
        return identifier

    def _good_delegation(self, data: bytes) -> tuple[YARNDelegationTokenIdentifierProto, MasterKey]:
        identifier = _parse(YARNDelegationTokenIdentifierProto, data)
        key = self._key(TokenKind.DELEGATION, identifier.masterKeyId)
        kept = self._state.delegations.get(identifier.sequenceNumber)
        if kept is None or kept.owner != identifier.owner:
            raise InvalidToken(f"the delegation token {identifier.sequenceNumber} is not known, or was cancelled")
        if self._clock() * 1000 >= min(kept.until_ms, identifier.maxDate):
            raise InvalidToken(f"the delegation token {identifier.sequenceNumber} has expired")
        return identifier, key

    def _current(self, kind: TokenKind) -> MasterKey:
        return self._state.rings[kind].current

    def _key(self, kind: TokenKind, key_id: int) -> MasterKey:
        key = self._state.rings[kind].good(key_id, self._lifetimes[kind], self._clock())
        if key is None:
            raise InvalidToken(f"the {kind} is not one of this cluster, or has expired (its key is {key_id})")
        return key

    def _token(self, kind: TokenKind, key: MasterKey, identifier: Message, service: str = "") -> TokenProto:
        data = identifier.SerializeToString(deterministic=True)
        return TokenProto(identifier=data, password=key.password(data), kind=kind.value, service=service)

    async def _become(self, state: TokenState) -> None:
        # First on disk: a token of a key that a crash forgets would be good until then, and never after.
        await asyncio.to_thread(self._save, state.encode())
        self._state = state


def _copy(message: Identifier) -> Identifier:
    copied = type(message)()
    copied.CopyFrom(message)
    return copied


def _parse(kind: type[Identifier], data: bytes) -> Identifier:
    try:
        return kind.FromString(data)
    except DecodeError:
        raise InvalidToken("the token's identifier cannot be read") from None


def _attempt(identifier: AMRMTokenIdentifierProto | NMTokenIdentifierProto) -> AttemptId:
    try:
        return attempt_id(identifier.appAttemptId)
    except YarnError:
        raise InvalidToken("the token's identifier names no attempt") from None
