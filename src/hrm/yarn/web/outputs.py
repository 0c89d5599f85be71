"""What containers printed, where YARN's links point: ``/node/containerlogs/…`` and those of ``/ws/v1/node/…``.

At a node's own port for its containers; at the server's own for all: a container's id says where it is.
"""

from __future__ import annotations

import html
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from hrm.model.containers import LogChunk, LogFile, LogStream
from hrm.model.errors import InvalidInput
from hrm.model.ids import ContainerId
from hrm.model.reports import TaskAttemptReport
from hrm.rm.facade import Facade
from hrm.yarn.application_messages import format_time
from hrm.yarn.applications import Application, Applications
from hrm.yarn.errors import ContainerNotFound
from hrm.yarn.rights import Rights
from hrm.yarn.web.callers import Callers
from hrm.yarn.web.formats import SEALED, BadRequest, answer
from hrm.yarn.web.node_ports import node_of

_CHUNK_BYTES = 256 << 10
#: How much of a file a page shows, and of how many.
_SHOWN_BYTES = 64 << 10
_SHOWN_FILES = 20


class OutputPages:
    """Of a container's owner, admins and those whom its application's view ACL names."""

    def __init__(
        self,
        facade: Facade,
        applications: Applications,
        rights: Rights,
        callers: Callers,
    ) -> None:
        self._facade = facade
        self._applications = applications
        self._rights = rights
        self._callers = callers
        self.routes = [
            Route("/node/containerlogs/{container}/{user}", self.page),
            Route("/node/containerlogs/{container}/{user}/{file}", self.page),
            Route("/node/containerlogs/{container}/{user}/{file}/", self.page),
            Route("/ws/v1/node/containers/{container}/logs", self.files),
            Route("/ws/v1/node/containers/{container}/logs/{file}", self.raw),
            Route("/ws/v1/node/containerlogs/{container}/{file}", self.raw),
        ]

    async def page(self, request: Request) -> Response:
        """A page for people: the end of each file, or of one."""
        application, report = await self.found(request)
        wanted = request.path_params.get("file")
        start = _offset(request, "start", -_SHOWN_BYTES)
        parts = []
        files = [one.name for one in await self.files_of(application, report)] if wanted is None else [wanted]
        for file in files[:_SHOWN_FILES]:
            chunk = await self._read(application, report, file, start)
            text = html.escape(chunk.data.decode(errors="replace"))
            parts.append(f"<h2>{html.escape(file)}</h2><pre>{text}</pre>")
        title = html.escape(report.container_id)
        body = f"<!doctype html><meta charset=utf-8><title>{title}</title><h1>{title}</h1>{''.join(parts)}"
        return HTMLResponse(body, headers=SEALED)

    async def raw(self, request: Request) -> Response:
        """The file as it is, from ``offset`` on."""
        application, report = await self.found(request)
        file = request.path_params["file"]
        first = await self._read(application, report, file, _offset(request, "offset", 0))
        return StreamingResponse(
            self._rest(application, report, file, first),
            media_type="text/plain; charset=utf-8",
            headers=SEALED,
        )

    async def files(self, request: Request) -> Response:
        application, report = await self.found(request)
        infos = [
            {
                "fileName": file.name,
                "fileSize": str(file.size_bytes),
                "lastModifiedTime": "" if file.modified_at is None else format_time(file.modified_at),
            }
            for file in await self.files_of(application, report)
        ]
        value = {"containerId": report.container_id, "logAggregationType": "LOCAL", "containerLogInfo": infos}
        return answer(request, "containerLogsInfo", value)

    async def found(self, request: Request) -> tuple[Application, TaskAttemptReport]:
        """The container, if the caller may look. Raises ApplicationNotFound, ContainerNotFound and AccessDenied."""
        caller = await self._callers.of(request)
        name = request.path_params["container"]
        try:
            container = ContainerId.parse(name)
        except InvalidInput as error:
            raise BadRequest(error.message) from None
        application = await self._applications.find(str(container.attempt.application))
        await self._rights.check_look(caller, application)
        for report in await self._facade.history(application.report.application_id):
            if report.container_id == name and node_of(request) in (None, report.node_id):
                return application, report
        raise ContainerNotFound(f"container with id: {name} not found")

    async def files_of(self, application: Application, report: TaskAttemptReport) -> list[LogFile]:
        """Of one container: what it printed, and what it wrote beside that."""
        files = await self._facade.log_files(
            application.report.application_id, report.task_index, attempt=report.attempt
        )
        return files or [LogFile(name=stream.value, size_bytes=0) for stream in LogStream]

    async def _read(self, application: Application, report: TaskAttemptReport, file: str, offset: int) -> LogChunk:
        return await self._facade.read_log(
            application.report.application_id,
            report.task_index,
            file,
            offset=offset,
            max_bytes=_CHUNK_BYTES,
            attempt=report.attempt,
        )

    async def _rest(
        self, application: Application, report: TaskAttemptReport, file: str, chunk: LogChunk
    ) -> AsyncIterator[bytes]:
        while chunk.data:
            yield chunk.data
            if chunk.end:
                return
            chunk = await self._read(application, report, file, chunk.next_offset)


def _offset(request: Request, key: str, default: int) -> int:
    """Below zero: so far before the end."""
    value = request.query_params.get(key)
    if value is None or value == "":
        return default
    if not value.lstrip("-").isdecimal() or len(value) > 18:
        raise BadRequest(f"{key}: not a whole number: {value[:40]!r}")
    return int(value)
