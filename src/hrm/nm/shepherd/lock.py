"""The right to be the shepherd of a state directory: a lock on a file in it."""

from __future__ import annotations

import fcntl
import os

from hrm.nm.shepherd import records


class StateLock:
    """Held until the process ends, however it ends. To take it is to stand in the directory."""

    def __init__(self, folder: str) -> None:
        """Makes the directory if there is none. Raises BlockingIOError if another holds it, OSError."""
        os.makedirs(folder, 0o700, exist_ok=True)
        os.chdir(folder)
        #: The directory, without links.
        self.folder = os.getcwd()
        self._path = f"{self.folder}/{records.LOCK}"
        self._fd = os.open(records.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = os.fstat(self._fd)
        self._file = (status.st_dev, status.st_ino)

    @property
    def holds(self) -> bool:
        """False once the file was deleted, alone or with its directory: who comes next can lock another."""
        try:
            status = os.stat(self._path, follow_symlinks=False)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._file

    def write_pid(self) -> None:
        """For people, and for who must end it."""
        identity = {"pid": os.getpid(), "boot_id": records.boot_id()}
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, records.encode_line(identity), 0)
