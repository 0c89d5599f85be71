"""The OpenAPI document: answers are described from the report classes themselves, request bodies here."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from hrm.model import explanations, findings, masters, reports
from hrm.model.cleaning import Cleanable
from hrm.model.containers import LogFile
from hrm.model.jobs import DEFAULT_RESOURCES, MAX_TASKS

_REFERENCE = "#/components/schemas/{name}"
_REPORTS = (
    reports.ServerReport,
    reports.ApplicationReport,
    reports.TaskReport,
    reports.TaskAttemptReport,
    reports.QueueReport,
    reports.NodeLabelReport,
    reports.NodeReport,
    reports.ContainerReport,
    explanations.Explanation,
    reports.EventReport,
    reports.SubmitReport,
    reports.PlacementReport,
    reports.PortsReport,
    LogFile,
    reports.SessionReport,
    reports.QueueAccessReport,
    reports.ReloadReport,
    masters.Registration,
    masters.Heartbeat,
    masters.Launched,
    masters.Retyped,
    reports.CleanReport,
    reports.WorkReport,
    reports.UploadReport,
    findings.DoctorReport,
)


def returns(report: Any, *statuses: int) -> dict[int | str, dict[str, Any]]:
    """``responses`` of a route that answers with ``report`` (200, and what is named).

    Given to FastAPI as finished schemas: building its own models of the reports takes a quarter of a second of every
    server's start, and nothing would use them.
    """
    schema = msgspec.json.schema_components([report], ref_template=_REFERENCE)[0][0]
    content = {"application/json": {"schema": schema}}
    return {status: {"description": "as asked", "content": content} for status in {200, *statuses}}


def _body(schema: dict[str, Any], *, required: bool) -> dict[str, Any]:
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


def _object(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": properties}
    return schema | ({"required": required} if required else {})


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


_TEXT = {"type": "string"}
_TASK_GROUP = _object(
    {
        "name": {"type": "string", "default": "main"},
        "command": {"type": "array", "items": _TEXT, "minItems": 1, "description": "program and arguments, no shell"},
        "tasks": {"type": "integer", "minimum": 1, "maximum": MAX_TASKS, "default": 1},
        "env": {"type": "object", "additionalProperties": _TEXT},
        "resources": {
            "type": "object",
            "additionalProperties": {"type": "integer", "minimum": 0},
            "default": DEFAULT_RESOURCES.as_dict(),
            "description": "exact integers by name; of the built-in three what is left out has its default",
        },
        "workdir": _or_null(_TEXT),
        "retries": {"type": "integer", "minimum": 0, "default": 0},
        "timeout_s": _or_null({"type": "number", "exclusiveMinimum": 0}),
        "priority": {"type": "integer", "minimum": 0, "default": 0, "description": "lower is more urgent"},
        "gpu_model": _or_null(_TEXT),
        "inputs": {
            "type": "array",
            "items": _TEXT,
            "description": "paths it reads, by which it is placed",
        },
        "shared": {"type": "array", "items": _TEXT, "description": "shared paths that its nodes must have"},
        "constraint": _or_null({"type": "string", "description": "attributes of its nodes: os=debian12 & !hdd"}),
        "node_label": _or_null({"type": "string", "description": "label of its nodes; empty: none; null: its queue's"}),
        "depends_on": {"type": "array", "items": _TEXT, "description": "groups that must have succeeded before"},
    },
    ["command"],
)
_JOB = _object(
    {
        "name": _TEXT,
        "queue": _or_null(_TEXT),
        "priority": {"type": "integer", "default": 0, "description": "higher runs first in a fifo queue"},
        "max_failures": _or_null({"type": "integer", "minimum": 0}),
        "attached": {"type": "boolean", "default": False, "description": "ends when its last attached client is gone"},
        "stdin": {"type": "boolean", "default": False},
        "terminal": _or_null(
            _object({"rows": {"type": "integer"}, "columns": {"type": "integer"}}, ["rows", "columns"])
        ),
        "master": _or_null(
            _object(
                {
                    "max_attempts": {"type": "integer", "minimum": 1, "default": 2},
                    "keep_containers": {"type": "boolean", "default": False},
                    "validity_interval_s": _or_null({"type": "number", "exclusiveMinimum": 0}),
                    "node_label": _or_null(_TEXT),
                }
            )
        ),
        "upload": _or_null({"type": "string", "description": "id of an upload of yours, found in each container"}),
        "python_env": _or_null(
            _object(
                {"files": {"type": "object", "additionalProperties": _TEXT, "description": "texts by name"}}, ["files"]
            )
        ),
        "groups": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/TaskGroup"}},
    },
    ["groups"],
)
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "next_step"],
            "properties": {"code": _TEXT, "message": _TEXT, "field": _TEXT, "next_step": _TEXT},
        }
    },
}

SUBMIT_BODY = _body(
    _object(
        {
            "job": {"$ref": "#/components/schemas/Job"},
            "submit_id": {"type": "string", "description": "made by the client; a repeated submit is one application"},
        },
        ["job"],
    ),
    required=True,
)
PLACE_BODY = _body(_object({"job": {"$ref": "#/components/schemas/Job"}}, ["job"]), required=True)
MOVE_BODY = _body(_object({"queue": _TEXT}, ["queue"]), required=True)
PRIORITY_BODY = _body(
    _object({"priority": {"type": "integer", "description": "higher runs first in a fifo queue"}}, ["priority"]),
    required=True,
)
DEADLINE_BODY = _body(
    _object({"at": {"type": ["number", "null"], "description": "epoch seconds; null: no limit"}}, ["at"]), required=True
)
KILL_BODY = _body(_object({"message": _TEXT}), required=False)
CLEAN_BODY = _body(
    _object(
        {
            "kinds": {"type": "array", "minItems": 1, "items": {"type": "string", "enum": [*Cleanable]}},
            "older_than_s": _or_null({"type": "number", "minimum": 0}),
            "dry_run": {"type": "boolean", "default": False},
        },
        ["kinds"],
    ),
    required=True,
)
DRAIN_BODY = _body(_object({"reason": _TEXT}), required=False)
SET_NODE_BODY = _body(
    _object(
        {
            "attributes": {"type": "object", "additionalProperties": _or_null(_TEXT)},
            "label": _or_null({"type": "string", "description": "empty: none; null: what hrm.yaml says"}),
        }
    ),
    required=True,
)
LABELS_BODY = _body(
    _object(
        {
            "add": {
                "type": "array",
                "items": _object({"name": _TEXT, "exclusive": {"type": "boolean", "default": True}}, ["name"]),
            },
            "remove": {"type": "array", "items": _TEXT},
        }
    ),
    required=False,
)
SIGNAL_BODY = _body(_object({"signum": {"type": "integer", "minimum": 1, "maximum": 64}}, ["signum"]), required=True)
_IDS = {"type": "array", "items": _TEXT}
_AMOUNTS = {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}}
_EXECUTION_TYPE = {"type": "string", "enum": ["guaranteed", "opportunistic"]}
_ASK = _object(
    {
        "resources": _AMOUNTS,
        "count": {"type": "integer", "minimum": 0, "default": 1, "description": "absolute; 0 withdraws"},
        "priority": {"type": "integer", "minimum": 0, "default": 0},
        "resource_name": {"type": "string", "default": "*", "description": "node, rack or *"},
        "relax_locality": {"type": "boolean", "default": True},
        "allocation_request_id": {"type": "integer", "minimum": 0, "default": 0},
        "gpu_model": _or_null(_TEXT),
        "constraint": _or_null({"type": "string", "description": "attributes of the node: os=debian12 & !hdd"}),
        "node_label": _or_null({"type": "string", "description": "label of the node; empty: none; null: the master's"}),
        "execution_type": {**_EXECUTION_TYPE, "default": "guaranteed"},
    }
)
ALLOCATE_BODY = _body(
    _object(
        {
            "response_id": {"type": "integer", "minimum": 0, "default": 0, "description": "of the last answer"},
            "asks": {"type": "array", "items": _ASK},
            "releases": _IDS,
            "progress": {"type": "number", "minimum": 0, "maximum": 1},
        }
    ),
    required=False,
)
LAUNCH_BODY = _body(
    _object(
        {
            "container_id": _TEXT,
            "command": {"type": "array", "items": _TEXT, "minItems": 1},
            "env": {"type": "object", "additionalProperties": _TEXT},
            "workdir": _or_null(_TEXT),
        },
        ["container_id", "command"],
    ),
    required=True,
)
RETYPE_BODY = _body(
    _object({"containers": {"type": "object", "additionalProperties": _EXECUTION_TYPE}}, ["containers"]), required=True
)
STOP_BODY = _body(_object({"container_ids": _IDS}), required=True)
FINISH_BODY = _body(
    _object({"status": {"type": "string", "enum": ["SUCCEEDED", "FAILED", "KILLED"]}, "message": _TEXT}, ["status"]),
    required=True,
)
UPLOAD_BODY = _body(
    _object(
        {
            "manifest": _object(
                {
                    "entries": {
                        "type": "array",
                        "items": {"type": "array"},
                        "description": "in order of paths: [d, path], [f, path, size, sha256, executable] or "
                        "[l, path, target]",
                    }
                },
                ["entries"],
            )
        },
        ["manifest"],
    ),
    required=True,
)
_BINARY = {"schema": {"type": "string", "format": "binary"}}
UPLOAD_CONTENT_BODY = {"requestBody": {"required": True, "content": {"application/octet-stream": _BINARY}}}
FILES_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "a tar", "content": {"application/x-tar": _BINARY}}
}
EVENT_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "server-sent events", "content": {"text/event-stream": {"schema": _TEXT}}}
}
LOG_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "bytes, or server-sent events with `follow`",
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "text/event-stream": {"schema": _TEXT},
        },
    }
}


def install_openapi(app: FastAPI) -> None:
    """Make ``app.openapi`` give the whole document, worked out once."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas.update(msgspec.json.schema_components(_REPORTS, ref_template=_REFERENCE)[1])
    schemas.update({"Job": _JOB, "TaskGroup": _TASK_GROUP, "Error": _ERROR})
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"token": []}]
    error = {
        "description": "error",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = error
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return document
