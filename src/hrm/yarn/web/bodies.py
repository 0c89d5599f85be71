"""A submission as REST says it (ApplicationSubmissionContextInfo), as the message that the other door takes."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

from hrm.model.errors import InvalidInput
from hrm.model.ids import ApplicationId
from hrm.yarn.ids import application_message
from hrm.yarn.proto import records_pb2 as records
from hrm.yarn.web.formats import BadRequest

_INT32, _INT64 = 1 << 31, 1 << 63


def submission(body: Mapping[str, Any]) -> records.ApplicationSubmissionContextProto:
    """Raises BadRequest naming what is wrong; what nobody knows is left aside, as YARN does."""
    context = records.ApplicationSubmissionContextProto(
        application_id=application_id(text(body, "application-id")),
        application_name=text(body, "application-name", "N/A"),
        queue=text(body, "queue", "default"),
        unmanaged_am=truth(body, "unmanaged-AM"),
        maxAppAttempts=number(body, "max-app-attempts", 0),
        applicationType=text(body, "application-type", "YARN"),
        keep_containers_across_application_attempts=truth(body, "keep-containers-across-application-attempts"),
        attempt_failures_validity_interval=number(body, "attempt-failures-validity-interval", -1, _INT64),
    )
    if "app-node-label-expression" in body:
        context.node_label_expression = text(body, "app-node-label-expression")
    context.priority.priority = number(body, "priority", 0)
    if text(body, "reservation-id"):
        raise BadRequest("reservation-id: there are no reservations here")
    context.applicationTags.extend(str(tag) for tag in many(part(body, "application-tags").get("tag")))
    if "resource" in body:
        context.resource.CopyFrom(_resource(part(body, "resource")))
        if "am-container-node-label-expression" in body:
            context.am_container_resource_request.add(
                resource_name="*",
                capability=context.resource,
                num_containers=1,
                node_label_expression=text(body, "am-container-node-label-expression"),
            )
    timeouts = part(body, "application-timeouts")
    for timeout in many(timeouts.get("timeout", timeouts.get("entry"))):
        if not isinstance(timeout, dict):
            raise BadRequest("application-timeouts: not an object")
        seconds = number(timeout, "value" if "value" in timeout else "timeout", 0, _INT64)
        context.application_timeouts.add(application_timeout_type=records.APP_TIMEOUT_LIFETIME, timeout=seconds)
    _launch(part(body, "am-container-spec"), context.am_container_spec)
    return context


def application_id(name: str) -> records.ApplicationIdProto:
    """Raises BadRequest."""
    try:
        return application_message(ApplicationId.parse(name))
    except InvalidInput as error:
        raise BadRequest(f"application-id: {error.message}") from None


def _launch(spec: Mapping[str, Any], message: records.ContainerLaunchContextProto) -> None:
    if any(part(spec, "credentials").get(key) for key in ("tokens", "secrets")):
        raise BadRequest("am-container-spec.credentials: tokens and secrets are taken over RPC alone")
    message.command.extend(str(line) for line in many(part(spec, "commands").get("command")))
    for name, value in entries(spec, "environment"):
        message.environment.add(key=name, value=str(value))
    for kind, acl in entries(spec, "application-acls"):
        if kind not in ("VIEW_APP", "MODIFY_APP"):
            raise BadRequest(f"application-acls: neither VIEW_APP nor MODIFY_APP: {kind!r:.40}")
        message.application_ACLs.add(accessType=f"APPACCESS_{kind}", acl=str(acl))
    for link, value in entries(spec, "local-resources"):
        if not isinstance(value, dict):
            raise BadRequest(f"local-resources: {link!r:.40} is no object")
        message.localResources.add(key=link).value.CopyFrom(_local_resource(link, value))


def _local_resource(link: str, value: Mapping[str, Any]) -> records.LocalResourceProto:
    kind, visibility = text(value, "type", "FILE"), text(value, "visibility", "APPLICATION")
    if kind not in records.LocalResourceTypeProto.keys():  # noqa: SIM118 (no mapping)
        raise BadRequest(f"local-resources: {link!r:.40}: no such type: {kind!r:.40}")
    if visibility not in records.LocalResourceVisibilityProto.keys():  # noqa: SIM118
        raise BadRequest(f"local-resources: {link!r:.40}: no such visibility: {visibility!r:.40}")
    try:
        where = urllib.parse.urlsplit(text(value, "resource"))
        port = where.port
    except ValueError:
        raise BadRequest(f"local-resources: {link!r:.40}: not an address") from None
    message = records.LocalResourceProto(
        size=number(value, "size", 0, _INT64),
        timestamp=number(value, "timestamp", 0, _INT64),
        type=kind,
        visibility=visibility,
        pattern=text(value, "pattern"),
    )
    path = urllib.parse.unquote(where.path) + (f"?{where.query}" if where.query else "")
    message.resource.CopyFrom(
        records.URLProto(
            scheme=where.scheme,
            host=where.hostname or "",
            port=-1 if port is None else port,
            file=path,
            userInfo=where.netloc.rpartition("@")[0],
        )
    )
    return message


def _resource(value: Mapping[str, Any]) -> records.ResourceProto:
    message = records.ResourceProto(memory=number(value, "memory", 0, _INT64), virtual_cores=number(value, "vCores", 1))
    for one in many(part(value, "resourceInformations").get("resourceInformation")):
        if not isinstance(one, dict):
            raise BadRequest("resourceInformations: not an object")
        name = text(one, "name")
        if name not in ("memory-mb", "vcores"):
            message.resource_value_map.add(key=name, value=number(one, "value", 0, _INT64), units=text(one, "units"))
    return message


# --- single values, each with its name in what is said of it


def part(body: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """An object; an empty one where there is none, or where XML has an empty element."""
    value = body.get(key)
    if value in (None, ""):
        return {}
    if not isinstance(value, dict):
        raise BadRequest(f"{key}: not an object")
    return value


def entries(body: Mapping[str, Any], key: str) -> Iterator[tuple[str, Any]]:
    """Of a map as YARN writes it: ``{"entry": [{"key": …, "value": …}]}``."""
    for entry in many(part(body, key).get("entry")):
        if not isinstance(entry, dict) or not isinstance(entry.get("key"), str):
            raise BadRequest(f"{key}: an entry has no key")
        yield entry["key"], entry.get("value", "")


def many(value: Any) -> list[Any]:
    """One thing, or several, or none."""
    if value is None or value == "":
        return []
    return value if isinstance(value, list) else [value]


def text(body: Mapping[str, Any], key: str, default: str = "") -> str:
    value = body.get(key)
    if value is None:
        return default
    if isinstance(value, (dict, list)):
        raise BadRequest(f"{key}: not a text")
    return str(value)


def truth(body: Mapping[str, Any], key: str) -> bool:
    value = text(body, key, "false").lower()
    if value not in ("true", "false"):
        raise BadRequest(f"{key}: neither true nor false: {value!r:.40}")
    return value == "true"


def number(body: Mapping[str, Any], key: str, default: int, limit: int = _INT32) -> int:
    """A whole number from -``limit`` up to below ``limit``."""
    value = body.get(key)
    if value is None or value == "":
        return default
    try:
        found = int(value) if isinstance(value, (int, str)) and len(str(value)) < 25 else None
    except ValueError:
        found = None
    if found is None or isinstance(value, bool) or not -limit <= found < limit:
        raise BadRequest(f"{key}: not a whole number in range: {value!r:.40}")
    return found
