"""Contents and manifests on disk, by their hash: the server's of each user, and each node's cache.

================  ==============================================================================================
``blobs/ab/HASH`` one content
``manifests/ID``  the manifest of an upload that is whole; its time of modification is when it was last used
``new/``          what is being received
================  ==============================================================================================

Nothing is synced to the disk: a content that did not reach it is found by its hash, which whoever receives it works
out. All methods are for worker threads; several may be in one store at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from hrm.files.manifest import Manifest, is_digest
from hrm.files.pack import Unpacker
from hrm.model.errors import InvalidInput, NotFound

#: What was received or used within this time is not cleared away: its upload may be under way.
GRACE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Kept:
    """An upload that is whole."""

    upload_id: str
    used_at: float
    contents: Mapping[str, int]


class BlobStore:
    """One such place; made when something is put into it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        #: Between looking what nobody needs and removing it nothing may begin to need it.
        self._turn = threading.Lock()

    def manifest(self, upload_id: str) -> Manifest:
        """Raises NotFound."""
        try:
            data = self._manifest_path(upload_id).read_bytes() if is_digest(upload_id) else b""
        except FileNotFoundError:
            data = b""
        if not data or hashlib.sha256(data).hexdigest() != upload_id:
            raise NotFound(f"no upload {upload_id!r:.80}", next_step="upload it again")
        return Manifest.decode(data)

    def missing(self, manifest: Manifest) -> dict[str, int]:
        """Contents of it that are not here, with their sizes."""
        with self._turn:
            return self._missing(manifest)

    def keep(self, manifest: Manifest) -> dict[str, int]:
        """The upload is whole iff nothing is missing, which is returned. Raises OSError."""
        with self._turn:
            missing = self._missing(manifest)
            if not missing:
                path = self._manifest_path(manifest.upload_id)
                with self._new_file() as (file, new):
                    file.write(manifest.encode())
                    file.flush()
                    os.replace(new, path)
            return missing

    def use(self, upload_id: str) -> bool:
        """It is used now; False iff it is not here."""
        with self._turn:
            try:
                os.utime(self._manifest_path(upload_id))
            except FileNotFoundError:
                return False
            return True

    def open(self, digest: str) -> BinaryIO:
        """A content, or a manifest by its upload's id. Raises NotFound and OSError."""
        if is_digest(digest):
            for path in (self._blob_path(digest), self._manifest_path(digest)):
                with contextlib.suppress(FileNotFoundError):
                    return path.open("rb")
        raise NotFound(f"content {digest!r:.80} is not here", next_step="upload it again")

    def receiver(self, wanted: Mapping[str, int]) -> Receiver:
        """Takes a pack with ``wanted`` contents (sizes by hash), and nothing else."""
        return Receiver(self, wanted)

    # What is kept

    def kept(self) -> list[Kept]:
        """Uploads that are whole, the longest unused first."""
        found = []
        for path in self._files("manifests"):
            with contextlib.suppress(NotFound, FileNotFoundError, InvalidInput):
                found.append(Kept(path.name, path.stat().st_mtime, self.manifest(path.name).contents))
        return sorted(found, key=lambda kept: kept.used_at)

    def size_bytes(self) -> int:
        """Of all contents."""
        total = 0
        for path in self._blobs():
            with contextlib.suppress(FileNotFoundError):
                total += path.stat().st_size
        return total

    def prune(
        self,
        *,
        keep: Collection[str],
        age_s: float | None,
        most_bytes: int | None,
        dry_run: bool = False,
        grace_s: float = GRACE_S,
    ) -> tuple[int, int]:
        """Clear away uploads that nobody used for ``age_s``, then the longest unused until the rest is ``most_bytes``.

        Never one in ``keep``, nor what was used within ``grace_s``, unless ``age_s`` is less. Returns how many went,
        and the bytes of what went with them.
        """
        with self._turn:
            now = time.time()
            kept = self.kept()
            grace_s = grace_s if age_s is None else min(grace_s, age_s)
            total = self.size_bytes()
            users: dict[str, int] = {}
            for upload in kept:
                for digest in upload.contents:
                    users[digest] = users.get(digest, 0) + 1
            gone = freed = 0
            unneeded: set[str] = set()
            for upload in kept:
                unused_s = now - upload.used_at
                old = age_s is not None and unused_s >= age_s
                crowded = most_bytes is not None and total - freed > most_bytes
                if upload.upload_id in keep or unused_s < grace_s or not (old or crowded):
                    continue
                gone += 1
                for digest, size_bytes in upload.contents.items():
                    users[digest] -= 1
                    if not users[digest]:
                        freed += size_bytes
                        unneeded.add(digest)
                if not dry_run:
                    self._manifest_path(upload.upload_id).unlink(missing_ok=True)
            if not dry_run:
                for digest in unneeded:
                    self._blob_path(digest).unlink(missing_ok=True)
                self._sweep(users, now - min(GRACE_S, GRACE_S if age_s is None else age_s))
            return gone, freed

    def _sweep(self, needed: Collection[str], received_before: float) -> None:
        """What came of uploads that were never whole."""
        for path in self._blobs():
            with contextlib.suppress(FileNotFoundError):
                if path.name not in needed and path.stat().st_mtime <= received_before:
                    path.unlink()
        for path in self._files("new"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime <= time.time() - GRACE_S:
                    path.unlink()

    def _missing(self, manifest: Manifest) -> dict[str, int]:
        missing = {}
        for digest, size_bytes in manifest.contents.items():
            path = self._blob_path(digest)
            try:
                if path.stat().st_size != size_bytes:
                    missing[digest] = size_bytes
                else:
                    # Else it might be old enough to go before its manifest is here.
                    os.utime(path)
            except FileNotFoundError:
                missing[digest] = size_bytes
        return missing

    def _manifest_path(self, upload_id: str) -> Path:
        return self._folder / "manifests" / upload_id

    def _blob_path(self, digest: str) -> Path:
        return self._folder / "blobs" / digest[:2] / digest

    def _blobs(self) -> Iterator[Path]:
        for folder in self._files("blobs"):
            yield from folder.iterdir()

    def _files(self, name: str) -> Iterable[Path]:
        folder = self._folder / name
        return list(folder.iterdir()) if folder.is_dir() else []

    @contextlib.contextmanager
    def _new_file(self) -> Iterator[tuple[BinaryIO, Path]]:
        self._make("manifests")
        self._make("new")
        new = self._folder / "new" / secrets.token_hex(16)
        try:
            with new.open("xb") as file:
                yield file, new
        finally:
            new.unlink(missing_ok=True)

    def _make(self, name: str) -> None:
        for folder in (self._folder.parent, self._folder, self._folder / name):
            folder.mkdir(mode=0o700, exist_ok=True)

    def _put(self, new: Path, digest: str) -> None:
        path = self._blob_path(digest)
        self._make("blobs")
        path.parent.mkdir(mode=0o700, exist_ok=True)
        os.replace(new, path)


class Receiver:
    """Fed with a pack, puts its contents into a store, each when its hash has proved right."""

    def __init__(self, store: BlobStore, wanted: Mapping[str, int]) -> None:
        self._store = store
        self._wanted = dict(wanted)
        self._unpacker = Unpacker(self._begin, self._more, self._end)
        self._stack = contextlib.ExitStack()
        self._digest = ""
        self._hash = hashlib.sha256()
        self._file: BinaryIO | None = None
        self._new = Path()

    def feed(self, data: bytes) -> None:
        """Raises InvalidInput for what was not asked for or is not what it says, and OSError."""
        self._unpacker.feed(data)

    def finish(self) -> None:
        """Nothing follows. Raises InvalidInput if it broke off."""
        self._unpacker.finish()

    def close(self) -> None:
        """Let go of what is not whole."""
        self._stack.close()

    def _begin(self, digest: str, size_bytes: int) -> None:
        if self._wanted.get(digest) != size_bytes:
            raise InvalidInput(f"content {digest[:12]} of {size_bytes} bytes was not asked for")
        self._digest, self._hash = digest, hashlib.sha256()
        self._file, self._new = self._stack.enter_context(self._store._new_file())

    def _more(self, data: bytes) -> None:
        assert self._file is not None
        self._hash.update(data)
        self._file.write(data)

    def _end(self) -> None:
        assert self._file is not None
        self._file.flush()
        if self._hash.hexdigest() != self._digest:
            raise InvalidInput(
                f"content {self._digest[:12]} is not what its hash says",
                next_step="it changed on its way, or while it was read: upload it again",
            )
        self._store._put(self._new, self._digest)
        self._stack.close()
