"""``hrm`` in a terminal, whose keys the test presses."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.acceptance.conftest import DEADLINE_S, HRM, Hrm


class Terminal:
    """Our end of a terminal in which ``hrm run`` runs. ``before`` is how it was set before that began."""

    def __init__(self, leader: int) -> None:
        self.leader = leader
        self.before = termios.tcgetattr(leader)
        self.seen = b""

    def type(self, keys: str) -> None:
        os.write(self.leader, keys.encode())

    def expect(self, text: str) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while text.encode() not in self.seen:
            assert time.monotonic() < deadline, f"{text!r} is not in {self.seen!r}"
            if select.select([self.leader], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.leader, 4096)
                except OSError:
                    break  # the other side is gone
        assert text.encode() in self.seen
        self.seen = self.seen.partition(text.encode())[2]


@contextmanager
def in_terminal(hrm: Hrm, *arguments: str, rows: int = 24, columns: int = 80) -> Iterator[tuple[int, Terminal]]:
    """``hrm`` with a terminal as its controlling one; its pid and our end."""
    may_begin, begin = os.pipe()
    pid, leader = pty.fork()
    if pid == 0:
        os.close(begin)
        os.read(may_begin, 1)
        os.execve(HRM, ["hrm", *arguments], {**hrm.env, "TERM": "xterm"})
    fcntl.ioctl(leader, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    terminal = Terminal(leader)
    os.close(may_begin)
    os.close(begin)
    ended = False
    try:
        yield pid, terminal
        ended = True
    finally:
        if not ended:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(leader)


def exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
