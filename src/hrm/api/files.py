"""Routes of files: uploads of jobs, and what tasks have in their directories."""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import Enum
from typing import Annotated

from fastapi import FastAPI, Path, Query, Request, Response
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse

from hrm.api.access import ApplicationPath, Caller, check_owner
from hrm.api.accounts import Accounts
from hrm.api.schemas import FILES_RESPONSES, UPLOAD_BODY, UPLOAD_CONTENT_BODY, returns
from hrm.api.settings import PREFIX
from hrm.api.wire import json_response, read_object
from hrm.files.manifest import Manifest
from hrm.model.errors import ClusterError, InvalidInput
from hrm.model.reports import UploadReport
from hrm.model.streams import ByteStream
from hrm.rm.facade import Facade

_TAGS: list[str | Enum] = ["files"]
_MAX_PATH_CHARS = 4096


def add_file_routes(app: FastAPI, facade: Facade, accounts: Accounts) -> None:
    """Add them to ``app``."""

    @app.post(
        f"{PREFIX}/uploads",
        tags=_TAGS,
        summary="Begin an upload",
        responses=returns(UploadReport),
        openapi_extra=UPLOAD_BODY,
    )
    async def begin(request: Request, caller: Caller) -> Response:
        """Says which contents are missing. Once none is, jobs of the same user may name the upload."""
        await accounts.check_submitter(caller.user)
        body = await read_object(request, ("manifest",))
        if "manifest" not in body:
            raise InvalidInput("is missing", field="manifest", next_step='send {"manifest": {"entries": […]}}')
        manifest = Manifest.of_plain(body["manifest"])
        return json_response(await facade.files.begin_upload(manifest, user=caller.user))

    @app.post(
        f"{PREFIX}/uploads/{{upload_id}}/content",
        tags=_TAGS,
        summary="Send contents of an upload",
        responses=returns(UploadReport),
        openapi_extra=UPLOAD_CONTENT_BODY,
    )
    async def receive(request: Request, caller: Caller, upload_id: Annotated[str, Path()]) -> Response:
        """One after another: 32 bytes of SHA-256, 8 of length (big-endian), the content. What came whole stays."""
        report = await facade.files.receive_upload(upload_id, _pieces(request), user=caller.user)
        return json_response(report)

    @app.get(
        f"{PREFIX}/applications/{{application_id}}/files",
        tags=_TAGS,
        summary="What a task has in its directory",
        responses=FILES_RESPONSES,
    )
    async def fetch(
        caller: Caller,
        application_id: ApplicationPath,
        task: Annotated[int, Query(ge=0)] = 0,
        path: Annotated[
            str, Query(max_length=_MAX_PATH_CHARS, description="below HRM_CONTAINER_DIR; default: all of it")
        ] = "",
        attempt: Annotated[int | None, Query(ge=1, description="default: the latest")] = None,
    ) -> Response:
        """A tar. Its last member says by the PAX header `HRM.end` whether all could be read ("") or what went wrong."""
        await check_owner(facade, caller, application_id)
        stream = await facade.files.fetch(application_id, task, path, attempt=attempt)
        try:
            first = await stream.read()
        except BaseException:
            await stream.close()
            raise
        return StreamingResponse(_rest(stream, first), media_type="application/x-tar")


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    try:
        async for piece in request.stream():
            if piece:
                yield piece
    except ClientDisconnect:
        raise ClusterError("the caller hung up in the middle") from None


async def _rest(stream: ByteStream, data: bytes) -> AsyncIterator[bytes]:
    try:
        while data:
            yield data
            data = await stream.read()
    finally:
        await stream.close()
