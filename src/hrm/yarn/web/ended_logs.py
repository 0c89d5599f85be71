"""Logs of applications that are over, where Hadoop's clients look for aggregated ones (`yarn logs`).

In YARN each NodeManager copies the logs of an application into a shared file system. Here they stay where they are, and
``/webhdfs/v1/logs`` shows them in the place and form of such copies, by as much of WebHDFS as reading takes: a
folder for each application, with a TFile for each node that had containers of it.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from hrm.model.errors import ClusterError, NotFound
from hrm.model.reports import TaskAttemptReport
from hrm.rm.facade import Facade
from hrm.yarn.applications import Application, Applications
from hrm.yarn.errors import ApplicationNotFound
from hrm.yarn.nodes import NodeAddresses
from hrm.yarn.rights import Rights
from hrm.yarn.web.callers import Callers
from hrm.yarn.web.formats import SEALED, BadRequest, NoSuchPage
from hrm.yarn.web.tfile import Log, Piece, TFile

#: What clients are told as ``yarn.nodemanager.remote-app-log-dir``, below the address of the server's pages.
ROOT = "/logs"
_BASE = "/webhdfs/v1"
#: ``USER/bucket-SUFFIX/NUMBER/APPLICATION``, and a node's file in it: as Hadoop has it since 3.3; and as it was in
#: Hadoop 2, where Skein looks still. In between it was ``logs-tfile``: there newer clients look as well, and would show
#: all twice.
_PATH = re.compile(
    rf"{ROOT}/(?P<user>[^/]+)/(?:bucket-[^/]+/\d+|logs)/(?P<app>application_\d+_\d+)(?:/(?P<node>[^/]+))?/?\Z", re.ASCII
)
#: Layouts that are kept, and for how long: a client asks several times for parts of one file.
_KEPT, _KEPT_S = 32, 60.0
_CHUNK_BYTES = 256 << 10
_BLOCK_BYTES = 128 << 20
#: FsServerDefaults, most of it for those who write.
_DEFAULTS = {
    "blockSize": _BLOCK_BYTES,
    "bytesPerChecksum": 512,
    "checksumType": 2,
    "defaultStoragePolicyId": 0,
    "encryptDataTransfer": False,
    "fileBufferSize": 4096,
    "keyProviderUri": "",
    "replication": 1,
    "trashInterval": 0,
    "writePacketSize": 65536,
}


@dataclass(frozen=True, slots=True)
class _Source:
    """A log of one container."""

    task_index: int
    attempt: int
    file: str


class EndedLogPages:
    """Of their owner, admins and those whom the application's view ACL names."""

    def __init__(
        self, facade: Facade, applications: Applications, rights: Rights, callers: Callers, *, nodes: NodeAddresses
    ) -> None:
        self._facade = facade
        self._applications = applications
        self._rights = rights
        self._callers = callers
        self._nodes = nodes
        self._kept: OrderedDict[tuple[str, str], tuple[float, TFile[_Source]]] = OrderedDict()
        self.routes = [Route(f"{_BASE}{{path:path}}", self.answer)]

    async def answer(self, request: Request) -> Response:
        try:
            return await self._answer(request)
        except NoSuchPage as error:
            missing = {
                "exception": "FileNotFoundException",
                "javaClassName": "java.io.FileNotFoundException",
                "message": str(error),
            }
            return JSONResponse({"RemoteException": missing}, 404, headers=SEALED)

    async def _answer(self, request: Request) -> Response:
        operation = request.query_params.get("op", "").upper()
        if operation == "GETHOMEDIRECTORY":
            # Hadoop's FileContext asks for it before anything else, and logs an error where there is none.
            caller = await self._callers.of(request)
            return JSONResponse({"Path": f"/user/{caller.user}"}, headers=SEALED)
        if operation == "GETSERVERDEFAULTS":
            # Before it opens anything it wants to know how large its buffers may be.
            await self._callers.of(request)
            return JSONResponse({"FsServerDefaults": _DEFAULTS}, headers=SEALED)
        if operation not in ("GETFILESTATUS", "LISTSTATUS", "OPEN"):
            raise BadRequest(f"nothing but GETFILESTATUS, LISTSTATUS and OPEN is answered here: {operation[:40]!r}")
        application, node = await self._found(request)
        containers = await self._containers(application)
        if node is None:
            if operation == "OPEN":
                raise BadRequest(f"{application.report.application_id} is a folder")
            folder = _status(application, "", "DIRECTORY", 0)
            if operation == "GETFILESTATUS":
                return JSONResponse({"FileStatus": folder}, headers=SEALED)
            found = [
                _status(application, name, "FILE", (await self._file(application, name, containers)).size)
                for name in containers
            ]
            return JSONResponse({"FileStatuses": {"FileStatus": found}}, headers=SEALED)
        if node not in containers:
            raise NoSuchPage(f"File does not exist: {request.path_params['path'][:200]}")
        file = await self._file(application, node, containers)
        if operation == "OPEN":
            return self._opened(request, application, file)
        status = _status(application, "" if operation == "GETFILESTATUS" else node, "FILE", file.size)
        if operation == "GETFILESTATUS":
            return JSONResponse({"FileStatus": status}, headers=SEALED)
        return JSONResponse({"FileStatuses": {"FileStatus": [status]}}, headers=SEALED)

    async def _found(self, request: Request) -> tuple[Application, str | None]:
        """The application that is meant, and a node of it. Raises NoSuchPage, and AccessDenied."""
        caller = await self._callers.of(request)
        path = request.path_params["path"]
        nothing = NoSuchPage(f"File does not exist: {path[:200]}")
        if (match := _PATH.match(path)) is None:
            raise nothing
        try:
            application = await self._applications.find(match["app"])
        except ApplicationNotFound:
            raise nothing from None
        await self._rights.check_look(caller, application)
        if application.report.user != match["user"] or not application.is_over:
            raise nothing
        return application, match["node"]

    async def _containers(self, application: Application) -> dict[str, list[TaskAttemptReport]]:
        """Those in which something began and ended, by the name of their node's file."""
        found: dict[str, list[TaskAttemptReport]] = {}
        for report in await self._facade.history(application.report.application_id):
            if report.started_at is not None and report.ended_at is not None:
                place = self._nodes.of(report.node_id)
                found.setdefault(f"{place.host}_{place.port}", []).append(report)
        return found

    async def _file(
        self, application: Application, node: str, containers: dict[str, list[TaskAttemptReport]]
    ) -> TFile[_Source]:
        name, now = application.report.application_id, time.monotonic()
        kept = self._kept.get((name, node))
        if kept is not None and now < kept[0]:
            return kept[1]
        laid_out: list[tuple[str, list[Log[_Source]]]] = []
        for report in containers[node]:
            try:
                files = await self._facade.log_files(name, report.task_index, attempt=report.attempt)
            except (NotFound, ClusterError):
                continue  # cleared away, or its node does not answer
            logs = [
                Log(one.name, one.size_bytes, _Source(report.task_index, report.attempt, one.name)) for one in files
            ]
            laid_out.append((report.container_id, logs))
        file = TFile(application.report.user, laid_out)
        if application.report.state.final:
            # Until then there may be more of it.
            self._kept[name, node] = (now + _KEPT_S, file)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return file

    def _opened(self, request: Request, application: Application, file: TFile[_Source]) -> Response:
        offset = min(_count(request, "offset", 0), file.size)
        size = min(_count(request, "length", file.size), file.size - offset)
        return StreamingResponse(
            self._bytes(application, file, offset, size),
            media_type="application/octet-stream",
            headers={**SEALED, "Content-Length": str(size)},
        )

    async def _bytes(
        self, application: Application, file: TFile[_Source], offset: int, size: int
    ) -> AsyncIterator[bytes]:
        for part in file.read(offset, size):
            if isinstance(part, bytes):
                yield part
            else:
                async for data in self._read(application, part):
                    yield data

    async def _read(self, application: Application, piece: Piece[_Source]) -> AsyncIterator[bytes]:
        """As many bytes as were laid out. Raises HrmError where they are gone by now: the client hears no end."""
        source, offset, left = piece.source, piece.offset, piece.size
        while left > 0:
            chunk = await self._facade.read_log(
                application.report.application_id,
                source.task_index,
                source.file,
                offset=offset,
                max_bytes=min(left, _CHUNK_BYTES),
                attempt=source.attempt,
            )
            if not chunk.data:
                raise NotFound(f"{source.file} was cleared away while it was read")
            yield chunk.data
            offset += len(chunk.data)
            left -= len(chunk.data)


def _status(application: Application, name: str, kind: str, size: int) -> dict[str, Any]:
    """FileStatus of WebHDFS."""
    changed = int((application.finished_at or 0.0) * 1000)
    return {
        "accessTime": changed,
        "blockSize": _BLOCK_BYTES,
        "childrenNum": 0,
        "fileId": 0,
        "group": "hadoop",
        "length": size,
        "modificationTime": changed,
        "owner": application.report.user,
        "pathSuffix": name,
        "permission": "750" if kind == "DIRECTORY" else "640",
        "replication": 1,
        "storagePolicy": 0,
        "type": kind,
    }


def _count(request: Request, key: str, default: int) -> int:
    value = request.query_params.get(key)
    if value is None:
        return default
    if not value.isdecimal() or len(value) > 18:
        raise BadRequest(f"{key}: not a whole number: {value[:40]!r}")
    return int(value)
