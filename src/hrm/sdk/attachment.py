"""A client attached to one application: its output as it comes, its input, signals, window size, and its end."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import msgspec

from hrm.model.attach_codec import decode_output
from hrm.model.containers import LogStream
from hrm.model.error_codec import error_from_dict
from hrm.model.errors import ClusterError, NoServer
from hrm.model.reports import ApplicationReport
from hrm.sdk.transport import Transport
from hrm.sdk.websocket import LONGEST_WAIT_S, open_websocket

_PIECE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Output:
    """Something that a task wrote."""

    stream: LogStream
    task_index: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The application is over, and all its output was given before."""

    report: ApplicationReport
    #: How much output the node's limit on logs (``node.log_limit``) dropped.
    dropped_bytes: int = 0


class Attachment:
    """Made by `Client.attach`; a context manager.

    Iterating gives `Output` after `Output` and at last one `Ended`; then it stops. One thread iterates, others may
    send meanwhile. Every method raises NoServer where the connection is lost; the application then goes on, unless
    it was submitted as ``attached``.

    >>> with client.attach(application_id) as attachment:
    ...     attachment.send_stdin(b"one line\\n")
    ...     attachment.close_stdin()
    ...     for item in attachment:
    ...         print(item)
    """

    def __init__(self, transport: Transport, path: str) -> None:
        self._stack = ExitStack()
        self._websocket, self._closed_error = open_websocket(self._stack, transport, path)
        self._address = transport.address
        #: Bytes of standard input that may be sent now.
        self._window = 0
        self._changed = threading.Condition()
        self._receiving = threading.Lock()
        self._received: deque[Output | Ended] = deque()
        self._over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go, also from another thread: iterating then stops.

        An ``attached`` application whose last client lets go is ended after a grace time.
        """
        self._end()
        self._stack.close()

    def __iter__(self) -> Iterator[Output | Ended]:
        while True:
            with self._receiving:
                while not self._received:
                    if self._over:
                        return
                    self._receive()
                item = self._received.popleft()
            yield item

    def send_stdin(self, data: bytes) -> None:
        """Feed standard input; waits while the program does not read and the window is full.

        Nothing happens after the end. Where no other thread iterates, output that comes meanwhile is kept for later.
        """
        view = memoryview(data)
        while view and not self._over:
            with self._changed:
                count = min(len(view), self._window, _PIECE_BYTES)
                self._window -= count
            if count:
                self._send(bytes(view[:count]))
                view = view[count:]
            else:
                self._await_window()

    def close_stdin(self) -> None:
        """End of input."""
        self._command(type="close_stdin")

    def signal(self, signum: int) -> None:
        """Send a signal to every running task."""
        self._command(type="signal", signum=signum)

    def resize(self, rows: int, columns: int) -> None:
        """The window of the client's terminal has this size now."""
        self._command(type="resize", rows=rows, columns=columns)

    def _command(self, **message: Any) -> None:
        if not self._over:
            self._send(msgspec.json.encode(message).decode())

    def _send(self, message: str | bytes) -> None:
        try:
            self._websocket.send(message)
        except self._closed_error:
            if not self._over:
                raise self._lost() from None

    def _await_window(self) -> None:
        """Until the window may have opened: by receiving ourselves, unless another thread does."""
        if self._receiving.acquire(blocking=False):
            try:
                if not self._window and not self._over:
                    self._receive()
            finally:
                self._receiving.release()
        else:
            with self._changed:
                # The receiver notifies; the limit covers one that stopped iterating in between.
                self._changed.wait_for(lambda: self._window or self._over, timeout=0.05)

    def _receive(self) -> None:
        """Take in one frame, if one comes soon. Only with `_receiving` held."""
        try:
            frame = self._websocket.recv(LONGEST_WAIT_S)
        except TimeoutError:
            return
        except self._closed_error:
            if self._over:
                return
            self._end()
            raise self._lost() from None
        if isinstance(frame, bytes):
            self._received.append(Output(*decode_output(frame)))
            return
        message = msgspec.json.decode(frame)
        match message["type"]:
            case "attached":
                self._open_window(message["stdin_window_bytes"])
            case "stdin_taken":
                self._open_window(message["bytes"])
            case "ended":
                report = msgspec.convert(message["report"], ApplicationReport)
                self._received.append(Ended(report, message["dropped_bytes"]))
                self._end()
            case "error":
                self._end()
                raise error_from_dict(message) or ClusterError("the server reports an error without words")

    def _open_window(self, count: int) -> None:
        with self._changed:
            self._window += count
            self._changed.notify_all()

    def _end(self) -> None:
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _lost(self) -> NoServer:
        return NoServer(
            f"the connection to {self._address} was lost while attached",
            next_step="`hrm ps` shows whether the application goes on",
        )
