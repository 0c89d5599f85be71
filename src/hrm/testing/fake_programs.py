"""What runs in a container of the fake engine: the few programs that tests use, played and not executed.

`true`, `false`, `sleep SECONDS`, `cat`, and ``sh -c`` with statements separated by ``;``: ``exit N``, ``echo WORDS``
(``>&2``, ``> FILE``; ``$NAME``, ``$!`` and ``$PWD``), ``sleep S`` (``&``), ``cat``, ``kill -SIGNAL $$``,
``kill -0 PID``, ``trap '' TERM``, ``trap 'exit N' TERM``, ``trap 'exec cat $HRM_PREEMPTION_FILE' TERM``,
``read NAME``, ``wait``. Of a launch context the commands are played alike, with nothing prepared for them.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import shlex
import signal
from collections.abc import Awaitable, Callable, Mapping

from hrm.model.launch_contexts import PROGRAM, taken_from

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+|!|\$))")


class CommandNotFound(Exception):
    """The program is none of the few."""


class Ended(Exception):
    """The program ended by itself or by a signal."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Processes:
    """The pids of one fake machine."""

    def __init__(self) -> None:
        self._next = itertools.count(1000)
        self.alive: set[int] = set()

    def start(self) -> int:
        pid = next(self._next)
        self.alive.add(pid)
        return pid


class Program:
    """One container's processes while they run."""

    def __init__(
        self,
        command: tuple[str, ...],
        env: Mapping[str, str],
        processes: Processes,
        *,
        sleep: Callable[[float], Awaitable[None]],
        write: Callable[[str, bytes], None],
        put_file: Callable[[str, bytes], None],
    ) -> None:
        self._env = dict(env)
        self._command = command
        if command[0] == PROGRAM:
            self._command = ("sh", "-c", " ".join(taken_from(self._env).commands))
        self._processes = processes
        self._sleep = sleep
        self._write = write
        self._put_file = put_file
        self._ignored: set[int] = set()
        #: What is run at a signal, in words.
        self._handlers: dict[int, list[str]] = {}
        self._notice = ""
        self._input: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._task: asyncio.Task[int] | None = None
        self._fatal = int(signal.SIGKILL)
        self._goes_on = asyncio.Event()
        self._goes_on.set()
        self.pid = processes.start()
        self._tree = {self.pid}

    def start(self, on_end: Callable[[int], None]) -> None:
        """Begin; ``on_end`` gets the exit code (128 + N by signal). Raises CommandNotFound."""
        if self._command[0] not in ("true", "false", "sleep", "cat", "sh"):
            self._bury()
            raise CommandNotFound(self._command[0])
        self._task = asyncio.get_running_loop().create_task(self._run())

        def ended(task: asyncio.Task[int]) -> None:
            self._bury()
            on_end(self._code_after(self._fatal) if task.cancelled() else task.result())

        self._task.add_done_callback(ended)

    def signal(self, signum: int) -> None:
        """As `kill`: TERM and the like end it unless ignored; KILL always does."""
        if self._task and (signum == signal.SIGKILL or signum not in self._ignored):
            self._fatal = signum
            self._task.cancel()

    def freeze(self, frozen: bool) -> None:
        """Begin no further command, until it goes on."""
        if frozen:
            self._goes_on.clear()
        else:
            self._goes_on.set()

    def warn(self, notice: str) -> None:
        """What a program reads in `HRM_PREEMPTION_FILE`; TERM if it has a handler for that."""
        self._notice = notice
        if signal.SIGTERM in self._handlers:
            self.signal(signal.SIGTERM)

    def feed(self, data: bytes | None) -> None:
        """Input; None is its end."""
        self._input.put_nowait(data)

    def _code_after(self, signum: int) -> int:
        """The exit code that a handler gives, or else the signal."""
        match self._handlers.get(signum):
            case ["exit", code]:
                return int(code)
            case ["exec", "cat", *_]:
                self._write("stdout", f"{self._notice}\n".encode())
                return 0
            case _:
                return 128 + signum

    def _bury(self) -> None:
        self._processes.alive -= self._tree

    async def _run(self) -> int:
        try:
            if self._command[:2] == ("sh", "-c"):
                for statement in self._command[2].replace(" & ", " &; ").split(";"):
                    if statement.strip():
                        await self._statement(shlex.split(statement))
            else:
                await self._simple(list(self._command))
        except Ended as ended:
            return ended.code
        return 0

    async def _statement(self, words: list[str]) -> None:
        background = words[-1] == "&"
        words = [self._expand(word) for word in words if word != "&"]
        if background:
            pid = self._processes.start()
            self._tree.add(pid)
            self._env["!"] = str(pid)
            return
        match words:
            case ["trap", "", name]:
                self._ignored.add(signal.Signals[f"SIG{name}"])
            case ["trap", handler, name]:
                self._handlers[signal.Signals[f"SIG{name}"]] = shlex.split(handler)
            case ["read", _]:
                await self._input.get()
                await self._goes_on.wait()
            case ["wait"]:
                await asyncio.get_running_loop().create_future()
            case ["exit", code]:
                raise Ended(int(code))
            case ["echo", *rest, ">", name]:
                self._put_file(name, " ".join(rest).encode() + b"\n")
            case ["echo", *rest]:
                stream = "stderr" if ">&2" in rest else "stdout"
                self._write(stream, " ".join(word for word in rest if word != ">&2").encode() + b"\n")
            case ["kill", "-0", number]:
                if int(number) not in self._processes.alive:
                    raise Ended(1)
            case ["kill", name, _]:
                raise Ended(128 + signal.Signals[f"SIG{name.lstrip('-')}"])
            case _:
                await self._simple(words)

    async def _simple(self, words: list[str]) -> None:
        match words:
            case ["true"]:
                return
            case ["false"]:
                raise Ended(1)
            case ["sleep", seconds]:
                await self._sleep(float(seconds))
                await self._goes_on.wait()
            case ["cat"]:
                while (data := await self._input.get()) is not None:
                    self._write("stdout", data)
            case _:
                raise Ended(127)

    def _expand(self, word: str) -> str:
        values = {"$": str(self.pid), **self._env}
        return _VARIABLE.sub(lambda match: values.get(match[1] or match[2], ""), word)
