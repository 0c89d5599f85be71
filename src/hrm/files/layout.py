"""Lays an upload out in a directory: real files, one's own, which a job may change."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from hrm.files.blobs import BlobStore
from hrm.files.manifest import Kind, Manifest
from hrm.model.errors import ClusterError

_FILE = 0o666
_PROGRAM = 0o777


def lay_out(
    manifest: Manifest,
    store: BlobStore,
    folder: Path,
    *,
    owner: tuple[int, int] | None,
    umask: int,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Make ``folder``, which is not there yet, with all that is in ``manifest``; all of it belongs to ``owner``.

    Its parent must be a directory that nobody else may write to: until it is whole, and moved, no link can be put in
    its way. Raises NotFound where a content is missing, ClusterError where ``stop`` says so, and OSError.
    """
    folder.mkdir(mode=0o700)
    for entry in manifest.entries:
        if stop():
            raise ClusterError("it is not wanted any more")
        path = folder / entry.path
        match entry.kind:
            case Kind.DIRECTORY:
                path.mkdir(mode=0o700)
                os.chmod(path, _PROGRAM & ~umask)
            case Kind.LINK:
                os.symlink(entry.target, path)
            case Kind.FILE:
                with store.open(entry.digest) as source, path.open("xb") as file:
                    os.fchmod(file.fileno(), (_PROGRAM if entry.executable else _FILE) & ~umask)
                    shutil.copyfileobj(source, file, 1 << 20)
                    if file.tell() != entry.size_bytes:
                        raise ClusterError(f"content {entry.digest[:12]} is damaged here")
        if owner is not None:
            os.chown(path, *owner, follow_symlinks=False)
    if owner is not None:
        os.chown(folder, *owner, follow_symlinks=False)
