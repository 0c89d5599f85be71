"""What changes a machine: runs commands, ends processes, writes files, each with what must not happen by it."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from hrm.doctor.mounts import mounts
from hrm.doctor.processes import command_line, process, runs
from hrm.doctor.system import CannotSee, System
from hrm.model.findings import FileContent, Process

#: Steps build kernel modules and restart services.
STEP_TIMEOUT_S = 900.0
#: How long a process has to end after SIGTERM.
GRACE_S = 10.0
_LOOK_S = 0.05
_DELETING = ("rm", "rmdir", "unlink", "shred")
#: Filesystems of the machine's own that are often apart. Beneath any other mount point lies what others keep there.
_OWN_MOUNTS = ("/", "/boot", "/etc", "/run", "/tmp", "/usr", "/var", "/var/lib", "/var/log", "/var/tmp")


class Hands(Protocol):
    """Changes a machine. Apart from `System`, which only looks."""

    def run(self, argv: Sequence[str]) -> tuple[int, str]:
        """Its exit status and all it printed."""

    def end(self, process: Process) -> str:
        """End it; "" where it has ended, else why not. Raises ProcessLookupError where it is no longer there."""

    def write(self, file: FileContent) -> bool:
        """Write a file whole; False where it was so already. Raises OSError."""


class LocalHands:
    """Of this machine, as whoever runs the doctor."""

    def __init__(self, system: System, *, grace_s: float = GRACE_S) -> None:
        self._system = system
        self._grace_s = grace_s

    def run(self, argv: Sequence[str]) -> tuple[int, str]:
        if refusal := self._beneath_a_mount_point(argv):
            return 126, refusal
        output = self._system.run(*argv, timeout_s=STEP_TIMEOUT_S)
        return output.status, output.text if not output.timed_out else f"no end after {STEP_TIMEOUT_S:g} s"

    def end(self, process: Process) -> str:
        if process.pid in _ancestors(self._system):
            return f"pid {process.pid} is the doctor itself, or what it was started by"
        with _held(process.pid) as send:
            found = command_line(self._system, process.pid)
            if not runs(self._system, process.pid):
                raise ProcessLookupError(process.pid)
            if found != process.command_line:
                return f"pid {process.pid} is now {found!r}, no longer {process.command_line!r}"
            for number in (signal.SIGTERM, signal.SIGKILL):
                try:
                    send(number)
                except ProcessLookupError:
                    return ""
                except PermissionError:
                    return f"pid {process.pid} is another user's (needs root)"
                until_s = time.monotonic() + self._grace_s
                while time.monotonic() < until_s:
                    if not runs(self._system, process.pid):
                        return ""
                    time.sleep(_LOOK_S)
        return f"pid {process.pid} does not end (it may wait in the kernel)"

    def write(self, file: FileContent) -> bool:
        # What a link leads to is written, and the link stays.
        path = os.path.realpath(file.path)
        with contextlib.suppress(OSError), open(path, "rb") as present:
            if present.read() == file.content.encode() and os.fstat(present.fileno()).st_mode & 0o7777 == file.mode:
                return False
        os.makedirs(os.path.dirname(path), exist_ok=True)
        beside = f"{path}.hrm-new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, file.mode)
            with open(descriptor, "w") as written:
                written.write(file.content)
                written.flush()
                os.fchmod(descriptor, file.mode)
                os.fsync(descriptor)
            os.replace(beside, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(beside)
            raise
        return True

    def _beneath_a_mount_point(self, argv: Sequence[str]) -> str:
        """Why a command that deletes is not run; "" where it may be: what is mounted there is not this node's alone."""
        if argv[0].rpartition("/")[2] not in _DELETING:
            return ""
        for path in (word for word in argv[1:] if not word.startswith("-")):
            directory, _, name = path.rstrip("/").rpartition("/")
            # By a command: it may lie on a server that does not answer.
            told = self._system.run("realpath", "-m", "--", directory or "/")
            if not told.ok:
                return f"{path}: nobody can say where it lies, so nothing is deleted"
            real = f"{told.stdout.strip().rstrip('/')}/{name}"
            try:
                mounted = mounts(self._system)
            except CannotSee as error:
                return str(error)
            within = [mount for mount in mounted if f"{real}/".startswith(f"{mount.point.rstrip('/')}/")]
            crossed = [mount for mount in mounted if f"{mount.point}/".startswith(f"{real}/")]
            lies_on = max(within, key=lambda mount: len(mount.point), default=None)
            foreign = lies_on is None or lies_on.network or lies_on.point not in _OWN_MOUNTS
            if foreign or crossed:
                point = crossed[0].point if crossed else lies_on.point if lies_on else "?"
                return f"{path}: {point} is a mount point, and nothing is deleted beneath one"
        return ""


def _ancestors(system: System) -> set[int]:
    """This process and all that it descends from."""
    found: set[int] = set()
    pid = os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        one = process(system, pid)
        pid = one.parent_pid if one is not None else 0
    return found


@contextlib.contextmanager
def _held(pid: int) -> Iterator[Callable[[int], None]]:
    """A way to send signals to the process that has this pid now, and to no other that gets it later.

    Kernels before 5.3 cannot hold one: there the pid is used at once after it was looked at. Raises ProcessLookupError.
    """
    try:
        held = os.pidfd_open(pid)
    except (AttributeError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
        os.kill(pid, 0)
        yield lambda number: os.kill(pid, number)
        return
    try:
        yield lambda number: signal.pidfd_send_signal(held, number)
    finally:
        os.close(held)
