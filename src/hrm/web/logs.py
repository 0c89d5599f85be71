"""What a task wrote, for the page: as events while it writes, or as a file."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping

from starlette.responses import Response, StreamingResponse

from hrm.api.access import check_owner
from hrm.api.follow import CHUNK_BYTES, follow_log, task_report
from hrm.api.logs import log_frames, rest_of_log
from hrm.api.tokens import Identity
from hrm.model.containers import LogStream
from hrm.model.ids import ApplicationId
from hrm.web.desk import Desk

#: From the end of what is there when somebody begins to look; all of it is behind the download.
_TAIL_BYTES = 512 << 10


async def follow(
    desk: Desk, who: Identity, params: Mapping[str, str], task: int, stream: LogStream
) -> AsyncGenerator[bytes, None]:
    """Server-sent events as the API has them. Raises NotFound and Forbidden before the first."""
    application_id = str(ApplicationId.parse(params["application_id"]))
    await check_owner(desk.facade, who, application_id)
    await task_report(desk.facade, application_id, task)
    pieces = follow_log(
        desk.facade, application_id, task, stream, offset=-_TAIL_BYTES, attempt=None, through_retries=True
    )
    return log_frames(pieces)


async def download(desk: Desk, who: Identity, params: Mapping[str, str], task: int, stream: LogStream) -> Response:
    """All that is kept of the latest attempt, as a file. Raises NotFound and Forbidden."""
    application_id = str(ApplicationId.parse(params["application_id"]))
    await check_owner(desk.facade, who, application_id)
    await task_report(desk.facade, application_id, task)
    first = await desk.facade.read_log(application_id, task, stream, offset=0, max_bytes=CHUNK_BYTES)
    return StreamingResponse(
        rest_of_log(desk.facade, application_id, task, stream, first, None),
        media_type="application/octet-stream",
        headers={"content-disposition": f'attachment; filename="{application_id}-{task}.{stream}.txt"'},
    )
