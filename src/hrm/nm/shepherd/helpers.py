"""Programs of HRM's own that work for a container from within: held to its limits, as its user, gone with it.

They fetch files for a container that runs. Unlike guests they are nobody's: who asked for them may be gone.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from typing import Any

from hrm.nm.shepherd import records
from hrm.nm.shepherd.container import Container
from hrm.nm.shepherd.isolation import Isolation
from hrm.nm.shepherd.journal import log
from hrm.nm.shepherd.loop import READABLE, Loop
from hrm.nm.shepherd.spawn import DEFAULT_UMASK, Program, Spawner
from hrm.nm.shepherd.trees import Trees

_PIECE_BYTES = 1 << 16
#: Who says more than this is not listened to any more.
_MAX_SAID_BYTES = 8 << 20
_MAX_LINE_BYTES = 1 << 16
_MAX_WORDS_CHARS = 1000

OnSaid = Callable[[dict[str, Any]], None]
OnEnd = Callable[[int, str], None]


class Helper:
    """One that was started and has not ended."""

    __slots__ = ("container", "left_bytes", "line", "on_end", "on_said", "out_fd", "pid", "told_fd", "words")

    def __init__(
        self, container: Container, pid: int, told_fd: int, out_fd: int, on_said: OnSaid, on_end: OnEnd
    ) -> None:
        self.container = container
        self.pid = pid
        #: Says why the program did not begin; ends when it does.
        self.told_fd = told_fd
        self.out_fd = out_fd
        self.on_said = on_said
        self.on_end = on_end
        self.line = b""
        self.words = ""
        self.left_bytes = _MAX_SAID_BYTES


class Helpers:
    """Of all containers of one shepherd."""

    def __init__(self, loop: Loop, spawner: Spawner, isolation: Isolation, trees: Trees, null_fd: int) -> None:
        self._loop = loop
        self._spawner = spawner
        self._isolation = isolation
        self._trees = trees
        self._null_fd = null_fd
        self._by_pid: dict[int, Helper] = {}

    def start(self, container: Container, program: dict[str, Any], on_said: OnSaid, on_end: OnEnd) -> None:
        """``on_said`` hears each line that is a JSON object, ``on_end`` its exit code and what else it said.

        Raises SpawnError, OSError.
        """
        out_fd, write_fd = os.pipe2(os.O_CLOEXEC)
        try:
            os.set_blocking(out_fd, False)
            ready = Program(
                program["argv"],
                program["env"],
                os.path.abspath(f"{records.CONTAINERS}/{container.id}"),
                fds=[self._null_fd, write_fd, write_fd],
                umask=program.get("umask", DEFAULT_UMASK),
                account=container.account,
                cpus=container.cpus,
            )
            pid, told_fd = self._spawner.begin(ready, self._isolation.pool, container.slot)
        except BaseException:
            os.close(out_fd)
            raise
        finally:
            os.close(write_fd)
        helper = self._by_pid[pid] = Helper(container, pid, told_fd, out_fd, on_said, on_end)
        self._trees.take_in(pid, container)

        def listen(_events: int) -> None:
            self._listen(helper)

        self._loop.watch(out_fd, READABLE, listen)

    def _listen(self, helper: Helper) -> bool:
        """False iff there is nothing to hear now, or never more."""
        if helper.out_fd < 0:
            return False
        try:
            data = os.read(helper.out_fd, _PIECE_BYTES)
        except BlockingIOError:
            return False
        helper.left_bytes -= len(data)
        if not data or helper.left_bytes < 0:
            self._loop.forget(helper.out_fd)
            os.close(helper.out_fd)
            helper.out_fd = -1
        *lines, helper.line = (helper.line + data).split(b"\n")
        for line in lines if data else [helper.line]:
            self._hear(helper, line)
        helper.line = helper.line[-_MAX_LINE_BYTES:]
        return bool(data)

    def _hear(self, helper: Helper, line: bytes) -> None:
        try:
            said = json.loads(line)
        except ValueError:
            said = None
        if isinstance(said, dict):
            helper.on_said(said)
        elif text := line.decode(errors="replace").strip():
            helper.words = f"{helper.words}\n{text}".strip()[-_MAX_WORDS_CHARS:]

    def reaped(self, pid: int, status: int) -> None:
        """A child that is no container has ended."""
        if (helper := self._by_pid.pop(pid, None)) is None:
            return
        while self._listen(helper):
            pass
        if helper.out_fd >= 0:
            self._loop.forget(helper.out_fd)
            os.close(helper.out_fd)
        code = os.waitstatus_to_exitcode(status)
        if failure := os.read(helper.told_fd, _PIECE_BYTES):
            helper.words = json.loads(failure)["message"]
        os.close(helper.told_fd)
        if code == -signal.SIGKILL and not helper.words:
            helper.words = "it was killed"
        if code:
            log(f"{helper.container.id}: a helper ended with {code}: {helper.words}")
        helper.on_end(code if code >= 0 else 128 - code, helper.words)
