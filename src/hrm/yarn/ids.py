"""Ids between their two forms: the model's values, and YARN's messages."""

from __future__ import annotations

from hrm.model.ids import ApplicationId, AttemptId, ContainerId
from hrm.yarn.errors import IllegalArgument
from hrm.yarn.proto.records_pb2 import ApplicationAttemptIdProto, ApplicationIdProto, ContainerIdProto, NodeIdProto

#: A container's number is 64 bits: the epoch above, what is counted below (YARN's ContainerId).
_EPOCH_SHIFT = 40
_SEQ_MASK = (1 << _EPOCH_SHIFT) - 1


def application_id(message: ApplicationIdProto) -> ApplicationId:
    """Raises IllegalArgument for an id that is incomplete or below zero."""
    if not (message.HasField("id") and message.HasField("cluster_timestamp")):
        raise IllegalArgument("the id of an application is missing, or a part of it")
    if message.id < 0 or message.cluster_timestamp < 0:
        raise IllegalArgument(f"not the id of an application: {message.cluster_timestamp}, {message.id}")
    return ApplicationId(message.cluster_timestamp, message.id)


def attempt_id(message: ApplicationAttemptIdProto) -> AttemptId:
    """Raises IllegalArgument for an id that is incomplete or below zero."""
    if not message.HasField("attemptId") or message.attemptId < 0:
        raise IllegalArgument("the id of an attempt is missing, or a part of it")
    return AttemptId(application_id(message.application_id), message.attemptId)


def container_id(message: ContainerIdProto) -> ContainerId:
    """Raises IllegalArgument for an id that is incomplete or below zero."""
    if not message.HasField("id") or message.id < 0:
        raise IllegalArgument("the id of a container is missing, or a part of it")
    return ContainerId(attempt_id(message.app_attempt_id), message.id >> _EPOCH_SHIFT, message.id & _SEQ_MASK)


def application_message(application: ApplicationId) -> ApplicationIdProto:
    return ApplicationIdProto(id=application.seq, cluster_timestamp=application.cluster_timestamp)


def attempt_message(attempt: AttemptId) -> ApplicationAttemptIdProto:
    return ApplicationAttemptIdProto(application_id=application_message(attempt.application), attemptId=attempt.number)


def container_message(container: ContainerId) -> ContainerIdProto:
    return ContainerIdProto(
        app_attempt_id=attempt_message(container.attempt), id=container.epoch << _EPOCH_SHIFT | container.seq
    )


def node_address(message: NodeIdProto) -> str:
    """``host:port``, as YARN writes a node's id."""
    return f"{message.host}:{message.port}"
