"""Start one program: the only place where a container's process is made.

`os.posix_spawn` shares the parent's memory until the program runs (as vfork does): it costs the shepherd a quarter of
what a fork of even a small Python costs, and it tells the parent at once why a program cannot run. What it cannot do
the parent does around it, which is safe because the shepherd has one thread: it stands in the container's working
directory and in its cgroups, under the limits the container is to have, while it spawns. What the parent must not do,
because it could not be undone safely (taking on another user), a forked child does (`hrm.nm.shepherd.child`).
"""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, NoReturn

from hrm.nm.shepherd.child import ChildError, Children, limit_files, take_on

if TYPE_CHECKING:
    from hrm.nm.cgroups.pool import Pool, Slot

#: Python ignores these; a program that is told nothing expects the default.
_RESTORED_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ)
DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
DEFAULT_UMASK = 0o022


class SpawnError(Exception):
    """The program did not start. ``code`` is what a shell would give: 127 not found, 126 found but not to be run."""

    def __init__(self, message: str, *, code: int, program: bool) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        #: True iff the program is at fault, False iff its surroundings are (no such working directory …).
        self.program = program


class Program:
    """What is to run, and as whom."""

    __slots__ = ("account", "argv", "cpus", "env", "fds", "terminal", "umask", "workdir")

    def __init__(
        self,
        argv: list[str],
        env: Mapping[str, str],
        workdir: str,
        *,
        fds: list[int] | None,
        terminal: str | None = None,
        umask: int = DEFAULT_UMASK,
        account: dict[str, Any] | None = None,
        cpus: tuple[int, ...] = (),
    ) -> None:
        """Its standard streams are ``fds``, or all three the terminal named, which becomes its controlling terminal:
        the first terminal that the leader of a session opens. ``account`` is None iff it runs as the shepherd does,
        ``cpus`` empty iff on any CPU.
        """
        self.argv = argv
        self.env = env
        self.workdir = workdir
        self.fds = fds
        self.terminal = terminal
        self.umask = umask
        self.account = account
        self.cpus = cpus

    @property
    def candidates(self) -> list[str]:
        """Where a shell would look for it, by the PATH of the container itself."""
        name = self.argv[0]
        if "/" in name:
            return [name]
        return [f"{folder or '.'}/{name}" for folder in self.env.get("PATH", DEFAULT_PATH).split(":")]


class Spawner:
    """Starts programs in sessions of their own."""

    def __init__(self) -> None:
        self._home = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._cpus = os.sched_getaffinity(0)
        self._files = resource.getrlimit(resource.RLIMIT_NOFILE)
        # Each container costs the shepherd a few descriptors. Containers get the limit that it was started with.
        self._many_files = (self._files[1], self._files[1])
        limit_files(self._many_files)
        self._null_fd = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        #: Low numbers kept free (they lead nowhere): no number above the containers' own limit can be passed on.
        self._low_fds = [os.dup(self._null_fd) for _ in range(3)]
        self._children = Children()

    def spawn(self, program: Program, pool: Pool | None = None, slot: Slot | None = None) -> int:
        """The pid of a program that runs, in the ``slot`` of a ``pool`` if there is one.

        Raises SpawnError.
        """
        if program.account is not None or (pool and slot and pool.born):
            return self._fork(program, pool, slot)
        try:
            os.chdir(program.workdir)
        except (OSError, ValueError) as error:
            raise SpawnError(_cannot_enter(program, error), code=126, program=False) from None
        fds = program.fds
        lowered = fds is not None and max(fds) >= self._files[0]
        umask = os.umask(program.umask)
        try:
            actions: list[Any]
            if fds is None:
                actions = [(os.POSIX_SPAWN_OPEN, 0, program.terminal, os.O_RDWR, 0)]
                actions += [(os.POSIX_SPAWN_DUP2, 0, 1), (os.POSIX_SPAWN_DUP2, 0, 2)]
            else:
                if lowered:
                    fds = [os.dup2(fd, low, inheritable=False) for fd, low in zip(fds, self._low_fds, strict=True)]
                actions = [(os.POSIX_SPAWN_DUP2, fd, to) for to, fd in enumerate(fds)]
            if self._files != self._many_files:
                limit_files(self._files)
            try:
                with pool.standing_in(slot) if pool and slot else nullcontext():
                    _run_on(program.cpus)
                    return _spawn_by_path(program, actions)
            except OSError as error:
                raise cannot_hold(error) from None
        finally:
            if self._files != self._many_files:
                limit_files(self._many_files)
            os.umask(umask)
            os.fchdir(self._home)
            # Who leaves a cpuset may run on all CPUs of the next, whatever was said before. Should the machine refuse:
            # the program runs, and the shepherd itself may run anywhere.
            with suppress(OSError):
                _run_on(self._cpus)
            if lowered:
                for low in self._low_fds:
                    os.dup2(self._null_fd, low, inheritable=False)

    def begin(self, program: Program, pool: Pool | None = None, slot: Slot | None = None) -> tuple[int, int]:
        """Have a child enter the ``slot`` and become the program, without waiting for it (`Children.begin`).

        Raises SpawnError.
        """
        become, birth_fd = self._child(program, pool, slot)
        try:
            return self._children.begin(become, birth_fd)
        except OSError as error:
            raise SpawnError(f"cannot start a process: {_why(error)}", code=126, program=False) from None

    def _child(self, program: Program, pool: Pool | None, slot: Slot | None) -> tuple[Callable[[bool], NoReturn], int]:
        """What a child has to do, and the cgroup that it is born in (-1: none)."""
        birth_fd = pool.birth_fd(slot) if pool and slot and pool.born else -1

        def become(born: bool) -> NoReturn:
            if pool and slot:
                try:
                    pool.enter(slot, born=born)
                except OSError as error:
                    raise ChildError(cannot_hold(error).message, code=126, program=False) from None
            _run_on(program.cpus)
            _become(program, self._files)

        return become, birth_fd

    def _fork(self, program: Program, pool: Pool | None, slot: Slot | None) -> int:
        become, birth_fd = self._child(program, pool, slot)
        try:
            return self._children.spawn(become, birth_fd)
        except ChildError as error:
            raise SpawnError(error.message, code=error.code, program=error.program) from None
        except OSError as error:
            raise SpawnError(f"cannot start a process: {_why(error)}", code=126, program=False) from None


