"""What a launch context says, from YARN's message to the model's value."""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Mapping

from hrm.model.errors import InvalidInput
from hrm.model.ids import AttemptId
from hrm.model.jobs import TaskGroupSpec
from hrm.model.launch_contexts import (
    HADOOP_CONF_VARIABLE,
    TOKENS_VARIABLE,
    LaunchContext,
    LocalResource,
    ResourceKind,
    Visibility,
)
from hrm.model.resources import Resources
from hrm.model.retrying import FOREVER, MAX_CODES, RetryPolicy
from hrm.yarn.nodes import NodeAddresses
from hrm.yarn.proto.records_pb2 import (
    NEVER_RETRY,
    RETRY_ON_SPECIFIC_ERROR_CODES,
    ContainerLaunchContextProto,
    ContainerRetryContextProto,
    LocalResourceProto,
    URLProto,
)
from hrm.yarn.proto.security_pb2 import TokenProto
from hrm.yarn.tokens.credentials import Credentials

_KINDS = {1: ResourceKind.ARCHIVE, 2: ResourceKind.FILE, 3: ResourceKind.PATTERN}
_VISIBILITIES = {1: Visibility.PUBLIC, 2: Visibility.PRIVATE, 3: Visibility.APPLICATION}
#: What the group of an application's master is called.
MASTER_GROUP = "am"


def launch_context(message: ContainerLaunchContextProto) -> LaunchContext:
    """Raises InvalidInput for what cannot be launched."""
    return LaunchContext(
        commands=tuple(message.command),
        environment={variable.key: variable.value for variable in message.environment},
        local_resources={entry.key: _local_resource(entry.key, entry.value) for entry in message.localResources},
        tokens=_tokens(message.tokens),
        retry=_retry(message.container_retry_context),
    )


def master_group(
    message: ContainerLaunchContextProto, resources: Resources, *, gpu_model: str | None = None
) -> TaskGroupSpec:
    """The group of tasks that an application's master is. Raises InvalidInput, TooLarge."""
    context = launch_context(message)
    return TaskGroupSpec(
        name=MASTER_GROUP,
        command=context.command,
        env=context.variables(),
        resources=resources,
        gpu_model=gpu_model,
    )


def container_group(context: LaunchContext, more: Mapping[str, str]) -> TaskGroupSpec:
    """What runs in a container that a master has: its size is known by then. Raises InvalidInput, TooLarge."""
    return TaskGroupSpec(command=context.command, env={**context.variables(), **more})


def _retry(message: ContainerRetryContextProto) -> RetryPolicy | None:
    """None iff never, as where it is not said. Raises InvalidInput."""
    codes = frozenset(message.error_codes)
    if len(codes) > MAX_CODES:
        raise InvalidInput(f"more than {MAX_CODES} error codes", field="container_retry_context")
    specific = message.retry_policy == RETRY_ON_SPECIFIC_ERROR_CODES
    if (
        message.retry_policy == NEVER_RETRY
        or (specific and not codes)
        or not (message.max_retries > 0 or message.max_retries == FOREVER)
    ):
        return None
    validity_ms = message.failures_validity_interval
    return RetryPolicy(
        exit_codes=codes if specific else None,
        max_retries=message.max_retries,
        interval_s=message.retry_interval / 1000,
        validity_s=validity_ms / 1000 if validity_ms > 0 else None,
    )


def _tokens(data: bytes) -> bytes:
    """In the form that containers' programs read, whichever it came in, and without the rest of a buffer behind it."""
    return Credentials.read(data).write() if data else b""


def _local_resource(link: str, message: LocalResourceProto) -> LocalResource:
    if not message.HasField("type"):
        raise InvalidInput(f"{link!r:.80} is neither file nor archive nor pattern", field="local_resources")
    return LocalResource(
        url=_url(link, message.resource),
        timestamp_ms=message.timestamp,
        size_bytes=message.size,
        kind=_KINDS[message.type],
        # Hadoop's clients treat what names none as the application's own.
        visibility=_VISIBILITIES[message.visibility] if message.HasField("visibility") else Visibility.APPLICATION,
        pattern=message.pattern,
    )


def _url(link: str, message: URLProto) -> str:
    """Java's parts put together: a path without a host has port -1, and none of them is escaped."""
    if not message.file:
        raise InvalidInput(f"{link!r:.80} has no address", field="local_resources")
    scheme = message.scheme or "file"
    host = message.host
    if host and message.port > 0:
        host = f"{host}:{message.port}"
    if host and message.userInfo:
        host = f"{message.userInfo}@{host}"
    path = urllib.parse.quote(message.file, safe="/:@!$&'()*+,;=~-._?")
    return f"{scheme}://{host}{path}"


def node_variables(nodes: NodeAddresses, node_id: str) -> dict[str, str]:
    """What every container is told of the node that it runs on, and of the server."""
    node = nodes.of(node_id)
    return {
        "NM_HOST": node.host,
        "NM_PORT": str(node.port),
        "NM_HTTP_PORT": node.http_address.rpartition(":")[2],
        HADOOP_CONF_VARIABLE: json.dumps(dict(nodes.client_files)),
    }


def master_variables(
    attempt: AttemptId, nodes: NodeAddresses, node_id: str, *, token: TokenProto, submitted_at: float, max_attempts: int
) -> dict[str, str]:
    """What only a master's container is told: by which token it comes in, and how it stands with its application."""
    tokens = Credentials({token.kind: token}).write()
    return {
        **node_variables(nodes, node_id),
        TOKENS_VARIABLE: base64.b64encode(tokens).decode(),
        "APPLICATION_WEB_PROXY_BASE": f"/proxy/{attempt.application}",
        "APP_SUBMIT_TIME_ENV": str(int(submitted_at * 1000)),
        "MAX_APP_ATTEMPTS": str(max_attempts),
    }
