"""The files of a cgroup hierarchy: one seam, so that tests can stand in for the kernel."""

from __future__ import annotations

import glob
import os

from hrm.nm.cgroups import device_filter

#: Longest of the files that are read here; lists of processes are read to their end.
_READ_BYTES = 1 << 16


class Files:
    """The kernel's own. All methods raise OSError."""

    def read(self, path: str) -> str:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = piece = os.read(fd, _READ_BYTES)
            while len(piece) == _READ_BYTES:
                piece = os.read(fd, _READ_BYTES)
                data += piece
        finally:
            os.close(fd)
        return data.decode("ascii", "replace")

    def write(self, path: str, text: str) -> None:
        # Never O_CREAT: where the kernel has no such file, that must be seen.
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode("ascii"))
        finally:
            os.close(fd)

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def make(self, path: str) -> None:
        """A new cgroup; no error if it is there."""
        try:
            os.mkdir(path, 0o755)
        except FileExistsError:
            pass

    def remove(self, path: str) -> None:
        """Raises OSError (EBUSY) while somebody is in it; no error if it is gone."""
        try:
            os.rmdir(path)
        except FileNotFoundError:
            pass

    def has_children(self, path: str) -> bool:
        """Quicker than to list them: every directory counts as a link to the one that it is in. False if it is gone."""
        try:
            return os.stat(path).st_nlink > 2
        except FileNotFoundError:
            return False

    def children(self, path: str) -> list[str]:
        """Names of the cgroups right below."""
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))

    def weighs_io(self) -> bool:
        """True iff a disk is in use whose scheduler knows weights. The files are there without one, and do nothing."""
        for path in glob.glob("/sys/block/*/queue/scheduler"):
            try:
                if "[bfq]" in self.read(path):
                    return True
            except OSError:
                # It was unplugged while we looked.
                continue
        return False

    # The one thing about cgroups that is no file

    def load_filter(self, instructions: bytes) -> int:
        """See `device_filter`."""
        return device_filter.load(instructions)

    def attach_filter(self, cgroup_fd: int, program_fd: int) -> None:
        device_filter.attach(cgroup_fd, program_fd)

    def detach_filter(self, cgroup_fd: int, program_fd: int) -> None:
        device_filter.detach(cgroup_fd, program_fd)

    def counters(self, path: str) -> dict[str, int]:
        """A file of lines ``name number``."""
        fields = self.read(path).split()
        return {name: int(number) for name, number in zip(fields[::2], fields[1::2], strict=False)}