def _become(program: Program, files: tuple[int, int]) -> NoReturn:
    """In a forked child: everything up to the program itself. Raises ChildError."""
    os.setsid()
    fds = program.fds
    if fds is None:
        assert program.terminal is not None
        fds = [os.open(program.terminal, os.O_RDWR | os.O_CLOEXEC)] * 3
    for to, fd in enumerate(fds):
        os.dup2(fd, to)
    limit_files(files)
    if program.account is not None:
        try:
            take_on(program.account)
        except OSError as error:
            raise ChildError(
                f"cannot become {program.account['name']}: {_why(error)}", code=126, program=False
            ) from None
    os.umask(program.umask)
    try:
        os.chdir(program.workdir)
    except (OSError, ValueError) as error:
        raise ChildError(_cannot_enter(program, error), code=126, program=False) from None
    refused: OSError | None = None
    for path in program.candidates:
        try:
            os.execve(path, program.argv, program.env)
        except OSError as error:
            # What is there and does not run is told; what is not there, or nobody of ours may look for, is not.
            if os.path.exists(path):
                refused = error
        except ValueError as error:
            raise ChildError(str(error), code=126, program=False) from None
    failure = _failure(program.argv[0], refused)
    raise ChildError(failure.message, code=failure.code, program=failure.program)


def _run_on(cpus: Collection[int]) -> None:
    """Keep the calling thread, and what it starts, to these CPUs; to those that it is on if there are none.

    Only where it is not so already: by the cpuset that it is in. Linux before 6.3 does not heed that of a cgroup that a
    process is born in, and later ones would remember what is said here for longer than the cpuset holds.
    """
    if cpus and os.sched_getaffinity(0) != set(cpus):
        os.sched_setaffinity(0, cpus)


def _spawn_by_path(program: Program, actions: list[Any]) -> int:
    refused: OSError | None = None
    for path in program.candidates:
        # Cheaper than to spawn and see: most entries of PATH do not have it.
        if not os.path.exists(path):
            continue
        try:
            return os.posix_spawn(
                path,
                program.argv,
                program.env,
                file_actions=actions,
                setsid=True,
                setsigmask=(),
                setsigdef=_RESTORED_SIGNALS,
            )
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE):
                raise SpawnError(f"cannot start a process: {_why(error)}", code=126, program=False) from None
            refused = error
        except ValueError as error:
            raise SpawnError(str(error), code=126, program=False) from None
    raise _failure(program.argv[0], refused)


def _failure(name: str, refused: OSError | None) -> SpawnError:
    """What a shell would say of a program that was ``refused``, or not found if that is None."""
    if refused is None:
        return SpawnError(f"command not found: {name}", code=127, program=True)
    if refused.errno == errno.ENOENT:
        return SpawnError(f"interpreter not found: {name} names one in its first line", code=126, program=True)
    if refused.errno == errno.ENOEXEC:
        return SpawnError(
            f"not executable: {name}: neither a program for this machine nor a script with a #! line",
            code=126,
            program=True,
        )
    return SpawnError(f"not executable: {name}: {_why(refused)}", code=126, program=True)


def cannot_hold(error: OSError) -> SpawnError:
    """A container that cannot be held to its limits does not start: it could take what is others'."""
    return SpawnError(f"cannot hold it to its limits: cgroups: {error}", code=126, program=False)


def _cannot_enter(program: Program, error: OSError | ValueError) -> str:
    said = f"working directory {program.workdir!r}: {_why(error)}"
    if program.account is not None and isinstance(error, PermissionError):
        return f"{said}: {program.account['name']} may not enter it, or one of those above it"
    return said


def _why(error: OSError | ValueError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
