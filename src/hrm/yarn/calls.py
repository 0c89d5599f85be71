"""What the RPC server and those who answer calls know of each other: protocols, services, and who is calling."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from google.protobuf.message import Message

from hrm.model.ids import AttemptId


@dataclass(frozen=True, slots=True)
class Method:
    """One method of a protocol; ``name`` travels."""

    name: str
    request: type[Message]
    response: type[Message]


@dataclass(frozen=True, slots=True)
class RpcProtocol:
    """A named set of methods, as one Java interface has them; ``name`` travels."""

    name: str
    methods: tuple[Method, ...]


class TokenKind(enum.StrEnum):
    """What a token is for. The value is the kind that travels."""

    AMRM = "YARN_AM_RM_TOKEN"
    NM = "NMToken"
    CONTAINER = "ContainerToken"
    CLIENT_TO_AM = "YARN_CLIENT_TOKEN"
    DELEGATION = "RM_DELEGATION_TOKEN"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedToken:
    """What the token says that a connection was opened with; its holder has proven to know its password."""

    kind: TokenKind
    #: A message of `hrm.yarn.proto.identifiers_pb2`, of the class that belongs to the kind.
    identifier: Message
    #: Of kinds AMRM and NM: the attempt whose master calls.
    attempt: AttemptId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who makes a call, proven as far as its connection demands."""

    #: For a master's token the text of its attempt's id, as Hadoop has it; of a delegation token its owner.
    user: str
    #: Who acts in the name of ``user``; None iff nobody does.
    real_user: str | None = None
    #: None iff the caller came by `simple` authentication.
    token: VerifiedToken | None = None
    #: True iff the kernel says that the caller is root or the server's own user, and it claims no other name.
    admin: bool = False
    #: Address and port of the other end.
    address: tuple[str, int] = ("", 0)
    #: 16 bytes that a client makes at its start.
    client_id: bytes = b""
    call_id: int = 0
    #: How often the client has sent this call before; -1 iff it does not say.
    retry_count: int = -1

    @property
    def attempt(self) -> AttemptId | None:
        """The attempt whose master calls; None for everybody else."""
        return None if self.token is None else self.token.attempt


#: Gets the request, parsed and with all that is required, and who calls. Answers the response or an awaitable of it;
#: what is plain and answers at once is cheapest. Raises YarnError, or HrmError, which is translated.
Handler = Callable[[Message, Caller], Message | Awaitable[Message]]


@dataclass(frozen=True, slots=True)
class Service:
    """One protocol as it is answered. A method without a handler is answered by `hrm.yarn.errors.Unsupported`.

    ``changes`` names methods that must not be done twice: their answers are kept for a while, and a call that a client
    repeats because it got no answer is answered from there. Raises ValueError for names that the protocol has not.
    """

    protocol: RpcProtocol
    handlers: Mapping[str, Handler]
    changes: frozenset[str] = field(default=frozenset())

    def __post_init__(self) -> None:
        known = {method.name for method in self.protocol.methods}
        if unknown := {*self.handlers, *self.changes} - known:
            raise ValueError(f"{self.protocol.name} has no methods {sorted(unknown)}")
