"""A child that does something before it becomes the container's program: takes on another user, or is born elsewhere.

What `os.posix_spawn` cannot do. It costs a fork of the shepherd, so that it is used for those containers only that need
it. From the fork to the exec the child does nothing but system calls, and says through a pipe what went wrong.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import select
import signal
import struct
from collections.abc import Callable
from typing import Any, NoReturn

_SYS_CLONE3 = 435
_CLONE_INTO_CGROUP = 1 << 33
#: A file system that does not answer must not hold up the other containers for longer.
_EXEC_TIMEOUT_S = 10.0
#: Characters of a message: what is written to a pipe at once must be short to stay in one piece.
_MAX_SAID = 500
#: Handled by the shepherd, or ignored by Python.
_RESTORED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ)


class ChildError(Exception):
    """What the child said, or what kept it from being made."""

    def __init__(self, message: str, *, code: int, program: bool) -> None:
        super().__init__(message)
        self.message, self.code, self.program = message, code, program


class Children:
    """Makes them."""

    def __init__(self) -> None:
        #: Its functions keep Python's lock, so that the child of a system call has it too.
        self._libc = ctypes.PyDLL(None, use_errno=True)
        self._can_be_born = True

    def spawn(self, become: Callable[[bool], NoReturn], birth_fd: int = -1) -> int:
        """The pid of a child that has called ``become`` and runs the program. Raises ChildError and OSError.

        With ``birth_fd`` it is born in that cgroup of version 2; ``become`` is told whether it was. It never returns,
        and raises ChildError to say why.
        """
        pid, told_fd = self.begin(become, birth_fd)
        try:
            return self._started(pid, told_fd)
        finally:
            os.close(told_fd)

    def begin(self, become: Callable[[bool], NoReturn], birth_fd: int = -1) -> tuple[int, int]:
        """As `spawn`, without waiting: also a descriptor that ends when the program runs.

        Before that it says, as JSON, what would be raised as ChildError; the child has then ended. Raises OSError.
        """
        told_fd, tell_fd = os.pipe2(os.O_CLOEXEC)
        # Until it has its own handlers, a signal to the child would be written to the shepherd's wake-up pipe.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            born, pid = self._fork(birth_fd)
            if pid == 0:
                _run(become, born, tell_fd)
        except OSError:
            os.close(told_fd)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(tell_fd)
        return pid, told_fd

    def _fork(self, birth_fd: int) -> tuple[bool, int]:
        if birth_fd >= 0 and self._can_be_born:
            # struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
            # set_tid_size, cgroup
            fields = struct.pack("=11Q", _CLONE_INTO_CGROUP, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, birth_fd)
            pid = self._libc.syscall(_SYS_CLONE3, ctypes.c_char_p(fields), len(fields))
            if pid >= 0:
                return True, pid
            code = ctypes.get_errno()
            if code not in (errno.ENOSYS, errno.E2BIG, errno.EINVAL, errno.EPERM):
                raise OSError(code, os.strerror(code))
            # Before Linux 5.7, or behind a filter of system calls: it moves there by itself.
            self._can_be_born = False
        return False, os.fork()

    def _started(self, pid: int, told_fd: int) -> int:
        ready, _, _ = select.select([told_fd], [], [], _EXEC_TIMEOUT_S)
        if not ready:
            os.kill(pid, signal.SIGKILL)
            raise ChildError(
                f"it was not started within {_EXEC_TIMEOUT_S:g} s: does its file system answer?",
                code=126,
                program=False,
            )
        if said := os.read(told_fd, 1 << 16):
            os.waitpid(pid, 0)
            raise ChildError(**json.loads(said))
        return pid


def limit_files(limits: tuple[int, int]) -> None:
    """Set the limit on open files of the calling process."""
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def take_on(account: dict[str, Any]) -> None:
    """Become another user, with all its groups, for good. Raises OSError."""
    os.setgroups(account["groups"])
    os.setresgid(account["gid"], account["gid"], account["gid"])
    os.setresuid(account["uid"], account["uid"], account["uid"])


def _run(become: Callable[[bool], NoReturn], born: bool, tell_fd: int) -> NoReturn:
    """In the child: never returns."""
    try:
        for signum in _RESTORED:
            signal.signal(signum, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        become(born)
    except ChildError as error:
        said = {"message": error.message[:_MAX_SAID], "code": error.code, "program": error.program}
    except BaseException as error:  # noqa: BLE001
        # Whatever it is, this must not go on as a second shepherd.
        said = {"message": f"cannot start it: {error}"[:_MAX_SAID], "code": 126, "program": False}
    try:
        os.write(tell_fd, json.dumps(said).encode())
    finally:
        os._exit(126)
