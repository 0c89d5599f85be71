"""The caller's terminal: its size, and raw mode that always ends."""

from __future__ import annotations

import os
import sys
import termios
import tty
from typing import Any

from hrm.model.jobs import TerminalSize


def stdin_fd() -> int | None:
    """None iff standard input is closed."""
    try:
        return sys.stdin.fileno() if sys.stdin is not None else None
    except (OSError, ValueError):
        return None


def in_background(fd: int) -> bool:
    """True iff reading the terminal ``fd`` would stop this process: another job of the shell has it."""
    try:
        return os.isatty(fd) and os.tcgetpgrp(fd) != os.getpgrp()
    except OSError:
        return False


def terminal_size(fd: int) -> TerminalSize:
    """Its size now; 24×80 where it does not know (some emulators say 0×0)."""
    try:
        columns, rows = os.get_terminal_size(fd)
    except OSError:
        columns, rows = 0, 0
    return TerminalSize(rows=min(rows, 10_000) or 24, columns=min(columns, 10_000) or 80)


class RawMode:
    """Raw mode of the terminal ``fd``: every key goes to the job's own terminal, Ctrl-C too.

    `enter` and `leave` may be called in any order and again, from any thread.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._before: list[Any] | None = None
        self._over = False

    def enter(self) -> None:
        """No effect after `leave`."""
        if self._before is not None or self._over:
            return
        self._before = termios.tcgetattr(self._fd)
        tty.setraw(self._fd, termios.TCSADRAIN)
        if self._over:  # left by another thread meanwhile
            self._restore()

    def leave(self) -> None:
        self._over = True
        self._restore()

    def _restore(self) -> None:
        before, self._before = self._before, None
        if before is not None:
            try:
                termios.tcsetattr(self._fd, termios.TCSADRAIN, before)
            except termios.error:
                pass  # the terminal has gone, and its modes with it
