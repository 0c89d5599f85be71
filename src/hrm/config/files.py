"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from hrm.model.errors import ClusterError


def write_whole(path: Path, data: bytes, *, mode: int) -> None:
    """Write a file with these rights. A reader sees the old content or the new, whole, also after a loss of power.

    Raises ClusterError if it cannot be written; then the old content stays.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            temporary.replace(path)
        except BaseException:
            temporary.unlink()
            raise
    except OSError as error:
        raise ClusterError(f"cannot write {path}: {error.strerror}", next_step="check the disk and its space") from None
