"""Deleting what containers left behind, whatever that is.

A directory first goes into the node's trash by one rename: from then on it is gone for all others, also after a crash.
There it is taken apart level by level, one descriptor at a time: a tree may be deeper than any recursion. Links are
unlinked and never followed, and what is mounted stays.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from pathlib import Path

FOLDER = "trash"
#: After so many files the interpreter's lock is given up for a moment: the loop is in the same process.
FILES_AT_A_TIME = 32
_PAUSE_S = 0.001
_BATCH = 1024
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Trash:
    """Of one node. Called in a worker thread; one user at a time."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._serial = 0
        self._touched = 0

    def take(self, folder: str, name: str) -> None:
        """Move the directory ``folder/name`` here. No error if it is not there. Raises OSError."""
        with opened(self._state_dir / folder) as folder_fd, self._opened() as trash_fd:
            self._move(folder_fd, name, trash_fd)

    def empty(self, *, stop: Callable[[], bool]) -> bool:
        """Delete what is here; False if ``stop`` said to leave it before the end.

        What cannot be deleted, such as a place where something is mounted, stays, and is tried again next time.
        """
        with self._opened() as trash_fd:
            device = os.fstat(trash_fd).st_dev
            stuck: set[str] = set()
            while names := [name for name in os.listdir(trash_fd) if name not in stuck]:
                for name in names:
                    if stop():
                        return False
                    if not self._take_apart(trash_fd, name, device, stop):
                        stuck.add(name)
            return True

    def _opened(self) -> AbstractContextManager[int]:
        (self._state_dir / FOLDER).mkdir(mode=0o700, exist_ok=True)
        return opened(self._state_dir / FOLDER)

    def _take_apart(self, trash_fd: int, name: str, device: int, stop: Callable[[], bool]) -> bool:
        """Delete its files, move its directories up to here, and delete it if it is empty then. False if it stays."""
        try:
            fd = _open_directory(trash_fd, name)
        except NotADirectoryError:
            os.unlink(name, dir_fd=trash_fd)
            return True
        except OSError:
            return False
        try:
            if os.fstat(fd).st_dev != device:
                return False
            # Listed anew after each batch: what a listing shows of a directory that changes is anybody's guess.
            while batch := _some_entries(fd):
                gone = 0
                for entry in batch:
                    self._breathe()
                    if stop():
                        # It is gone on with next time.
                        return True
                    try:
                        if entry.is_dir(follow_symlinks=False):
                            self._move(fd, entry.name, trash_fd)
                        else:
                            os.unlink(entry.name, dir_fd=fd)
                    except OSError:
                        continue
                    gone += 1
                if not gone:
                    return False
        finally:
            os.close(fd)
        try:
            os.rmdir(name, dir_fd=trash_fd)
        except OSError:
            return False
        return True

    def _move(self, from_fd: int, name: str, trash_fd: int) -> None:
        try:
            os.rename(name, self._fresh(trash_fd), src_dir_fd=from_fd, dst_dir_fd=trash_fd)
        except PermissionError:
            # Its ".." is written too, and a container may take its owner's rights from a directory.
            _grant_owner(from_fd, name)
            os.rename(name, self._fresh(trash_fd), src_dir_fd=from_fd, dst_dir_fd=trash_fd)
        except FileNotFoundError:
            return

    def _fresh(self, trash_fd: int) -> str:
        while True:
            self._serial += 1
            name = str(self._serial)
            try:
                os.stat(name, dir_fd=trash_fd, follow_symlinks=False)
            except FileNotFoundError:
                return name

    def _breathe(self) -> None:
        self._touched += 1
        if self._touched % FILES_AT_A_TIME == 0:
            time.sleep(_PAUSE_S)


@contextmanager
def opened(directory: Path) -> Iterator[int]:
    """A descriptor of a directory that is no link. Raises OSError."""
    fd = os.open(directory, _DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def tree_bytes(path: Path, stop: Callable[[], bool] = lambda: False) -> int:
    """Bytes on disk of a directory and all below it, links not followed; what cannot be looked at counts nothing.

    Less than that if ``stop`` said to leave it.
    """
    total, looked, unseen = 0, 0, [str(path)]
    while unseen and not stop():
        try:
            with os.scandir(unseen.pop()) as entries:
                for entry in entries:
                    looked += 1
                    if looked % FILES_AT_A_TIME == 0:
                        time.sleep(_PAUSE_S)
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        unseen.append(entry.path)
        except OSError:
            continue
    return total


def _some_entries(fd: int) -> list[os.DirEntry[str]]:
    with os.scandir(fd) as entries:
        return list(islice(entries, _BATCH))


def _open_directory(parent_fd: int, name: str) -> int:
    try:
        return os.open(name, _DIRECTORY, dir_fd=parent_fd)
    except PermissionError:
        _grant_owner(parent_fd, name)
        return os.open(name, _DIRECTORY, dir_fd=parent_fd)


def _grant_owner(parent_fd: int, name: str) -> None:
    """Give a directory's owner all rights. Raises OSError, also if it is no directory."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd)
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            raise NotADirectoryError(name)
        os.chmod(f"/proc/self/fd/{fd}", 0o700)
    finally:
        os.close(fd)
