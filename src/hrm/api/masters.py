"""Routes of masters that run in containers of their own: each for the bearer of that attempt's own token alone."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from fastapi import FastAPI, Request, Response

from hrm.api.access import MasterPath
from hrm.api.schemas import ALLOCATE_BODY, FINISH_BODY, LAUNCH_BODY, RETYPE_BODY, STOP_BODY, returns
from hrm.api.settings import PREFIX
from hrm.api.wire import MAX_MESSAGE_CHARS, json_response, read_object, text_in
from hrm.model.attributes import MAX_CHARS
from hrm.model.errors import InvalidInput
from hrm.model.job_codec import launch_from_dict, resources_from_dict
from hrm.model.masters import FinalStatus, Heartbeat, Launched, Registration, Retyped
from hrm.model.node_needs import needs_of
from hrm.model.requests import ANY, ExecutionType, ResourceRequest
from hrm.rm.facade import Facade

_ONE = f"{PREFIX}/masters/{{attempt_id}}"
_TAGS: list[str | Enum] = ["masters"]
_NO_CONTENT = 204
_MAX_NAMED = 10_000
_ASK_FIELDS = (
    "resources",
    "count",
    "priority",
    "resource_name",
    "relax_locality",
    "allocation_request_id",
    "gpu_model",
    "constraint",
    "node_label",
    "execution_type",
)


def add_master_routes(app: FastAPI, facade: Facade) -> None:
    """Add them to ``app``."""

    @app.post(f"{_ONE}/register", tags=_TAGS, summary="A master is there", responses=returns(Registration))
    async def register(attempt_id: MasterPath) -> Response:
        """For the first time, or anew after an answer with `resync`: what it asked for before counts no more."""
        return json_response(await facade.masters.register(attempt_id))

    @app.post(
        f"{_ONE}/allocate",
        tags=_TAGS,
        summary="A heartbeat: asks and releases, grants and ends",
        responses=returns(Heartbeat),
        openapi_extra=ALLOCATE_BODY,
    )
    async def allocate(request: Request, attempt_id: MasterPath) -> Response:
        """Counts are absolute. Send the `response_id` of the last answer: a repeated call is then not counted twice."""
        body = await read_object(request, ("response_id", "asks", "releases", "progress"))
        asks = body.get("asks", [])
        if not isinstance(asks, list):
            raise InvalidInput("must be a list", field="asks")
        progress = body.get("progress")
        if progress is not None and (
            isinstance(progress, bool) or not isinstance(progress, (int, float)) or not 0 <= progress <= 1
        ):
            raise InvalidInput("must be from 0 to 1", field="progress")
        heard = await facade.masters.allocate(
            attempt_id,
            _integer(body, "response_id", "response_id", 0),
            asks=[_ask(ask, f"asks[{number}]") for number, ask in enumerate(asks)],
            releases=_names(body, "releases"),
            progress=progress,
        )
        return json_response(heard)

    @app.post(
        f"{_ONE}/launch",
        tags=_TAGS,
        summary="Run a command in a container",
        responses=returns(Launched),
        openapi_extra=LAUNCH_BODY,
    )
    async def launch(request: Request, attempt_id: MasterPath) -> Response:
        """Answers once that is safe in the store. Said again it starts nothing more."""
        body = await read_object(request, ("container_id", "command", "env", "workdir"))
        container_id = text_in(body, "container_id", MAX_MESSAGE_CHARS)
        if container_id is None:
            raise InvalidInput("is missing", field="container_id")
        command, env, workdir = launch_from_dict({key: body[key] for key in body if key != "container_id"})
        return json_response(await facade.masters.launch(attempt_id, container_id, command, env, workdir))

    @app.post(f"{_ONE}/stop", tags=_TAGS, summary="End containers", status_code=_NO_CONTENT, openapi_extra=STOP_BODY)
    async def stop(request: Request, attempt_id: MasterPath) -> Response:
        body = await read_object(request, ("container_ids",))
        await facade.masters.stop(attempt_id, _names(body, "container_ids"))
        return Response(status_code=_NO_CONTENT)

    @app.post(
        f"{_ONE}/retype",
        tags=_TAGS,
        summary="Promote and demote containers",
        responses=returns(Retyped),
        openapi_extra=RETYPE_BODY,
    )
    async def retype(request: Request, attempt_id: MasterPath) -> Response:
        """Demotion is at once, promotion waits for its turn; `retyped` of `allocate` says when."""
        body = await read_object(request, ("containers",))
        containers = body.get("containers", {})
        if not isinstance(containers, Mapping) or len(containers) > _MAX_NAMED:
            raise InvalidInput(f"must be an object of at most {_MAX_NAMED} ids", field="containers")
        wanted = {
            str(name)[:MAX_MESSAGE_CHARS]: _execution_type(one, f"containers.{name!s:.80}")
            for name, one in containers.items()
        }
        return json_response(Retyped(refused=await facade.masters.retype(attempt_id, wanted)))

    @app.post(f"{_ONE}/finish", tags=_TAGS, summary="The last word", status_code=_NO_CONTENT, openapi_extra=FINISH_BODY)
    async def finish(request: Request, attempt_id: MasterPath) -> Response:
        """The first one stands. Containers that still run are ended, and the master's own when it has left."""
        body = await read_object(request, ("status", "message"))
        said = [status for status in FinalStatus if status is not FinalStatus.UNDEFINED]
        if body.get("status") not in said:
            raise InvalidInput(
                f"not a final status: {body.get('status')!r:.40}", field="status", next_step=", ".join(said)
            )
        message = text_in(body, "message", MAX_MESSAGE_CHARS) or ""
        await facade.masters.finish(attempt_id, FinalStatus(body["status"]), message)
        return Response(status_code=_NO_CONTENT)


