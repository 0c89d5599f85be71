"""What users uploaded for their jobs, kept at the server by its content.

Each user has a store of their own. Somebody who knows the hash of another's file could else have it put into a job of
theirs, or find out that it is here.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

from hrm.files.blobs import BlobStore
from hrm.files.manifest import Manifest, is_digest
from hrm.files.pack import pack
from hrm.files.reading import PieceStream
from hrm.model.errors import ClusterError, InvalidInput, NotFound, TooLarge
from hrm.model.files import FileSettings
from hrm.model.reports import UploadReport
from hrm.model.units import format_bytes

#: Begun and not whole; who is pushed out begins anew.
_MAX_PENDING = 256
#: Between an upload and the submission that names it.
_GRACE_S = 60.0
#: (user, upload id) of what applications that are not over need.
InUse = Callable[[], Collection[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class Cleared:
    """What was cleared away, or would be."""

    uploads: int = 0
    size_bytes: int = 0


class Uploads:
    """See the module (also `hrm.model.streams.ContentSource`)."""

    def __init__(self, folder: Path, settings: FileSettings, in_use: InUse = lambda: ()) -> None:
        self._folder = folder
        self._settings = settings
        self.in_use = in_use
        self._stores: dict[str, BlobStore] = {}
        self._pending: OrderedDict[tuple[str, str], Manifest] = OrderedDict()

    async def begin(self, manifest: Manifest, *, user: str) -> UploadReport:
        """What of it is to be sent. Raises TooLarge where it is over the limit or the user's quota."""
        limit = self._settings.max_upload_bytes
        if manifest.size_bytes > limit:
            raise TooLarge(
                f"the upload has {format_bytes(manifest.size_bytes)}, and files.max_upload is {format_bytes(limit)}",
                next_step="leave out by a .hrmignore what the job does not need, put data under a shared path, "
                "or have the operator raise it",
            )
        try:
            needed = {upload_id for owner, upload_id in self.in_use() if owner == user}
            missing = await asyncio.to_thread(self._begin, manifest, user, needed)
        except OSError as error:
            raise _trouble(error) from None
        if missing:
            self._pending[user, manifest.upload_id] = manifest
            while len(self._pending) > _MAX_PENDING:
                self._pending.popitem(last=False)
        return _report(manifest, missing)

    def _begin(self, manifest: Manifest, user: str, needed: Collection[str]) -> Collection[str]:
        store = self._of(user)
        missing = store.keep(manifest)
        quota, wanted = self._settings.upload_quota_bytes, sum(missing.values())
        if missing and store.size_bytes() + wanted > quota:
            store.prune(keep=needed, age_s=None, most_bytes=max(0, quota - wanted), grace_s=_GRACE_S)
            if (held := store.size_bytes()) + wanted > quota:
                raise TooLarge(
                    f"{user}'s uploads hold {format_bytes(held)}, this one adds {format_bytes(wanted)}, and "
                    f"files.upload_quota is {format_bytes(quota)}",
                    next_step="what applications of theirs need stays until these are over; the operator may raise it",
                )
        return missing

    async def receive(self, upload_id: str, pieces: AsyncIterator[bytes], *, user: str) -> UploadReport:
        """Take what is missing of it, as a pack. What came whole stays, should the rest not come.

        Raises NotFound for an upload that was not begun, and InvalidInput for what is not what it should be.
        """
        manifest = self._pending.get((user, upload_id))
        if manifest is None:
            raise NotFound(f"no upload {upload_id!r:.80} was begun", next_step="send its manifest first")
        store = self._of(user)
        try:
            receiver = store.receiver(await asyncio.to_thread(store.missing, manifest))
            try:
                async for piece in pieces:
                    await asyncio.to_thread(receiver.feed, piece)
                receiver.finish()
            finally:
                receiver.close()
            missing = await asyncio.to_thread(store.keep, manifest)
        except OSError as error:
            raise _trouble(error) from None
        if not missing:
            self._pending.pop((user, upload_id), None)
        return _report(manifest, missing)

    async def check(self, upload_id: str, *, user: str) -> None:
        """A job is to use it. Raises InvalidInput where it is not here, or not whole."""
        if not is_digest(upload_id) or not await asyncio.to_thread(self._of(user).use, upload_id):
            raise InvalidInput(
                f"{user} has no upload {upload_id!r:.80} here",
                field="upload",
                next_step="upload the directory first: `hrm submit --upload DIR` does",
            )

    async def contents(self, user: str, digests: Sequence[str]) -> PieceStream:
        store = self._of(user)

        def look_up() -> list[tuple[str, int]]:
            sizes = []
            for digest in digests:
                with store.open(digest) as file:
                    sizes.append((digest, file.seek(0, 2)))
            return sizes

        sizes = await asyncio.to_thread(look_up)
        return PieceStream(pack((digest, size, partial(store.open, digest)) for digest, size in sizes))

    async def clean(self, *, age_s: float | None, most_bytes: int | None, dry_run: bool) -> Cleared:
        """Clear away what no application needs and nobody used for so long, then the longest unused of the rest."""
        try:
            return await asyncio.to_thread(self._clean, age_s, most_bytes, dry_run, set(self.in_use()))
        except OSError as error:
            raise _trouble(error) from None

    def _clean(
        self, age_s: float | None, most_bytes: int | None, dry_run: bool, in_use: set[tuple[str, str]]
    ) -> Cleared:
        uploads = size_bytes = 0
        folders = list(self._folder.iterdir()) if self._folder.is_dir() else []
        stores = {path.name: self._stores.setdefault(path.name, BlobStore(path)) for path in folders}
        over = 0 if most_bytes is None else max(0, sum(store.size_bytes() for store in stores.values()) - most_bytes)
        for name, store in stores.items():
            keep = {upload_id for user, upload_id in in_use if _folder_name(user) == name}
            limit = None if most_bytes is None else max(0, store.size_bytes() - over)
            gone, freed = store.prune(keep=keep, age_s=age_s, most_bytes=limit, dry_run=dry_run)
            uploads, size_bytes, over = uploads + gone, size_bytes + freed, max(0, over - freed)
        return Cleared(uploads, size_bytes)

    def _of(self, user: str) -> BlobStore:
        name = _folder_name(user)
        return self._stores.setdefault(name, BlobStore(self._folder / name))


def _folder_name(user: str) -> str:
    return f"of-{quote(user, safe='')}"


def _report(manifest: Manifest, missing: Collection[str]) -> UploadReport:
    return UploadReport(
        upload_id=manifest.upload_id,
        files=manifest.files,
        size_bytes=manifest.size_bytes,
        missing=sorted(missing),
    )


def _trouble(error: OSError) -> ClusterError:
    return ClusterError(
        f"the server cannot keep the upload: {error.strerror or error}",
        next_step="ask its operator to look at the disk of its $HRM_HOME",
    )
