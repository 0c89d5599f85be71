"""A process of another user, for tests of what users may do to each other. Only root can make one."""

from __future__ import annotations

# Python imports these when they are first needed, where the other user may not be able to read them: for any
# connection over TCP, and for asyncio's worker threads.
import concurrent.futures.thread  # noqa: F401
import encodings.idna  # noqa: F401
import os
import pwd
import signal
import socket
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self


class OtherUser:
    """Forked from this process, with nothing of its rights left; it does what it is told until the block ends.

    What it is told must be known to both sides: a function at the top of a module that is loaded already.
    """

    def __init__(self, user: str) -> None:
        self.account = pwd.getpwnam(user)
        ours, theirs = socket.socketpair()
        self._connection = Connection(ours.detach())
        self._pid = os.fork()
        if self._pid == 0:
            try:
                self._connection.close()
                os.setgroups([])
                os.setgid(self.account.pw_gid)
                os.setuid(self.account.pw_uid)
                os.chdir("/")
                _obey(Connection(theirs.detach()))
            finally:
                os._exit(1)
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    def do(self, work: Callable[..., Any], *arguments: object, timeout_s: float = 60.0) -> Any:
        """What ``work`` gives there; raises what it raises."""
        self._connection.send((work, arguments))
        if not self._connection.poll(timeout_s):
            raise TimeoutError(f"{self.account.pw_name} did not answer within {timeout_s:g} s")
        done, result = self._connection.recv()
        if not done:
            raise result
        return result


def _obey(connection: Connection) -> None:
    while True:
        try:
            work, arguments = connection.recv()
        except EOFError:
            return
        try:
            answer = True, work(*arguments)
        except Exception as error:  # noqa: BLE001
            answer = False, error
        connection.send(answer)
