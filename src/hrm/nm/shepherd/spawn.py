"""Start one program: the only place where a container's process is made.

`os.posix_spawn` shares the parent's memory until the program runs (as vfork does): on a small machine it starts twice
as many programs a second as a fork of even a small Python, and it tells the parent at once why a program cannot run.
What it cannot do the parent does around it, which is safe because the shepherd has one thread: it stands in the
container's working directory, under the limits the container is to have, while it spawns.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Mapping
from typing import Any

#: Python ignores these; a program that is told nothing expects the default.
_RESTORED_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ)
DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"


class SpawnError(Exception):
    """The program did not start. ``code`` is what a shell would give: 127 not found, 126 found but not to be run."""

    def __init__(self, message: str, *, code: int, program: bool) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        #: True iff the program is at fault, False iff its surroundings are (no such working directory …).
        self.program = program


class Spawner:
    """Starts programs in sessions of their own."""

    def __init__(self) -> None:
        self._home = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._files = resource.getrlimit(resource.RLIMIT_NOFILE)
        # Each container costs the shepherd a few descriptors. Containers get the limit that it was started with.
        self._many_files = (self._files[1], self._files[1])
        resource.setrlimit(resource.RLIMIT_NOFILE, self._many_files)
        self._null_fd = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        #: Low numbers kept free (they lead nowhere): no number above the containers' own limit can be passed on.
        self._low_fds = [os.dup(self._null_fd) for _ in range(3)]

    def spawn(
        self,
        argv: list[str],
        env: Mapping[str, str],
        workdir: str,
        *,
        fds: list[int] | None,
        terminal: str | None = None,
    ) -> int:
        """The pid of ``argv`` running in ``workdir``. Raises SpawnError.

        Its standard streams are ``fds``, or all three the terminal named, which becomes its controlling terminal:
        the first terminal that the leader of a session opens.
        """
        try:
            os.chdir(workdir)
        except (OSError, ValueError) as error:
            raise SpawnError(f"working directory {workdir!r}: {_why(error)}", code=126, program=False) from None
        lowered = fds is not None and max(fds) >= self._files[0]
        try:
            actions: list[Any]
            if fds is None:
                actions = [(os.POSIX_SPAWN_OPEN, 0, terminal, os.O_RDWR, 0)]
                actions += [(os.POSIX_SPAWN_DUP2, 0, 1), (os.POSIX_SPAWN_DUP2, 0, 2)]
            else:
                if lowered:
                    fds = [os.dup2(fd, low, inheritable=False) for fd, low in zip(fds, self._low_fds, strict=True)]
                actions = [(os.POSIX_SPAWN_DUP2, fd, to) for to, fd in enumerate(fds)]
            if self._files != self._many_files:
                resource.setrlimit(resource.RLIMIT_NOFILE, self._files)
            return _spawn_by_path(argv, env, actions)
        finally:
            if self._files != self._many_files:
                resource.setrlimit(resource.RLIMIT_NOFILE, self._many_files)
            os.fchdir(self._home)
            if lowered:
                for low in self._low_fds:
                    os.dup2(self._null_fd, low, inheritable=False)


def _spawn_by_path(argv: list[str], env: Mapping[str, str], actions: list[Any]) -> int:
    """Find the program as a shell would, by the PATH of the container itself."""
    name = argv[0]
    if "/" in name:
        candidates = [name]
    else:
        candidates = [f"{folder or '.'}/{name}" for folder in env.get("PATH", DEFAULT_PATH).split(":")]
    refused: OSError | None = None
    for path in candidates:
        # Cheaper than to spawn and see: most entries of PATH do not have it.
        if not os.path.exists(path):
            continue
        try:
            return os.posix_spawn(
                path, argv, env, file_actions=actions, setsid=True, setsigmask=(), setsigdef=_RESTORED_SIGNALS
            )
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE):
                raise SpawnError(f"cannot start a process: {_why(error)}", code=126, program=False) from None
            refused = error
        except ValueError as error:
            raise SpawnError(str(error), code=126, program=False) from None
    if refused is None:
        raise SpawnError(f"command not found: {name}", code=127, program=True)
    if refused.errno == errno.ENOENT:
        raise SpawnError(f"interpreter not found: {name} names one in its first line", code=126, program=True)
    if refused.errno == errno.ENOEXEC:
        raise SpawnError(
            f"not executable: {name}: neither a program for this machine nor a script with a #! line",
            code=126,
            program=True,
        )
    raise SpawnError(f"not executable: {name}: {_why(refused)}", code=126, program=True)


def _why(error: OSError | ValueError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
