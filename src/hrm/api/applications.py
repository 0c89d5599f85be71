"""Routes of applications: submit, list, look at, wait for, end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response, WebSocket

from hrm.api.access import (
    ApplicationPath,
    Caller,
    check_changer,
    check_owner,
    explanation_seen_by,
    seen_by,
    tasks_seen_by,
)
from hrm.api.accounts import Accounts
from hrm.api.attach import serve_attached
from hrm.api.execution import serve_executed
from hrm.api.forward import serve_forwarded
from hrm.api.schemas import (
    DEADLINE_BODY,
    KILL_BODY,
    MOVE_BODY,
    PLACE_BODY,
    PRIORITY_BODY,
    SIGNAL_BODY,
    SUBMIT_BODY,
    returns,
)
from hrm.api.settings import PREFIX
from hrm.api.streams import StreamGate
from hrm.api.wire import MAX_MESSAGE_CHARS, json_list_response, json_response, read_object, text_in
from hrm.model.errors import InvalidInput
from hrm.model.execution import ExecSpec
from hrm.model.explanations import Explanation
from hrm.model.job_codec import job_from_dict
from hrm.model.jobs import JobSpec
from hrm.model.reports import (
    ApplicationOrder,
    ApplicationReport,
    PlacementReport,
    PortsReport,
    SubmitReport,
    TaskReport,
)
from hrm.model.states import ApplicationState
from hrm.model.streams import ByteStream
from hrm.rm.facade import Facade

_ALL = f"{PREFIX}/applications"
_ONE = f"{_ALL}/{{application_id}}"
_TAGS: list[str | Enum] = ["applications"]
_MAX_WAIT_S = 300.0
_MAX_SUBMIT_ID_CHARS = 200
_LARGE_BODY_BYTES = 64 * 1024
_CREATED, _OK, _NO_CONTENT = 201, 200, 204


def add_application_routes(app: FastAPI, facade: Facade, gate: StreamGate, accounts: Accounts) -> None:
    """Add them to ``app``."""

    @app.post(
        _ALL, tags=_TAGS, summary="Submit a job", responses=returns(SubmitReport, _CREATED), openapi_extra=SUBMIT_BODY
    )
    async def submit(request: Request, caller: Caller) -> Response:
        """Answers once the job is safe in the store. The same `submit_id` again makes no second application."""
        await accounts.check_submitter(caller.user)
        body = await read_object(request, ("job", "submit_id"))
        submit_id = text_in(body, "submit_id", _MAX_SUBMIT_ID_CHARS)
        job = await read_job(request, body)
        report = await facade.submit(job, user=caller.user, submit_id=submit_id, admin=caller.admin)
        return json_response(report, _CREATED if report.created else _OK)

    @app.post(
        f"{_ALL}/placement",
        tags=_TAGS,
        summary="Where a job would go",
        responses=returns(PlacementReport),
        openapi_extra=PLACE_BODY,
    )
    async def place(request: Request, caller: Caller) -> Response:
        """Refuses what a submission would, and submits nothing."""
        await accounts.check_submitter(caller.user)
        job = await read_job(request, await read_object(request, ("job",)))
        return json_response(await facade.place(job, user=caller.user, admin=caller.admin))

    async def read_job(request: Request, body: Mapping[str, Any]) -> JobSpec:
        if "job" not in body:
            raise InvalidInput("is missing", field="job", next_step='send {"job": {"groups": [{"command": […]}]}}')
        try:
            if len(await request.body()) > _LARGE_BODY_BYTES:
                # Seconds of work must not hold the loop.
                return await asyncio.to_thread(job_from_dict, body["job"], kept=False)
            return job_from_dict(body["job"], kept=False)
        except InvalidInput as error:
            raise error.within("job") from None

    @app.get(_ALL, tags=_TAGS, summary="Applications, newest first", responses=returns(list[ApplicationReport]))
    async def applications(
        caller: Caller,
        state: Annotated[list[ApplicationState] | None, Query(description="any of these")] = None,
        user: str | None = None,
        queue: str | None = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
        before: Annotated[str | None, Query(description="last id of the page before, newest first")] = None,
        search: Annotated[str, Query(max_length=200, description="part of the name")] = "",
        order: ApplicationOrder = ApplicationOrder.NEWEST,
        offset: Annotated[int, Query(ge=0)] = 0,
    ) -> Response:
        rows = await facade.applications(
            states=state or (),
            user=user,
            queue=queue,
            limit=limit,
            before=before,
            search=search,
            order=order,
            offset=offset,
        )
        return await json_list_response(seen_by(caller, rows))

    @app.get(_ONE, tags=_TAGS, summary="One application", responses=returns(ApplicationReport))
    async def application(caller: Caller, application_id: ApplicationPath) -> Response:
        return json_response(seen_by(caller, [await facade.application(application_id)])[0])

    @app.post(f"{_ONE}/kill", tags=_TAGS, summary="End it", status_code=_NO_CONTENT, openapi_extra=KILL_BODY)
    async def kill(request: Request, caller: Caller, application_id: ApplicationPath) -> Response:
        """Answers once that is safe in the store. No error if it has ended."""
        body = await read_object(request, ("message",))
        await check_changer(facade, caller, application_id)
        message = text_in(body, "message", MAX_MESSAGE_CHARS) or ""
        await facade.kill(application_id, by=caller.user, message=message)
        return Response(status_code=_NO_CONTENT)

    @app.post(
        f"{_ONE}/move",
        tags=_TAGS,
        summary="Move it to another queue",
        responses=returns(ApplicationReport),
        openapi_extra=MOVE_BODY,
    )
    async def move(request: Request, caller: Caller, application_id: ApplicationPath) -> Response:
        """With all that it runs and asks for; answers once that is safe in the store. Where a limit forbids it, 422."""
        body = await read_object(request, ("queue",))
        await check_changer(facade, caller, application_id)
        queue = text_in(body, "queue", MAX_MESSAGE_CHARS)
        if not queue:
            raise InvalidInput("is missing", field="queue", next_step="name the queue, as `GET /queues` does")
        return json_response(await facade.move(application_id, queue, by=caller.user, admin=caller.admin))

    @app.post(f"{_ONE}/suspend", tags=_TAGS, summary="Halt what runs of it", responses=returns(ApplicationReport))
    async def suspend(caller: Caller, application_id: ApplicationPath) -> Response:
        """All its containers stop where they are and keep what they hold; answers once that is safe in the store."""
        await check_changer(facade, caller, application_id)
        return json_response(seen_by(caller, [await facade.suspend(application_id, by=caller.user)])[0])

    @app.post(f"{_ONE}/resume", tags=_TAGS, summary="Let it go on", responses=returns(ApplicationReport))
    async def resume(caller: Caller, application_id: ApplicationPath) -> Response:
        """No error if it is not suspended."""
        await check_changer(facade, caller, application_id)
        return json_response(seen_by(caller, [await facade.resume(application_id, by=caller.user)])[0])

    @app.post(
        f"{_ONE}/priority",
        tags=_TAGS,
        summary="Change its priority",
        responses=returns(ApplicationReport),
        openapi_extra=PRIORITY_BODY,
    )
    async def set_priority(request: Request, caller: Caller, application_id: ApplicationPath) -> Response:
        """Its place among its like in a fifo queue: higher runs first."""
        body = await read_object(request, ("priority",))
        await check_changer(facade, caller, application_id)
        priority = body.get("priority")
        if isinstance(priority, bool) or not isinstance(priority, int):
            raise InvalidInput(f"not a whole number: {priority!r:.40}", field="priority")
        return json_response(await facade.set_priority(application_id, priority, by=caller.user))

    @app.post(
        f"{_ONE}/deadline",
        tags=_TAGS,
        summary="Say until when it may live",
        responses=returns(ApplicationReport),
        openapi_extra=DEADLINE_BODY,
    )
    async def set_deadline(request: Request, caller: Caller, application_id: ApplicationPath) -> Response:
        """It is ended then, whatever it does."""
        body = await read_object(request, ("at",))
        await check_changer(facade, caller, application_id)
        at = body.get("at")
        if "at" not in body or isinstance(at, bool) or not isinstance(at, int | float | None):
            raise InvalidInput(f"not a time in epoch seconds, and not null: {at!r:.40}", field="at")
        return json_response(await facade.set_deadline(application_id, at, by=caller.user))

    @app.get(f"{_ONE}/wait", tags=_TAGS, summary="Wait for its end", responses=returns(ApplicationReport))
    async def wait(
        caller: Caller,
        application_id: ApplicationPath,
        timeout_s: Annotated[float, Query(ge=0, le=_MAX_WAIT_S)] = 30.0,
    ) -> Response:
        """Answers as soon as it has ended, or after `timeout_s` as it is then: look at `state`, and ask again."""
        report = await gate.unless_closing(facade.wait(application_id, timeout_s=timeout_s))
        return json_response(seen_by(caller, [report])[0])

    @app.get(f"{_ONE}/tasks", tags=_TAGS, summary="Its tasks, in order", responses=returns(list[TaskReport]))
    async def tasks(
        caller: Caller,
        application_id: ApplicationPath,
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    ) -> Response:
        owner = (await facade.application(application_id)).user
        rows = await facade.tasks(application_id, offset=offset, limit=limit)
        return await json_list_response(tasks_seen_by(caller, owner, rows))

    @app.get(f"{_ONE}/explain", tags=_TAGS, summary="The same as explanation", responses=returns(Explanation))
    @app.get(f"{_ONE}/explanation", tags=_TAGS, summary="Why it waits, runs or ended", responses=returns(Explanation))
    async def explain(
        caller: Caller,
        application_id: ApplicationPath,
        nodes: Annotated[bool, Query(description="also node by node")] = False,
    ) -> Response:
        owner = (await facade.application(application_id)).user
        return json_response(explanation_seen_by(caller, owner, await facade.explain(application_id, nodes=nodes)))

    @app.post(
        f"{_ONE}/signal",
        tags=_TAGS,
        summary="Signal its running tasks",
        status_code=_NO_CONTENT,
        openapi_extra=SIGNAL_BODY,
    )
    async def signal(request: Request, caller: Caller, application_id: ApplicationPath) -> Response:
        body = await read_object(request, ("signum",))
        await check_owner(facade, caller, application_id)
        signum = body.get("signum")
        if isinstance(signum, bool) or not isinstance(signum, int) or not 1 <= signum <= 64:
            raise InvalidInput(f"not a signal's number: {signum!r}", field="signum", next_step="SIGTERM is 15")
        await facade.signal(application_id, signum)
        return Response(status_code=_NO_CONTENT)

    @app.get(f"{_ONE}/ports", tags=_TAGS, summary="Ports that it listens on", responses=returns(PortsReport))
    async def ports(caller: Caller, application_id: ApplicationPath, task: Annotated[int, Query(ge=0)] = 0) -> Response:
        """TCP ports of its node's loopback on which the task's own processes listen; 409 while it does not run."""
        await check_owner(facade, caller, application_id)
        return json_response(await facade.ports(application_id, task))

    @app.websocket(f"{_ONE}/ports/{{port}}")
    async def forward(
        websocket: WebSocket, caller: Caller, application_id: ApplicationPath, port: str, task: str = "0"
    ) -> None:
        await check_owner(facade, caller, application_id)
        task_index, number = _number(task, "task", 0, 1 << 31), _number(port, "port", 1, 65535)
        with gate.entered(caller.user):
            await serve_forwarded(websocket, await facade.connect(application_id, task_index, number), gate.closing)

    @app.websocket(f"{_ONE}/exec")
    async def execute(websocket: WebSocket, caller: Caller, application_id: ApplicationPath, task: str = "0") -> None:
        await check_owner(facade, caller, application_id)
        task_index = _number(task, "task", 0, 1 << 31)

        async def start(spec: ExecSpec) -> ByteStream:
            return await facade.execute(application_id, task_index, spec, by=caller.user)

        with gate.entered(caller.user):
            await serve_executed(websocket, start, gate.closing)

    @app.websocket(f"{_ONE}/attach")
    async def attach(websocket: WebSocket, caller: Caller, application_id: ApplicationPath) -> None:
        await check_owner(facade, caller, application_id)
        with gate.entered(caller.user):
            await serve_attached(websocket, facade, application_id, gate.closing)


def _number(text: str, field: str, low: int, high: int) -> int:
    """Raises InvalidInput: a WebSocket that is refused by the framework's own checks says nothing of why."""
    if not (text.isascii() and text.isdigit() and len(text) < 12 and low <= int(text) <= high):
        raise InvalidInput(f"not a whole number from {low} to {high}: {text!r:.40}", field=field)
    return int(text)
