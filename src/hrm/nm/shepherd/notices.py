"""What a container is told that is to end for others: the notice in its directory, and TERM to who can take it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from typing import Any

from hrm.nm.shepherd import processes
from hrm.nm.shepherd.container import Container
from hrm.nm.shepherd.homes import put_notice, take_notice
from hrm.nm.shepherd.journal import log
from hrm.nm.shepherd.loop import Loop
from hrm.nm.shepherd.processes import Process
from hrm.nm.shepherd.trees import Trees

_LOOK_FOR_HANDLERS_S = 1.0


class Notices:
    """Of all containers of one shepherd."""

    def __init__(self, loop: Loop, trees: Trees, lives: Callable[[Container], bool]) -> None:
        self._loop = loop
        self._trees = trees
        self._lives = lives

    def put(self, container: Container, notice: dict[str, Any]) -> None:
        """Put the notice where the container looks for it, and TERM to those who have a handler for that.

        Once for each notice. Whoever has none goes on as if nothing was: it could only die of it. A process that is
        there now and makes itself a handler later gets its TERM then.
        """
        if container.notice == notice:
            return
        container.notice = notice
        try:
            put_notice(container.id, notice)
        except OSError as error:
            # The signal says enough to go by.
            log(f"{container.id}: cannot write its notice: {error}")
        present = [process for process in self._trees.members(container) if process.pgrp == container.pid]
        self._terminate_handlers(container, notice, present)

    def _terminate_handlers(self, container: Container, notice: dict[str, Any], present: list[Process]) -> None:
        if not self._lives(container) or container.notice is not notice:
            return
        left = []
        for process in present:
            if not processes.handles(process.pid, signal.SIGTERM):
                left.append(process)
            elif processes.send_signal(process, signal.SIGTERM):
                # One that was halted takes it when it goes on.
                processes.send_signal(process, signal.SIGCONT)
        if left:
            self._loop.call_later(_LOOK_FOR_HANDLERS_S, partial(self._terminate_handlers, container, notice, left))

    def take_away(self, container: Container) -> None:
        """It need not end after all."""
        container.notice = None
        try:
            take_notice(container.id)
        except OSError as error:
            log(f"{container.id}: cannot take its notice away: {error}")
