"""Routes of what all share: the server, nodes, queues, containers, history, events."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from enum import Enum
from typing import Annotated, Any

from fastapi import FastAPI, Header, Path, Query, Request, Response

from hrm.api.access import Admin, Caller, events_seen_by, seen_by
from hrm.api.schemas import CLEAN_BODY, DRAIN_BODY, EVENT_RESPONSES, returns
from hrm.api.settings import PREFIX, ApiSettings
from hrm.api.streams import EventStream, StreamGate, sse_frame
from hrm.api.tokens import TokenAuthority
from hrm.api.wire import MAX_MESSAGE_CHARS, json_list_response, json_response, read_object, text_in
from hrm.model.cleaning import Cleanable
from hrm.model.errors import InvalidInput
from hrm.model.findings import DoctorReport
from hrm.model.ids import ApplicationId, parse_node_id
from hrm.model.reports import (
    CleanReport,
    ContainerReport,
    EventReport,
    NodeReport,
    QueueAccessReport,
    QueueReport,
    ReloadReport,
    ServerReport,
    SessionReport,
    TaskAttemptReport,
    WorkReport,
)
from hrm.model.units import LARGEST
from hrm.rm.facade import Facade

ApplicationQuery = Annotated[str | None, Query(description="only of this application")]
OnlyQuery = Annotated[Sequence[str], Query(description="only checks of these areas or names", max_length=50)]
NodePath = Annotated[str, Path(description="as `GET /nodes` names it")]
_TAGS: list[str | Enum] = ["cluster"]
_ACCEPTED = 202
#: How long somebody stays logged in to the page.
SESSION_S = 12 * 3600.0


def add_cluster_routes(
    app: FastAPI,
    facade: Facade,
    gate: StreamGate,
    settings: ApiSettings,
    reload: Callable[[], Awaitable[ReloadReport]],
    configuration: Callable[[], dict[str, Any]],
    tokens: TokenAuthority,
) -> None:
    """Add them to ``app``."""

    @app.get(f"{PREFIX}/server", tags=_TAGS, summary="The server itself", responses=returns(ServerReport))
    async def server(caller: Caller) -> Response:
        return json_response(facade.server())

    @app.post(
        f"{PREFIX}/server/shutdown", tags=_TAGS, summary="End the server; containers go on", status_code=_ACCEPTED
    )
    async def shutdown(caller: Admin) -> Response:
        facade.request_shutdown()
        gate.end_all()
        return Response(status_code=_ACCEPTED)

    @app.post(
        f"{PREFIX}/server/drain",
        tags=_TAGS,
        summary="Start nothing new, and end when nothing runs",
        responses=returns(ServerReport),
    )
    async def drain_server(caller: Admin) -> Response:
        """What is submitted meanwhile is kept and waits for the next server."""
        return json_response(await facade.drain_server(by=caller.user))

    @app.post(f"{PREFIX}/server/undrain", tags=_TAGS, summary="Go on as before", responses=returns(ServerReport))
    async def undrain_server(caller: Admin) -> Response:
        return json_response(await facade.undrain_server(by=caller.user))

    @app.post(
        f"{PREFIX}/session",
        tags=_TAGS,
        summary="A token of your own for a working day",
        responses=returns(SessionReport),
    )
    async def begin_session(caller: Caller) -> Response:
        """For a browser, which cannot come in by the Unix socket. It may do what you may."""
        expires_at = time.time() + SESSION_S
        if caller.expires_at is not None:
            expires_at = min(expires_at, caller.expires_at)
        token = tokens.mint(caller.user, admin=caller.admin, ttl_s=max(1.0, expires_at - time.time()))
        address = facade.server().address
        return json_response(SessionReport(token=token, user=caller.user, expires_at=expires_at, address=address))

    @app.get(f"{PREFIX}/nodes", tags=_TAGS, summary="Nodes", responses=returns(list[NodeReport]))
    async def nodes(caller: Caller) -> Response:
        return await json_list_response(facade.nodes())

    @app.post(
        f"{PREFIX}/nodes/{{node_id}}/drain",
        tags=_TAGS,
        summary="Place nothing new on it",
        responses=returns(NodeReport),
        openapi_extra=DRAIN_BODY,
    )
    async def drain_node(request: Request, caller: Admin, node_id: NodePath) -> Response:
        """What runs there goes on. Holds until it is undrained, also over restarts."""
        body = await read_object(request, ("reason",))
        reason = text_in(body, "reason", MAX_MESSAGE_CHARS) or ""
        return json_response(await facade.drain_node(parse_node_id(node_id), by=caller.user, reason=reason))

    @app.post(
        f"{PREFIX}/nodes/{{node_id}}/examine",
        tags=_TAGS,
        summary="Run the doctor's checks on it",
        responses=returns(DoctorReport),
    )
    async def examine_node(caller: Admin, node_id: NodePath, only: OnlyQuery = ()) -> Response:
        """Takes up to half a minute. What the last round of quick checks found is in `GET /nodes`."""
        return json_response(await facade.examine_node(parse_node_id(node_id), only))

    @app.post(f"{PREFIX}/nodes/{{node_id}}/undrain", tags=_TAGS, summary="Use it again", responses=returns(NodeReport))
    async def undrain_node(caller: Admin, node_id: NodePath) -> Response:
        return json_response(await facade.undrain_node(parse_node_id(node_id), by=caller.user))

    @app.post(
        f"{PREFIX}/clean",
        tags=_TAGS,
        summary="Clear away what is over",
        responses=returns(CleanReport),
        openapi_extra=CLEAN_BODY,
    )
    async def clean(request: Request, caller: Admin) -> Response:
        """What is over for longer than `older_than_s`; without it, what the server's retention does not keep.

        A call takes some seconds at most: with `more` in its answer, ask again.
        """
        body = await read_object(request, ("kinds", "older_than_s", "dry_run"))
        kinds, older_than_s, dry_run = body.get("kinds"), body.get("older_than_s"), body.get("dry_run", False)
        if not isinstance(kinds, list) or not kinds or not all(kind in tuple(Cleanable) for kind in kinds):
            raise InvalidInput("must be a list of what to clear away", field="kinds", next_step=", ".join(Cleanable))
        if not (older_than_s is None or (type(older_than_s) in (int, float) and 0 <= older_than_s < LARGEST)):
            raise InvalidInput(f"not a number of seconds: {older_than_s!r:.40}", field="older_than_s")
        if not isinstance(dry_run, bool):
            raise InvalidInput("must be true or false", field="dry_run")
        wanted = [Cleanable(kind) for kind in kinds]
        return json_response(await facade.clean(wanted, older_than_s=older_than_s, dry_run=dry_run, by=caller.user))

    @app.get(f"{PREFIX}/queues", tags=_TAGS, summary="Queues, parents first", responses=returns(list[QueueReport]))
    async def queues(caller: Caller) -> Response:
        return await json_list_response(facade.queues())

    @app.get(
        f"{PREFIX}/queues/access",
        tags=_TAGS,
        summary="Who may use which queue",
        responses=returns(list[QueueAccessReport]),
    )
    async def queue_access(caller: Caller) -> Response:
        return await json_list_response(await facade.queue_access(user=caller.user, admin=caller.admin))

    @app.get(
        f"{PREFIX}/queues/configuration",
        tags=_TAGS,
        summary="What is in force of hrm.yaml's queues",
        responses=returns(dict[str, Any]),
    )
    async def queue_configuration(caller: Admin) -> Response:
        """Its sections `scheduler` and `queues`, in their keys: ACLs and timeouts too."""
        return json_response(configuration())

    @app.post(
        f"{PREFIX}/queues/reload", tags=_TAGS, summary="Read hrm.yaml's queues anew", responses=returns(ReloadReport)
    )
    async def reload_queues(caller: Admin) -> Response:
        """A file with mistakes changes nothing."""
        return json_response(await reload())

    @app.get(
        f"{PREFIX}/containers",
        tags=_TAGS,
        summary="Containers that are not over",
        responses=returns(list[ContainerReport]),
    )
    async def containers(caller: Caller, application_id: ApplicationQuery = None) -> Response:
        return await json_list_response(facade.containers(_canonical(application_id)))

    @app.get(
        f"{PREFIX}/work",
        tags=_TAGS,
        summary="What applications hold and wait for",
        responses=returns(list[WorkReport]),
    )
    async def work(caller: Caller) -> Response:
        """Of those that are not over, whole and at one moment: what a simulation begins from."""
        return await json_list_response(facade.work())

    @app.get(
        f"{PREFIX}/history",
        tags=_TAGS,
        summary="Attempts of tasks, oldest first",
        responses=returns(list[TaskAttemptReport]),
    )
    async def history(
        caller: Caller,
        application_id: ApplicationQuery = None,
        since: Annotated[float | None, Query(description="epoch seconds")] = None,
        limit: Annotated[int, Query(ge=1, le=100_000)] = 10_000,
        offset: Annotated[int, Query(ge=0)] = 0,
    ) -> Response:
        rows = await facade.history(_canonical(application_id), since=since, limit=limit, offset=offset)
        return await json_list_response(seen_by(caller, rows))

    @app.get(f"{PREFIX}/events", tags=_TAGS, summary="What happened, and goes on happening", responses=EVENT_RESPONSES)
    async def events(
        caller: Caller,
        after_seq: Annotated[int, Query(ge=0)] = 0,
        application_id: ApplicationQuery = None,
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> Response:
        """Server-sent events without end: `event: event`, id its `seq`, data an EventReport as JSON.

        Those kept after `after_seq` come first; `Last-Event-ID` resumes.
        """
        if last_event_id is not None:
            if not last_event_id.isdecimal() or len(last_event_id) > 18:
                raise InvalidInput(f"not an id of this stream: {last_event_id[:40]!r}", field="Last-Event-ID")
            after_seq = int(last_event_id)
        wanted = _canonical(application_id)
        if wanted is not None:
            await facade.application(wanted)
        reports = events_seen_by(caller, facade, facade.events(after_seq=after_seq, application_id=wanted))
        return EventStream(
            _frames(reports), gate=gate, user=caller.user, heartbeat_interval_s=settings.heartbeat_interval_s
        )


async def _frames(reports: AsyncGenerator[EventReport, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(reports):
        async for report in reports:
            yield sse_frame(report, event="event", event_id=str(report.seq))


def _canonical(application_id: str | None) -> str | None:
    return None if application_id is None else str(ApplicationId.parse(application_id))
