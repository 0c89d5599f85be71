"""The beginning of a connection: its first seven bytes, SASL where it asks for it, the context that names its user."""

from __future__ import annotations

import enum
from collections.abc import Awaitable
from dataclasses import dataclass

from hrm.yarn.calls import VerifiedToken
from hrm.yarn.proto.rpc_pb2 import IpcConnectionContextProto, RpcResponseHeaderProto, RpcSaslProto
from hrm.yarn.rpc import frames
from hrm.yarn.rpc.faults import IPC_EXCEPTION, VERSION_MISMATCH, RpcFault, bad_header, unauthorized
from hrm.yarn.rpc.frames import Unpacker
from hrm.yarn.rpc.hub import Authentication
from hrm.yarn.rpc.refusals import Refusals
from hrm.yarn.rpc.sasl import SaslExchange
from hrm.yarn.rpc.simple import SimpleDoor
from hrm.yarn.tokens.secrets import Expected


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is at the other end."""

    user: str
    real_user: str | None = None
    token: VerifiedToken | None = None
    admin: bool = False


class _Stage(enum.Enum):
    GREETING = enum.auto()
    SASL = enum.auto()
    CONTEXT = enum.auto()


class Handshake:
    """Of one connection between two addresses. Whatever raises RpcFault here ends it."""

    def __init__(
        self,
        authentication: Authentication,
        refusals: Refusals,
        theirs: tuple[str, int],
        ours: tuple[str, int],
    ) -> None:
        self._authentication = authentication
        self._refusals = refusals
        self._theirs = theirs
        self._ours = ours
        self._stage = _Stage.GREETING
        self._sasl: SaslExchange | None = None
        self._proven: Expected | None = None

    @property
    def greeted(self) -> bool:
        return self._stage is not _Stage.GREETING

    def greet(self, greeting: bytes) -> None:
        """The first seven bytes: ``hrpc``, version, class of service, and how the client wants to come in."""
        version, way = greeting[4], greeting[6]
        if not greeting.startswith(frames.PREAMBLE) or version != frames.VERSION:
            raise self.not_hadoop(version)
        if way == frames.SASL:
            self._sasl = SaslExchange(self._authentication.tokens, simple=self._authentication.simple is not None)
            self._stage = _Stage.SASL
        elif way != frames.NO_AUTHENTICATION:
            raise unauthorized(f"Unknown auth protocol:{way}", java_class=IPC_EXCEPTION)
        elif self._authentication.simple is None:
            raise unauthorized("SIMPLE authentication is not enabled.  Available:[TOKEN]")
        else:
            self._stage = _Stage.CONTEXT

    def not_hadoop(self, version: int | None = None) -> RpcFault:
        """For whoever speaks another version, or something else."""
        return RpcFault(
            RpcResponseHeaderProto.FATAL_VERSION_MISMATCH,
            f"Server IPC version {frames.VERSION} cannot communicate with "
            + ("what is no client of Hadoop" if version is None else f"client version {version}"),
            java_class=VERSION_MISMATCH,
            fatal=True,
        )

    def sasl(self, unpacker: Unpacker) -> RpcSaslProto | None:
        """What one message of SASL is answered."""
        if self._sasl is None:
            raise bad_header("SASL protocol not requested by client")
        if self._stage is not _Stage.SASL:
            raise bad_header("Negotiation is already complete")
        try:
            step = self._sasl.step(unpacker.take(RpcSaslProto))
        except RpcFault as fault:
            self._refusals.note("yarn_token_refused", host=self._theirs[0], why=str(fault))
            raise
        if step.proven is not None or step.simple:
            self._proven = step.proven
            self._stage = _Stage.CONTEXT
        return step.reply

    def introduce(self, unpacker: Unpacker) -> Identity | Awaitable[Identity]:
        """Who it is; what has to be awaited raises RpcFault, too."""
        if self._stage is not _Stage.CONTEXT:
            raise bad_header("Connection header sent during SASL negotiation")
        context = unpacker.take(IpcConnectionContextProto)
        user, real_user = context.userInfo.effectiveUser, context.userInfo.realUser
        if self._proven is not None:
            # The token is the identity; a client that names somebody all the same means somebody else.
            if user not in ("", self._proven.user):
                raise unauthorized(
                    f"Authenticated user ({self._proven.user}) doesn't match what the client claims to be ({user})"
                )
            return Identity(self._proven.user, self._proven.real_user, self._proven.token)
        door = self._authentication.simple
        assert door is not None, "without it nobody comes so far unproven"
        return self._admitted(door, user, real_user)

    async def _admitted(self, door: SimpleDoor, user: str, real_user: str) -> Identity:
        try:
            found = await door.admit(user, real_user, self._theirs, self._ours)
        except RpcFault as fault:
            self._refusals.note("yarn_user_refused", host=self._theirs[0], user=user[:100], why=str(fault))
            raise
        return Identity(found.user, found.real_user, admin=found.admin)
