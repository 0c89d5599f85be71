"""What all calls of masters to a node have in common: who calls, about whose containers, and what was not done."""

from __future__ import annotations

from collections.abc import Sized

from hrm.model.errors import HrmError, NotFound
from hrm.model.ids import AttemptId
from hrm.yarn.calls import Caller
from hrm.yarn.errors import InvalidContainer, InvalidToken, YarnError, from_hrm
from hrm.yarn.ids import container_id
from hrm.yarn.proto import records_pb2 as records
from hrm.yarn.proto import service_pb2 as service
from hrm.yarn.sessions import Sessions

#: Containers in one call.
MAX_AT_ONCE = 10_000


def attempt_of(caller: Caller, sessions: Sessions) -> AttemptId:
    """Raises InvalidToken, and ApplicationAttemptNotFound: a token outlives its attempt."""
    if caller.attempt is None:
        raise InvalidToken("a master speaks with the token of its attempt for this node")
    sessions.standing(caller.attempt)
    return caller.attempt


def own(message: records.ContainerIdProto, attempt: AttemptId) -> str:
    """The container's id. Raises YarnError where it is another application's, and IllegalArgument."""
    container = container_id(message)
    if container.attempt.application != attempt.application:
        raise YarnError(
            f"Container {container} attempted to be accessed by a non-owner: {attempt.application} "
            "has an NMToken for itself alone"
        )
    return str(container)


def check_count(messages: Sized) -> None:
    """Raises YarnError."""
    if len(messages) > MAX_AT_ONCE:
        raise YarnError(f"more than {MAX_AT_ONCE} containers at once")


def failure(container: records.ContainerIdProto, error: YarnError | HrmError) -> service.ContainerExceptionMapProto:
    """As Java makes an exception of it."""
    if isinstance(error, NotFound):
        error = InvalidContainer(str(error))
    elif isinstance(error, HrmError):
        error = from_hrm(error)
    return service.ContainerExceptionMapProto(
        container_id=container,
        exception=records.SerializedExceptionProto(message=str(error), class_name=error.java_class, trace=""),
    )
