"""What can go wrong, split by whose fault it is.

Each error keeps its facts in fields, says the next step, and names in this one place its HTTP status and the exit
code of the command line. "Cannot be placed now" is not an error: it is a value, see `hrm.core.reasons`.

Exit codes of the tool itself: 1 failure, 2 usage or bad input, 3 no server, 4 authentication or permission, 75 of a
server whose engine went away.
"""

from __future__ import annotations

from typing import ClassVar


class HrmError(Exception):
    """Root of all errors HRM raises on purpose.

    ``message`` says what is wrong and where; ``next_step`` what to do about it ("" if there is nothing to do).
    """

    code: ClassVar[str] = "internal"
    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message}\n  next: {self.next_step}" if self.next_step else self.message


class CallerError(HrmError):
    """The caller's fault: another request would succeed."""

    code = "bad_request"
    http_status = 400
    exit_code = 2


class InvalidInput(CallerError):
    """A value is wrong. ``field`` is the path of the value (``tasks[2].memory``), "" when it is the whole."""

    code = "invalid_input"
    http_status = 422

    def __init__(self, message: str, *, field: str = "", next_step: str = "") -> None:
        super().__init__(f"{field}: {message}" if field else message, next_step=next_step)
        self.field = field
        self.problem = message

    def within(self, prefix: str) -> InvalidInput:
        """The same error, seen from one level further out."""
        path = f"{prefix}.{self.field}" if self.field and not self.field.startswith("[") else f"{prefix}{self.field}"
        return InvalidInput(self.problem, field=path, next_step=self.next_step)


class InvalidNodeLabel(InvalidInput):
    """A request names a node label that is not there, or that its queue may not use."""

    code = "invalid_node_label"


class NotFound(CallerError):
    """The thing named does not exist."""

    code = "not_found"
    http_status = 404


class Conflict(CallerError):
    """The request contradicts the state of the thing it names."""

    code = "conflict"
    http_status = 409


class TooLarge(CallerError):
    """A body, a job or a log request is over its limit."""

    code = "too_large"
    http_status = 413


class TooManyRequests(CallerError):
    """The caller asks faster than its rate limit."""

    code = "too_many_requests"
    http_status = 429


class Unauthenticated(CallerError):
    """No token, a wrong one or an expired one."""

    code = "unauthenticated"
    http_status = 401
    exit_code = 4


class Forbidden(CallerError):
    """Known, but not allowed."""

    code = "forbidden"
    http_status = 403
    exit_code = 4


class ClusterError(HrmError):
    """The machines' fault: a disk is full, a node is gone, a server does not answer."""

    code = "unavailable"
    http_status = 503


class NoServer(ClusterError):
    """No HRM server answers."""

    code = "no_server"
    exit_code = 3


class EngineAway(ClusterError):
    """What runs the containers has gone away; they go on. A server that ends for this is to be started again."""

    code = "engine_away"
    #: EX_TEMPFAIL of sysexits.h.
    exit_code = 75


class StoreError(ClusterError):
    """The store cannot be read or written."""

    code = "store"


class InvariantBroken(HrmError):
    """HRM's own bug: something that must always hold does not. The story so far travels in the message."""

    code = "bug"


#: Every error that may travel over the wire, by its code, so that a client raises what the server raised.
BY_CODE: dict[str, type[HrmError]] = {
    kind.code: kind
    for kind in (
        CallerError,
        InvalidInput,
        InvalidNodeLabel,
        NotFound,
        Conflict,
        TooLarge,
        TooManyRequests,
        Unauthenticated,
        Forbidden,
        ClusterError,
        NoServer,
        EngineAway,
        StoreError,
        InvariantBroken,
        HrmError,
    )
}
