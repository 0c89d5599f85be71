"""A terminal for one container: its keyboard is the container's input FIFO, its screen the stdout stream."""

from __future__ import annotations

import fcntl
import os
import struct
import termios

_END_OF_INPUT = b"\x04"
_READ_BYTES = 4096
_MAX_SIZE = 1 << 16


class Terminal:
    """The master side, and what was typed but not yet taken."""

    __slots__ = ("_typed", "ended", "keyboard_fd", "master_fd", "slave_fd", "slave_name")

    def __init__(self, rows: int, columns: int, keyboard_fd: int, *, owner: tuple[int, int] | None = None) -> None:
        """Make the terminal. ``keyboard_fd`` is the end of the FIFO that is read (not blocking). Raises ValueError.

        ``owner`` (user and group) may open it by its name.
        """
        _check_size(rows, columns)
        self.master_fd, self.slave_fd = os.openpty()
        self.slave_name = os.ttyname(self.slave_fd)
        if owner:
            os.fchown(self.slave_fd, *owner)
        os.set_blocking(self.master_fd, False)
        self.keyboard_fd = keyboard_fd
        self._typed = b""
        #: True iff the end of input was typed too.
        self.ended = False
        self.resize(rows, columns)

    def resize(self, rows: int, columns: int) -> None:
        """Set the window's size; the kernel tells the foreground processes (SIGWINCH). Raises ValueError."""
        _check_size(rows, columns)
        fcntl.ioctl(self.master_fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self) -> bool:
        """Pass on what was typed. False iff there is nothing more for now."""
        if not self._typed and not self.ended:
            try:
                self._typed = os.read(self.keyboard_fd, _READ_BYTES)
            except BlockingIOError:
                return False
            if not self._typed:
                # Every writer has closed. Ctrl-D once ends a line that was begun, and at the start of one the input.
                self._typed = _END_OF_INPUT * 2
                self.ended = True
        try:
            self._typed = self._typed[os.write(self.master_fd, self._typed) :]
        except BlockingIOError:
            pass
        except OSError:
            # Nobody holds the terminal any more.
            self._typed = b""
        return bool(self._typed) or not self.ended

    def close_slave(self) -> None:
        """The container has it now."""
        os.close(self.slave_fd)
        self.slave_fd = -1


def _check_size(rows: int, columns: int) -> None:
    if not (0 < rows < _MAX_SIZE and 0 < columns < _MAX_SIZE):
        raise ValueError(f"not a terminal's size: {rows} × {columns}")
