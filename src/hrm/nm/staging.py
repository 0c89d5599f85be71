"""Puts what users uploaded into their containers' directories, before these begin.

Contents are fetched once per node, checked by their hash and kept, up to a size; what was not used for longest goes
first. Each container gets files of its own, laid out where nobody else can write, and moved into place by the shepherd.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from pathlib import Path

import structlog

from hrm.files.blobs import BlobStore
from hrm.files.layout import lay_out
from hrm.files.manifest import Manifest
from hrm.files.pack import Unpacker
from hrm.model.errors import ClusterError, HrmError, InvalidInput
from hrm.model.files import FileSettings
from hrm.model.streams import ByteStream, ContentSource
from hrm.nm.shepherd import records
from hrm.nm.trash import Trash

_log = structlog.get_logger(__name__)
#: Below the node's directory.
CACHE = "uploads"
#: A server that sends nothing for so long sends nothing any more.
SILENCE_S = 60.0
_MAX_MANIFEST_BYTES = 64 << 20
#: Containers laid out at once: more would only fight for one disk.
_AT_ONCE = 4
_TRIES = 3


class Staging:
    """Of one node. ``contents`` None: nobody to ask, and no job with an upload begins here."""

    def __init__(self, state_dir: Path, contents: ContentSource | None, settings: FileSettings) -> None:
        self._state_dir = state_dir
        self._store = BlobStore(state_dir / CACHE)
        self._contents = contents
        self._settings = settings
        #: Uploads that are being fetched, or laid out, by how many.
        self._in_use: dict[str, int] = {}
        self._fetching: dict[str, asyncio.Lock] = {}
        self._room = asyncio.Semaphore(_AT_ONCE)

    def clear(self) -> None:
        """Away with what an earlier NodeManager laid out, and never started. Raises OSError."""
        trash = Trash(self._state_dir)
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self._state_dir / records.STAGED):
                trash.take(records.STAGED, name)

    async def put(
        self, container_id: str, upload_id: str, *, user: str, owner: tuple[int, int] | None, umask: int
    ) -> None:
        """Have it lie ready for the shepherd. Raises HrmError, with what is wrong in words."""
        self._in_use[upload_id] = self._in_use.get(upload_id, 0) + 1
        try:
            async with self._fetching.setdefault(upload_id, asyncio.Lock()):
                manifest = await self._fetched(upload_id, user)
            async with self._room:
                await self._lay_out(container_id, manifest, owner, umask)
        except OSError as error:
            raise ClusterError(f"its upload cannot be put in place: {error.strerror or error}") from None
        finally:
            self._in_use[upload_id] -= 1
            if not self._in_use[upload_id]:
                del self._in_use[upload_id]
                self._fetching.pop(upload_id, None)
                await self._bound()

    def discard(self, container_id: str) -> None:
        """What was laid out for it is not wanted."""
        with contextlib.suppress(OSError):
            Trash(self._state_dir).take(records.STAGED, container_id)

    async def _fetched(self, upload_id: str, user: str) -> Manifest:
        for _ in range(_TRIES):
            manifest = await self._fetch(upload_id, user)
            # What was here already may have been cleared away while the rest came.
            if not (left := await asyncio.to_thread(self._store.keep, manifest)):
                return manifest
        raise ClusterError(f"its upload did not arrive whole: {len(left)} contents are missing")

    async def _fetch(self, upload_id: str, user: str) -> Manifest:
        store = self._store
        if await asyncio.to_thread(store.use, upload_id):
            manifest = await asyncio.to_thread(store.manifest, upload_id)
            missing = await asyncio.to_thread(store.missing, manifest)
        else:
            manifest = await self._fetch_manifest(upload_id, user)
            missing = await asyncio.to_thread(store.missing, manifest)
        if missing:
            _log.info("fetching an upload", upload=upload_id, contents=len(missing), size_bytes=sum(missing.values()))
            receiver = store.receiver(missing)
            stream = await self._ask(user, sorted(missing))
            try:
                while data := await _read(stream):
                    await asyncio.to_thread(receiver.feed, data)
                receiver.finish()
            except InvalidInput as error:
                raise ClusterError(f"its upload did not arrive whole: {error.problem}") from None
            finally:
                receiver.close()
                await stream.close()
        return manifest

    async def _fetch_manifest(self, upload_id: str, user: str) -> Manifest:
        data = bytearray()

        def more(piece: bytes) -> None:
            data.extend(piece)
            if len(data) > _MAX_MANIFEST_BYTES:
                raise InvalidInput("its manifest is too long")

        unpacker = Unpacker(lambda *_: None, more, lambda: None)
        stream = await self._ask(user, [upload_id])
        try:
            while piece := await _read(stream):
                unpacker.feed(piece)
            unpacker.finish()
            manifest = await asyncio.to_thread(Manifest.decode, bytes(data))
        except InvalidInput as error:
            raise ClusterError(f"its upload did not arrive whole: {error.problem}") from None
        finally:
            await stream.close()
        if manifest.upload_id != upload_id:
            raise ClusterError("its upload did not arrive whole: the manifest is another")
        return manifest

    async def _ask(self, user: str, digests: list[str]) -> ByteStream:
        if self._contents is None:
            raise ClusterError("nobody sends uploads to this node")
        return await self._contents.contents(user, digests)

    async def _lay_out(self, container_id: str, manifest: Manifest, owner: tuple[int, int] | None, umask: int) -> None:
        staged = self._state_dir / records.STAGED
        stopped = threading.Event()

        def work() -> None:
            staged.mkdir(mode=0o700, exist_ok=True)
            lay_out(manifest, self._store, staged / container_id, owner=owner, umask=umask, stop=stopped.is_set)

        self.discard(container_id)
        working = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            await asyncio.shield(working)
        except BaseException:
            stopped.set()
            # The thread goes on until it looks; what it made is to be gone after that.
            await asyncio.wait({working})
            self.discard(container_id)
            raise

    async def _bound(self) -> None:
        try:
            await asyncio.to_thread(
                self._store.prune,
                keep=set(self._in_use),
                age_s=None,
                most_bytes=self._settings.node_cache_bytes,
                grace_s=0.0,
            )
        except (OSError, HrmError) as error:
            _log.warning("cannot bound the cache of uploads", error=str(error))


async def _read(stream: ByteStream) -> bytes:
    try:
        async with asyncio.timeout(SILENCE_S):
            return await stream.read()
    except TimeoutError:
        raise ClusterError(f"the server sent nothing of its upload for {SILENCE_S:g} s") from None
