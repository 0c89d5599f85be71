"""Errors as Hadoop's clients know them: by the name of a Java class, which they make anew and raise.

A client that gets a class it does not retry fails at once, with the message. What it retries, and for how long, hangs
on the class alone (Hadoop's `RMProxy`, `RetryPolicies`).
"""

from __future__ import annotations

from typing import ClassVar

from hrm.model.errors import ClusterError, Forbidden, HrmError, InvalidNodeLabel, Unauthenticated

_YARN = "org.apache.hadoop.yarn.exceptions."


class YarnError(Exception):
    """What a method answers in place of a response. ``java_class`` is what the client raises."""

    java_class: ClassVar[str] = f"{_YARN}YarnException"


class ApplicationNotFound(YarnError):
    """No such application, or it is known no more."""

    java_class = f"{_YARN}ApplicationNotFoundException"


class ApplicationAttemptNotFound(YarnError):
    """No such attempt. To a master: end yourself."""

    java_class = f"{_YARN}ApplicationAttemptNotFoundException"


class ContainerNotFound(YarnError):
    """No such container."""

    java_class = f"{_YARN}ContainerNotFoundException"


class ApplicationIdNotProvided(YarnError):
    """A submission without the id of an application."""

    java_class = f"{_YARN}ApplicationIdNotProvidedException"


class InvalidResourceRequest(YarnError):
    """A request that is below zero, above the maximum, or names what is not there."""

    java_class = f"{_YARN}InvalidResourceRequestException"


class InvalidLabelResourceRequest(YarnError):
    """A request for a node label that the cluster or the queue has not."""

    java_class = f"{_YARN}InvalidLabelResourceRequestException"


class InvalidResourceBlacklistRequest(YarnError):
    """A node both added to a blacklist and taken from it, or ``*`` in it."""

    java_class = f"{_YARN}InvalidResourceBlacklistRequestException"


class InvalidContainerRelease(YarnError):
    """A master releases what is another application's."""

    java_class = f"{_YARN}InvalidContainerReleaseException"


class InvalidContainer(YarnError):
    """A container's token or context is not good for this node, or not any more."""

    java_class = f"{_YARN}InvalidContainerException"


class InvalidApplicationMasterRequest(YarnError):
    """A master that registers twice, or asks with a response id that is not the next."""

    java_class = f"{_YARN}InvalidApplicationMasterRequestException"


class ApplicationMasterNotRegistered(YarnError):
    """A master that asks before it has registered, or after a restart of the server: register, and ask again."""

    java_class = f"{_YARN}ApplicationMasterNotRegisteredException"


class InvalidAuxService(YarnError):
    """A container names a service that the node does not run."""

    java_class = f"{_YARN}InvalidAuxServiceException"


class FeatureNotEnabled(YarnError):
    """Something that YARN has as an option, and this server has not (resource profiles, reservations)."""

    java_class = f"{_YARN}YARNFeatureNotEnabledException"


class AccessDenied(YarnError):
    """The caller is known, and not allowed to do this."""

    java_class = "org.apache.hadoop.security.AccessControlException"


class InvalidToken(YarnError):
    """A token that is wrong, another's, expired or cancelled."""

    java_class = "org.apache.hadoop.security.token.SecretManager$InvalidToken"


class Retriable(YarnError):
    """Not now: clients wait and ask again, for minutes."""

    java_class = "org.apache.hadoop.ipc.RetriableException"


class Unsupported(YarnError):
    """A method that this server has not.

    Hadoop's `RpcNoSuchMethodException` would say it more exactly; clients ask again and again for minutes when they
    get it, and fail within a second with this one.
    """

    java_class = "java.lang.UnsupportedOperationException"


class IllegalArgument(YarnError):
    """A value that cannot be."""

    java_class = "java.lang.IllegalArgumentException"


def from_hrm(error: HrmError) -> YarnError:
    """The same for a client: who is not allowed, what may come right by waiting, and all else."""
    text = str(error)
    if isinstance(error, InvalidNodeLabel):
        return InvalidLabelResourceRequest(f"Invalid label resource request, {text}")
    if isinstance(error, Forbidden):
        return AccessDenied(text)
    if isinstance(error, Unauthenticated):
        return InvalidToken(text)
    if isinstance(error, ClusterError):
        return Retriable(text)
    return YarnError(text)
