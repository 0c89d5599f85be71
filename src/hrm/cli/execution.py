"""`hrm exec`: a program beside a task, in its container."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from hrm.cli.connect import client
from hrm.cli.job_options import ErrorCodeOption
from hrm.cli.main import fail
from hrm.cli.output import note
from hrm.cli.selectors import AppArgument, select_one
from hrm.cli.terminal import RawMode, in_background, stdin_fd, terminal_size
from hrm.model.errors import HrmError, InvalidInput, NoServer
from hrm.model.execution import ExecSpec, FrameKind

if TYPE_CHECKING:
    from hrm.sdk.execution import Execution

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_CHUNK_BYTES = 64 << 10


def exec_(
    app: AppArgument,
    command: Annotated[list[str], typer.Argument(metavar="COMMAND", help="The program, with its arguments.")],
    task: Annotated[int, typer.Option("--task", metavar="NUMBER", min=0, help="Beside which task.")] = 0,
    env: Annotated[
        list[str] | None, typer.Option("--env", "-e", metavar="NAME=VALUE", help="Besides the container's own.")
    ] = None,
    workdir: Annotated[
        str | None, typer.Option("--workdir", metavar="DIR", help="Where [default: where the task stands].")
    ] = None,
    interactive: Annotated[
        bool, typer.Option("--interactive", "-i", help="Pass standard input on; so it is anyway.")
    ] = False,
    tty: Annotated[bool, typer.Option("--tty", "-t", help="A terminal; so it is where there is one.")] = False,
    no_stdin: Annotated[bool, typer.Option("--no-stdin", help="Leave standard input alone (for loops).")] = False,
    error_code: ErrorCodeOption = None,
) -> None:
    """Run a program beside a task, in its container.

    As `docker exec` and `kubectl exec`, on any node: held to the container's limits, as its user, in its environment,
    with its GPUs, where the task stands. It ends with the container and with this client, and its exit code is the
    exit code. The job knows nothing of it.

    \b
    Examples:
      hrm exec last -- nvidia-smi                 what the newest job's GPU does
      hrm exec 17 --task 3 -- py-spy dump --pid 1234
      hrm exec -it 17 -- bash                     as `hrm shell --app 17`
    """
    try:
        spec = ExecSpec(
            command=tuple(command),
            env=dict(_pair(word) for word in env or ()),
            workdir=workdir,
        )
        if interactive and no_stdin:
            raise InvalidInput("--no-stdin leaves standard input alone", field="--interactive", next_step="choose one")
        code = stay_beside(app, task, spec, feed=not no_stdin, tty=tty)
    except HrmError as error:
        fail(error, code=error_code)
    raise typer.Exit(code)


def _pair(word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not equals:
        raise InvalidInput(f"not NAME=VALUE: {word!r:.80}", field="--env")
    return name, value


def stay_beside(app: str, task: int, spec: ExecSpec, *, feed: bool = True, tty: bool = False) -> int:
    """Run it, be there until it ends, and return its exit code. Raises HrmError."""
    stdin = stdin_fd() if feed else None
    if stdin is not None and in_background(stdin):
        stdin = None
    terminal = stdin if stdin is not None and os.isatty(stdin) and sys.stdout.isatty() else None
    if tty and terminal is None:
        note("hrm: the program gets no terminal: standard input or output is none")
    if terminal is not None:
        env = {"TERM": os.environ.get("TERM") or "xterm", **spec.env}
        spec = ExecSpec(command=spec.command, env=env, workdir=spec.workdir, terminal=terminal_size(terminal))
    with client() as server:
        application_id = select_one(server, app)
        with server.execute(application_id, spec, task=task) as execution:
            return _Stay(execution, stdin, terminal).run()


class _Stay:
    """Three threads: the main one delivers output, one reads standard input, one sends what signals brought."""

    def __init__(self, execution: Execution, stdin: int | None, terminal: int | None) -> None:
        self._execution = execution
        self._stdin = stdin
        self._terminal = terminal
        self._signals: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._interrupts = 0

    def run(self) -> int:
        raw = RawMode(self._terminal) if self._terminal is not None else None
        caught = (*_FORWARDED, *((signal.SIGWINCH,) if raw else ()))
        handlers = {number: signal.signal(number, self._on_signal) for number in caught}
        for work in (self._send_signals, *([self._feed] if self._stdin is not None else [])):
            threading.Thread(target=work, name=work.__name__, daemon=True).start()
        try:
            if raw is not None:
                raw.enter()
            for kind, data in self._execution:
                out = sys.stderr if kind is FrameKind.STDERR else sys.stdout
                out.buffer.write(data)
                out.buffer.flush()
        finally:
            if raw is not None:
                raw.leave()
            self._signals.put(None)
            for number, handler in handlers.items():
                signal.signal(number, handler)
        assert self._execution.exit_code is not None
        return self._execution.exit_code

    def _feed(self) -> None:
        assert self._stdin is not None
        try:
            while data := _read(self._stdin):
                self._execution.send_stdin(data)
            self._execution.close_stdin()
        except NoServer:
            return  # the main thread finds out too

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals.put(number)

    def _send_signals(self) -> None:
        while (number := self._signals.get()) is not None:
            try:
                if number == signal.SIGWINCH:
                    assert self._terminal is not None
                    size = terminal_size(self._terminal)
                    self._execution.resize(size.rows, size.columns)
                    continue
                self._interrupts += number == signal.SIGINT
                if self._interrupts > 1:
                    # Whoever insists is let go, and the program with it.
                    self._execution.close()
                    os._exit(128 + number)
                self._execution.signal(number)
            except NoServer:
                return


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, _CHUNK_BYTES)
    except OSError:
        return b""  # a terminal that has gone
