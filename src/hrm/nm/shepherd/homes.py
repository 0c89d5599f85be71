"""The directories of containers, and the notices put there. Paths are relative to the state directory."""

from __future__ import annotations

import os
from typing import Any

from hrm.nm.shepherd import records
from hrm.nm.shepherd.container import Container


class Homes:
    """Makes each container's own directory. What is above it admits others, and shows them nothing."""

    def __init__(self) -> None:
        self._admits_others = False

    def make(self, container: Container, *, staged: bool = False) -> str:
        """The path of a new directory, for its user alone; ``staged``: with what lies ready for it. Raises OSError."""
        home = f"{records.CONTAINERS}/{container.id}"
        if staged:
            # Whole and the user's already.
            os.rename(f"{records.STAGED}/{container.id}", home)
        else:
            os.mkdir(home, 0o700)
        if container.owner is None:
            return home
        if not self._admits_others:
            os.chmod(".", 0o711)
            os.chmod(records.CONTAINERS, 0o711)
            self._admits_others = True
        # Nobody but us can put anything in its place, so that this follows no link.
        os.chown(home, *container.owner, follow_symlinks=False)
        return os.path.abspath(home)


def put_notice(container_id: str, notice: dict[str, Any]) -> None:
    """Have the file that `HRM_PREEMPTION_FILE` names appear, whole, as the user's own. Raises OSError.

    The directory is the user's, who may put there what they like meanwhile: no link is followed, and what gets the
    user's name is the file that was made here.
    """
    folder = _open(container_id)
    new = f"{records.PREEMPTION}.new"
    try:
        _remove(new, folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(new, flags, 0o600, dir_fd=folder)
        try:
            records.append(fd, notice)
            # After another shepherd nobody but the directory knows whose it is.
            owner = os.fstat(folder)
            os.fchown(fd, owner.st_uid, owner.st_gid)
        finally:
            os.close(fd)
        os.rename(new, records.PREEMPTION, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        os.close(folder)


def take_notice(container_id: str) -> None:
    """The file is gone. Raises OSError."""
    folder = _open(container_id)
    try:
        _remove(records.PREEMPTION, folder)
    finally:
        os.close(folder)


def _open(container_id: str) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(f"{records.CONTAINERS}/{container_id}", flags)


def _remove(name: str, folder: int) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass
