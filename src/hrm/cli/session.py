"""Staying with one application as if it ran here: its output, our input, signals and window size, its end.

Four threads share it. The main one delivers output. One reads standard input, one sends what signals brought (a
signal handler itself may not talk to anybody), one watches until the application runs: it says why it waits, and makes
the terminal raw only then, so that Ctrl-C ends what still waits in the queue.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from collections import Counter
from types import FrameType
from typing import TYPE_CHECKING, Any

from hrm.cli.connect import RECONNECT_S, Connection
from hrm.cli.output import note
from hrm.cli.terminal import RawMode, terminal_size
from hrm.cli.writer import Writer
from hrm.model.errors import HrmError, NoServer
from hrm.model.ids import short_id
from hrm.model.reports import ApplicationReport

if TYPE_CHECKING:
    from hrm.sdk.attachment import Attachment

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
#: What would have ended the command had it run here: ends it while it still waits in the queue.
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
SAY_WHY_AFTER_S = 2.0
_CHUNK_BYTES = 64 << 10
_RETRY_S = 0.1
_RESIZED = -1


class Session:
    """One application, from its submission to its end."""

    def __init__(
        self, connection: Connection, application_id: str, writer: Writer, *, stdin: int | None, terminal: int | None
    ) -> None:
        """``stdin`` is the descriptor to feed from, ``terminal`` that of our terminal iff the job has one; or None."""
        self._connection = connection
        self._id = application_id
        self._writer = writer
        self._stdin = stdin
        self._terminal = terminal
        self._raw = RawMode(terminal) if terminal is not None else None
        self._attachment: Attachment | None = None
        self._attached = threading.Condition()
        self._over = threading.Event()
        self._signals: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._interrupts = 0
        #: Signals to end it that reached no server.
        self._unheard = 0
        #: Bytes delivered by (stream, task), and how many of them a new attachment will send again.
        self._delivered: Counter[tuple[str, int]] = Counter()
        self._repeated: Counter[tuple[str, int]] = Counter()

    def run(self) -> ApplicationReport:
        """Return when the application has ended and all its output is written.

        Raises NoServer where the server went away and did not come back, BrokenPipeError where nobody reads our
        output any more (the application is killed then, as SIGPIPE would do here).
        """
        handlers = {number: signal.signal(number, self._on_signal) for number in FORWARDED}
        if self._terminal is not None:
            handlers[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, self._on_resize)
        for work in (self._send_signals, self._watch, *([self._feed] if self._stdin is not None else [])):
            threading.Thread(target=work, name=work.__name__, daemon=True).start()
        try:
            return self._deliver()
        except BrokenPipeError:
            self._connection.call(lambda client: client.kill(self._id, "nobody reads its output any more"))
            raise
        finally:
            self._over.set()
            self._signals.put(None)
            self._leave_terminal()
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _deliver(self) -> ApplicationReport:
        deadline = time.monotonic() + RECONNECT_S
        while True:
            try:
                attachment = self._connection.client.attach(self._id)
            except NoServer:
                if time.monotonic() > deadline:
                    raise
            else:
                if (report := self._deliver_from(attachment)) is not None:
                    return report
                deadline = time.monotonic() + RECONNECT_S
                # A new attachment begins anew; what we have is not written twice.
                self._repeated = self._delivered.copy()
            time.sleep(_RETRY_S)  # a server that answers but lets nobody attach is not pestered
            self._connection.reconnect(deadline)

    def _deliver_from(self, attachment: Attachment) -> ApplicationReport | None:
        """None iff the connection was lost."""
        from hrm.sdk.attachment import Ended

        try:
            with attachment:
                self._set_attachment(attachment)
                for item in attachment:
                    if isinstance(item, Ended):
                        self._finish(item.dropped_bytes)
                        return item.report
                    self._write(str(item.stream), item.task_index, item.data)
        except NoServer:
            pass
        finally:
            self._set_attachment(None)
        return None

    def _write(self, stream: str, task_index: int, data: bytes) -> None:
        repeated = min(self._repeated[stream, task_index], len(data))
        self._repeated[stream, task_index] -= repeated
        if new := data[repeated:]:
            self._delivered[stream, task_index] += len(new)
            self._writer.write(stream, task_index, new)

    def _finish(self, dropped_bytes: int) -> None:
        self._writer.flush()
        if dropped_bytes:
            self._leave_terminal()
            note(f"hrm: {dropped_bytes} bytes of output beyond the node's log_limit were not kept")

    def _set_attachment(self, attachment: Attachment | None) -> None:
        with self._attached:
            self._attachment = attachment
            self._attached.notify_all()

    def _wait_attachment(self) -> Attachment | None:
        """None iff all is over."""
        with self._attached:
            while self._attachment is None and not self._over.is_set():
                self._attached.wait(0.5)
            return self._attachment

    def _leave_terminal(self) -> None:
        if self._raw is not None:
            self._raw.leave()

    # Input

    def _feed(self) -> None:
        assert self._stdin is not None
        while not self._over.is_set():
            try:
                data = os.read(self._stdin, _CHUNK_BYTES)
            except OSError:
                data = b""  # a terminal that has gone
            while (attachment := self._wait_attachment()) is not None:
                try:
                    if data:
                        attachment.send_stdin(data)
                    else:
                        attachment.close_stdin()
                    break
                except NoServer:
                    time.sleep(0.05)  # the main thread finds out too, and attaches anew
                except HrmError:
                    return  # nobody reads it any more; the main thread hears why
            if not data:
                return

    # Signals

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals.put(number)

    def _on_resize(self, number: int, frame: FrameType | None) -> None:
        self._signals.put(_RESIZED)

    def _send_signals(self) -> None:
        while (number := self._signals.get()) is not None:
            try:
                if number == _RESIZED:
                    self._resize()
                else:
                    self._forward(number)
            except NoServer as error:
                # Nobody there to end the job: whoever insists is let go. The job ends when its client stays away.
                self._unheard += number in _ENDING
                if self._unheard > 1:
                    self._leave_terminal()
                    os._exit(128 + number)
                note(f"hrm: {error.message}; once more leaves it alone")
            except HrmError as error:
                if not self._over.is_set():
                    note(f"hrm: {error}")

    def _resize(self) -> None:
        attachment = self._wait_attachment()
        if attachment is not None and self._terminal is not None:
            size = terminal_size(self._terminal)
            attachment.resize(size.rows, size.columns)

    def _forward(self, number: int) -> None:
        client = self._connection.client
        if number == signal.SIGINT:
            self._interrupts += 1
        if self._interrupts > 1:
            client.kill(self._id, "interrupted twice")
        elif number in _ENDING and not client.application(self._id).tasks_running:
            client.kill(self._id, f"{signal.Signals(number).name} while it waited")
        else:
            client.signal(self._id, number)
            if number == signal.SIGINT and sys.stderr.isatty():
                note("hrm: interrupted; Ctrl-C again kills it")

    # Waiting

    def _watch(self) -> None:
        """Until the application runs."""
        if self._raw is None and not sys.stderr.isatty():
            return
        begun_at, pause_s, said = time.monotonic(), 0.02, ""
        while not self._over.wait(pause_s):
            pause_s = min(0.5, pause_s * 1.3)
            try:
                report: Any = self._connection.client.application(self._id)
                if report.tasks_running or report.tasks_succeeded or report.state.final:
                    if self._raw is not None and not report.state.final:
                        self._raw.enter()
                    return
                if time.monotonic() - begun_at > SAY_WHY_AFTER_S and sys.stderr.isatty():
                    why = self._connection.client.explain(self._id)
                    # Its numbers change with every look.
                    if why.reason != said:
                        note(f"hrm: {short_id(self._id)} waits in {report.queue}: {why.message}")
                        said = why.reason
            except HrmError:
                continue  # the main thread sees to a server that has gone
