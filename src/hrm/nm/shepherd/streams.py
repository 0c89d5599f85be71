"""What goes into and comes out of containers: pipes or a terminal, their logs, and the FIFO of their input."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from hrm.nm.shepherd import records
from hrm.nm.shepherd.container import Container
from hrm.nm.shepherd.journal import log
from hrm.nm.shepherd.loop import EDGE, READABLE, Loop
from hrm.nm.shepherd.pump import REST_S, Stream
from hrm.nm.shepherd.terminal import Terminal

_TELL_DROPPED_S = 1.0


class Streams:
    """Of one node's containers. ``lives`` says whether one of them still runs."""

    def __init__(self, loop: Loop, null_fd: int, lives: Callable[[Container], bool]) -> None:
        self._loop = loop
        self._null_fd = null_fd
        self._lives = lives
        #: Bytes of stdout and stderr that the limit dropped, of those where that changed since it was last taken.
        self.news: dict[str, list[int]] = {}

    def make_pipes(self, container: Container) -> list[int]:
        """Have what is written to them go to its logs: the ends for stdout and stderr. Raises OSError."""
        write_fds: list[int] = []
        try:
            for name in records.STREAMS:
                fd, write_fd = os.pipe2(os.O_CLOEXEC)
                write_fds.append(write_fd)
                if container.owner:
                    # `echo > /dev/stderr` opens the pipe anew.
                    os.fchown(write_fd, *container.owner)
                os.set_blocking(fd, False)
                self._add(container, fd, name)
        except OSError:
            for write_fd in write_fds:
                os.close(write_fd)
            raise
        return write_fds

    def reopen(self, container: Container) -> None:
        """Have it pipes that another launch writes to: those it has, or new ones to the same logs. Raises OSError."""
        if not container.write_fds:
            for stream in container.streams:
                self._loop.forget(stream.fd)
                stream.close()
            container.streams.clear()
            container.write_fds = self.make_pipes(container)

    def say(self, container: Container, message: str) -> None:
        """A line of ours among what it says on its stderr. No error if it has no pipe for that."""
        if container.write_fds and container.streams:
            # Nobody else writes there now: there is room.
            container.streams[-1].drain()
            os.write(container.write_fds[-1], f"hrm: {message}\n".encode())

    def _add(self, container: Container, fd: int, name: str) -> None:
        """Have what comes out of ``fd`` go to a log."""
        stream = Stream(
            fd,
            f"{records.LOGS}/{container.id}.{name}",
            container.log_limit_bytes,
            self._null_fd,
            is_terminal=container.terminal is not None,
            owner=container.owner,
        )
        container.streams.append(stream)

        def look(events: int) -> None:
            # Only a hang-up: there is nothing to move, and the end of the container follows at once or much later.
            if events & READABLE and not stream.resting:
                self._pump(container, stream)

        self._loop.watch(fd, READABLE | EDGE, look)

    def _pump(self, container: Container, stream: Stream) -> None:
        stream.resting = False
        if self._lives(container) and stream.pump():
            # Not until it is found empty will the loop tell of it again (EDGE).
            stream.resting = True
            self._loop.call_later(REST_S, partial(self._pump, container, stream))
            if stream.dropped_bytes and not container.telling_dropped:
                container.telling_dropped = True
                self._loop.call_later(_TELL_DROPPED_S, partial(self._tell_dropped, container))

    def _tell_dropped(self, container: Container) -> None:
        container.telling_dropped = False
        if self._lives(container):
            self.news[container.id] = container.dropped

    def make_input(self, container: Container) -> int:
        """Make the FIFO; the end that the container (or its terminal) reads. Raises OSError."""
        path = f"{records.INPUTS}/{container.id}"
        os.mkfifo(path, 0o600)
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if container.owner:
            os.fchown(fd, *container.owner)
        container.keeper_fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(fd, True)
        return fd

    def close_input(self, container: Container) -> None:
        """Once nobody else writes, the container reads the end of input. The FIFO's name goes: none opens it again."""
        if container.keeper_fd >= 0:
            os.close(container.keeper_fd)
            container.keeper_fd = -1
            records.unlink(f"{records.INPUTS}/{container.id}")

    def make_terminal(self, container: Container, spec: dict[str, Any], keyboard_fd: int) -> None:
        """Of the size that the spec says; ``keyboard_fd`` is the terminal's from now on. Raises OSError."""
        rows, columns = spec["terminal"]
        os.set_blocking(keyboard_fd, False)
        terminal = container.terminal = Terminal(rows, columns, keyboard_fd, owner=container.owner)
        self._loop.watch(keyboard_fd, READABLE | EDGE, lambda _events: self._type(container, terminal))
        self._add(container, terminal.master_fd, "stdout")

    def _type(self, container: Container, terminal: Terminal) -> None:
        if self._lives(container) and terminal.type():
            self._loop.call_later(REST_S, partial(self._type, container, terminal))

    def close(self, container: Container) -> None:
        """Let go of all of it."""
        for stream in container.streams:
            self._loop.forget(stream.fd)
            stream.close()
        if container.terminal:
            self._loop.forget(container.terminal.keyboard_fd)
            os.close(container.terminal.keyboard_fd)
        self.close_input(container)


def explain(container: Container, message: str) -> None:
    """Say in the container's own stderr why its program did not run, as a shell would."""
    try:
        with open(f"{records.LOGS}/{container.id}.stderr", "x", encoding="utf-8", errors="replace") as file:
            file.write(f"hrm: {message}\n")
            if container.owner:
                os.fchown(file.fileno(), *container.owner)
    except OSError as error:
        log(f"{container.id}: cannot write its stderr: {error}")
