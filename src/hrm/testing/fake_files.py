"""`FakeFiles`: what jobs bring along and leave, for tests of front doors and clients.

Uploads are kept as a server keeps them.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from hrm.files.archive import Reader
from hrm.files.manifest import Manifest
from hrm.files.reading import PieceStream
from hrm.model.errors import NotFound
from hrm.model.files import FileSettings
from hrm.model.reports import UploadReport
from hrm.rm.uploads import Uploads


class FakeFiles:
    """The test says what tasks ``left``, by application and task: contents by path."""

    def __init__(self, settings: FileSettings | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="hrm-fake-files-")
        self.uploads = Uploads(Path(self._folder.name), settings or FileSettings())
        self.left: dict[tuple[str, int], Mapping[str, bytes]] = {}

    async def begin_upload(self, manifest: Manifest, *, user: str) -> UploadReport:
        return await self.uploads.begin(manifest, user=user)

    async def receive_upload(self, upload_id: str, pieces: AsyncIterator[bytes], *, user: str) -> UploadReport:
        return await self.uploads.receive(upload_id, pieces, user=user)

    async def fetch(
        self, application_id: str, task_index: int, path: str, *, attempt: int | None = None
    ) -> PieceStream:
        if (application_id, task_index) not in self.left:
            raise NotFound(f"no task {task_index} of {application_id} has begun")
        return read_made(self.left[application_id, task_index], path)


def read_made(files: Mapping[str, bytes], path: str) -> PieceStream:
    """Reads ``path`` below a directory of these ``files``, which goes when the stream is closed."""
    folder = tempfile.TemporaryDirectory(prefix="hrm-fake-files-")
    for name, data in files.items():
        place = Path(folder.name, name)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    try:
        reader = Reader(Path(folder.name), path)
    except BaseException:
        folder.cleanup()
        raise

    def close() -> None:
        reader.close()
        folder.cleanup()

    return PieceStream(reader.pieces, close)