def _ask(data: object, path: str) -> ResourceRequest:
    if not isinstance(data, Mapping):
        raise InvalidInput("must be an object", field=path)
    for name in data:
        if name not in _ASK_FIELDS:
            raise InvalidInput(f"unknown field {name[:40]!r}", field=path, next_step=f"known: {', '.join(_ASK_FIELDS)}")
    relax_locality = data.get("relax_locality", True)
    if not isinstance(relax_locality, bool):
        raise InvalidInput("must be true or false", field=f"{path}.relax_locality")
    try:
        return ResourceRequest(
            resources=resources_from_dict(data.get("resources", {}), "resources"),
            count=_integer(data, "count", "count", 1),
            priority=_integer(data, "priority", "priority", 0),
            resource_name=text_in(data, "resource_name", MAX_MESSAGE_CHARS) or ANY,
            relax_locality=relax_locality,
            allocation_request_id=_integer(data, "allocation_request_id", "allocation_request_id", 0),
            gpu_model=text_in(data, "gpu_model", MAX_MESSAGE_CHARS),
            needs=needs_of(
                frozenset(),
                text_in(data, "constraint", MAX_CHARS),
                text_in(data, "node_label", MAX_MESSAGE_CHARS),
            ),
            execution_type=_execution_type(data.get("execution_type", ExecutionType.GUARANTEED), "execution_type"),
        )
    except InvalidInput as error:
        raise error.within(path) from None


def _execution_type(value: object, path: str) -> ExecutionType:
    try:
        return ExecutionType(value)  # type: ignore[arg-type]
    except ValueError:
        raise InvalidInput(
            f"not an execution type: {value!r:.40}", field=path, next_step=", ".join(ExecutionType)
        ) from None


def _integer(data: Mapping[str, Any], name: str, path: str, default: int) -> int:
    value = data.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 53:
        raise InvalidInput(f"must be a whole number from 0 on: {value!r:.40}", field=path)
    return value


def _names(body: Mapping[str, Any], name: str) -> list[str]:
    """Ids of containers. What is no id of one is simply not known."""
    value = body.get(name, [])
    if not isinstance(value, list) or len(value) > _MAX_NAMED or not all(isinstance(one, str) for one in value):
        raise InvalidInput(f"must be a list of at most {_MAX_NAMED} ids", field=name)
    return value
