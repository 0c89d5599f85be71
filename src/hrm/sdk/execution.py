"""A program beside a task, as its client sees it."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Self

import msgspec

from hrm.model.errors import ClusterError
from hrm.model.execution import (
    ExecSpec,
    FrameDecoder,
    FrameKind,
    exec_to_dict,
    exit_code_of,
    frame,
    resize_frame,
    signal_frame,
)
from hrm.sdk.forwarding import Tunnel
from hrm.sdk.transport import Transport

_PIECE_BYTES = 64 << 10


class Execution:
    """Made by `Client.execute`; a context manager, whose end is the program's.

    Iterating gives pieces of output with the stream they came on, until the program has ended; then `exit_code` is
    known. One thread iterates, others may send meanwhile. Methods raise NoServer where the connection is lost, and
    whatever error keeps the program from running.

    >>> with client.execute(application_id, ExecSpec(command=("nvidia-smi",))) as execution:
    ...     for kind, data in execution:
    ...         sys.stdout.buffer.write(data)
    >>> execution.exit_code
    0
    """

    def __init__(self, transport: Transport, path: str, spec: ExecSpec) -> None:
        self._tunnel = Tunnel(transport, path)
        self._tunnel.say(msgspec.json.encode({"type": "exec", **exec_to_dict(spec)}).decode())
        #: None until it has ended.
        self.exit_code: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[tuple[FrameKind, bytes]]:
        decoder = FrameDecoder()
        while data := self._tunnel.receive():
            for kind, payload in decoder.feed(data):
                if kind is FrameKind.EXIT:
                    self.exit_code = exit_code_of(payload)
                    return
                yield kind, payload
        raise ClusterError("the connection to the program ended before it did", next_step="`hrm nodes` shows its node")

    def send_stdin(self, data: bytes) -> None:
        for at in range(0, len(data), _PIECE_BYTES):
            self._tunnel.send(frame(FrameKind.STDIN, data[at : at + _PIECE_BYTES]))

    def close_stdin(self) -> None:
        """End of input; nothing can be sent after it."""
        self._tunnel.end()

    def resize(self, rows: int, columns: int) -> None:
        self._tunnel.send(resize_frame(rows, columns))

    def signal(self, signum: int) -> None:
        """To the program's process group."""
        self._tunnel.send(signal_frame(signum))

    def close(self) -> None:
        """Let go, also from another thread; a program that still runs is ended."""
        self._tunnel.close()
