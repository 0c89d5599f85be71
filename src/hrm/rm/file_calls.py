"""The facade's part for files (`hrm.rm.facade.Files`): uploads, and what tasks have in their directories."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace

from hrm.files.archive import path_parts
from hrm.files.manifest import Manifest
from hrm.model.errors import ClusterError, InvalidInput, NotFound
from hrm.model.files import FileSettings, check_path, within
from hrm.model.ids import ApplicationId
from hrm.model.jobs import JobSpec, TaskGroupSpec
from hrm.model.reports import UploadReport
from hrm.model.streams import ByteStream
from hrm.rm.manager import ResourceManager
from hrm.rm.records import ApplicationRow, ContainerRow
from hrm.rm.uploads import Uploads


class FileCalls:
    """See the module. ``row_of`` finds an application that is over; ``uploads`` None: this server keeps none."""

    def __init__(
        self,
        manager: ResourceManager,
        uploads: Uploads | None,
        settings: FileSettings,
        row_of: Callable[[ApplicationId], Awaitable[ApplicationRow]],
    ) -> None:
        self._manager = manager
        self._uploads = uploads
        self._settings = settings
        self._row_of = row_of

    async def begin_upload(self, manifest: Manifest, *, user: str) -> UploadReport:
        return await self._store.begin(manifest, user=user)

    async def receive_upload(self, upload_id: str, pieces: AsyncIterator[bytes], *, user: str) -> UploadReport:
        return await self._store.receive(upload_id, pieces, user=user)

    def with_shared(self, job: JobSpec) -> JobSpec:
        """Each group with the declared shared paths that it needs: those that it names, and that of its directory.

        Raises InvalidInput for one that is not declared.
        """
        groups = tuple(
            replace(group, shared=self._shared(group, f"groups[{number}]")) for number, group in enumerate(job.groups)
        )
        return replace(job, groups=groups) if groups != job.groups else job

    def _shared(self, group: TaskGroupSpec, where: str) -> tuple[str, ...]:
        declared = [shared.path for shared in self._settings.shared_paths]
        needed = []
        for number, named in enumerate(group.shared):
            path = check_path(named, f"{where}.shared[{number}]")
            around = _around(path, declared)
            if around is None:
                known = f"declared are {', '.join(declared)}" if declared else "none is declared"
                raise InvalidInput(
                    f"{path} is in no shared path; {known}",
                    field=f"{where}.shared[{number}]",
                    next_step="the operator declares them in files.shared_paths",
                )
            needed.append(around)
        if group.workdir is not None and (around := _around(group.workdir, declared)) is not None:
            needed.append(around)
        return tuple(dict.fromkeys(needed))

    async def check(self, job: JobSpec, *, user: str) -> None:
        """That what it names was uploaded. Raises InvalidInput."""
        if job.upload is not None:
            try:
                await self._store.check(job.upload, user=user)
            except ClusterError as error:
                raise InvalidInput(error.message, field="upload") from None

    async def fetch(self, application_id: str, task_index: int, path: str, *, attempt: int | None = None) -> ByteStream:
        path_parts(path)
        row = await self._container(ApplicationId.parse(application_id), task_index, attempt)
        return await self._manager.engine.read_files(row.node_id, row.container_id, path)

    async def _container(self, app_id: ApplicationId, task_index: int, attempt: int | None) -> ContainerRow:
        app = self._manager.applications.get(app_id)
        application = app.row if app is not None else await self._row_of(app_id)
        if app is not None and 0 <= task_index < app.master.task_count:
            task = app.master.task(task_index)
            container = app.containers.get(task.container_id) if task.container_id else None
            if container is not None and attempt in (None, task.attempt):
                return container.row
        found = await self._manager.store.task_attempts(application.seq, task_index)
        wanted = [one for one in found if attempt is None or one.task_attempt == attempt]
        if not wanted:
            what = f"task {task_index}" + (f", attempt {attempt}" if attempt is not None else "")
            raise NotFound(f"no {what} of {app_id} has begun", next_step="`hrm history APP` lists the attempts")
        return max(wanted, key=lambda one: one.task_attempt or 0)

    @property
    def _store(self) -> Uploads:
        if self._uploads is None:
            raise ClusterError("this server keeps no uploads")
        return self._uploads


def _around(path: str, declared: Sequence[str]) -> str | None:
    """The innermost declared path that it is in."""
    return max((one for one in declared if within(path, one)), key=len, default=None)
