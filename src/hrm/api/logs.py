"""The route of logs: what a task wrote, now or as it writes it."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import FastAPI, Header, Query, Response
from starlette.responses import StreamingResponse

from hrm.api.access import ApplicationPath, Caller, check_owner
from hrm.api.follow import CHUNK_BYTES, LogPiece, follow_log, task_report
from hrm.api.schemas import LOG_RESPONSES, returns
from hrm.api.settings import PREFIX, ApiSettings
from hrm.api.streams import EventStream, StreamGate, sse_frame
from hrm.api.wire import json_list_response
from hrm.model.containers import LogChunk, LogFile, LogStream
from hrm.model.errors import InvalidInput
from hrm.rm.facade import Facade


def add_log_routes(app: FastAPI, facade: Facade, gate: StreamGate, settings: ApiSettings) -> None:
    """Add it to ``app``."""

    @app.get(
        f"{PREFIX}/applications/{{application_id}}/logs",
        tags=["logs"],
        summary="What a task wrote",
        responses=LOG_RESPONSES,
    )
    async def logs(
        caller: Caller,
        application_id: ApplicationPath,
        task: Annotated[int, Query(ge=0)] = 0,
        stream: LogStream = LogStream.STDOUT,
        file: Annotated[
            str | None, Query(max_length=255, description="instead of a stream: a file that it wrote beside them")
        ] = None,
        offset: Annotated[int, Query(description="in bytes; negative: that far before the end")] = 0,
        attempt: Annotated[int | None, Query(ge=1, description="default: the latest")] = None,
        follow: bool = False,
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> Response:
        """Without `follow` the bytes as they are, up to where the log ends now (`application/octet-stream`).

        With `follow` server-sent events until the task has ended, its later attempts included unless `attempt` names
        one: `event: log` with JSON data `{"attempt", "data", "next_offset", "dropped_bytes"}`, the bytes in base64
        because JSON holds text; then `event: end`, or `event: error` with the error. Each event's id is
        `attempt:next_offset`; sent back as `Last-Event-ID`, it resumes there.
        """
        await check_owner(facade, caller, application_id)
        await task_report(facade, application_id, task)
        source = stream if file is None else file
        if not follow:
            first = await facade.read_log(
                application_id, task, source, offset=offset, max_bytes=CHUNK_BYTES, attempt=attempt
            )
            return StreamingResponse(
                rest_of_log(facade, application_id, task, source, first, attempt),
                media_type="application/octet-stream",
                headers={"x-hrm-dropped-bytes": str(first.dropped_bytes)},
            )
        start = attempt
        if last_event_id is not None:
            start, offset = _resume_point(last_event_id)
        pieces = follow_log(
            facade, application_id, task, source, offset=offset, attempt=start, through_retries=attempt is None
        )
        return EventStream(
            log_frames(pieces), gate=gate, user=caller.user, heartbeat_interval_s=settings.heartbeat_interval_s
        )

    @app.get(
        f"{PREFIX}/applications/{{application_id}}/log-files",
        tags=["logs"],
        summary="The files of a task's output",
        responses=returns(list[LogFile]),
    )
    async def log_files(
        caller: Caller,
        application_id: ApplicationPath,
        task: Annotated[int, Query(ge=0)] = 0,
        attempt: Annotated[int | None, Query(ge=1, description="default: the latest")] = None,
    ) -> Response:
        """`stdout` and `stderr`, and what it wrote beside them to `logs` in its directory (YARN's `<LOG_DIR>`)."""
        await check_owner(facade, caller, application_id)
        await task_report(facade, application_id, task)
        return await json_list_response(await facade.log_files(application_id, task, attempt=attempt))


async def rest_of_log(
    facade: Facade, application_id: str, task: int, stream: str, chunk: LogChunk, attempt: int | None
) -> AsyncGenerator[bytes, None]:
    while chunk.data:
        yield chunk.data
        if chunk.end:
            return
        chunk = await facade.read_log(
            application_id, task, stream, offset=chunk.next_offset, max_bytes=CHUNK_BYTES, attempt=attempt
        )


async def log_frames(pieces: AsyncGenerator[LogPiece, None]) -> AsyncGenerator[bytes, None]:
    try:
        async for piece in pieces:
            data = {
                "attempt": piece.attempt,
                "data": base64.b64encode(piece.data).decode("ascii"),
                "next_offset": piece.next_offset,
                "dropped_bytes": piece.dropped_bytes,
            }
            yield sse_frame(data, event="log", event_id=f"{piece.attempt}:{piece.next_offset}")
        yield sse_frame({}, event="end")
    finally:
        await pieces.aclose()


def _resume_point(last_event_id: str) -> tuple[int, int]:
    attempt, _, offset = last_event_id.partition(":")
    if not (attempt.isdecimal() and offset.isdecimal() and len(last_event_id) < 40):
        raise InvalidInput(
            f"not an id of this stream: {last_event_id[:40]!r}",
            field="Last-Event-ID",
            next_step="send back the id of the last event as it came",
        )
    return int(attempt), int(offset)
