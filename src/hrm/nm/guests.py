"""Programs that run beside a task in its container, for as long as somebody is there for them.

The streams are made here and handed to the shepherd, which starts the program (`hrm.nm.shepherd.guests`); what goes
through them does not pass it. The connection by which it was asked is the guest's life line.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct
import termios
from pathlib import Path
from typing import Any

from hrm.model.errors import ClusterError, Conflict, NotFound
from hrm.model.execution import ExecSpec, FrameDecoder, FrameKind, exit_frame, frame, size_of
from hrm.nm.shepherd import records, wire

_START_S = 20.0
_PIECE_BYTES = 32 << 10
#: Of what others that the program left behind still write, after its end.
_LAST_WORDS_BYTES = 4 << 20
_END_OF_INPUT = b"\x04"
_NOT_FOUND = 127
_OP = "exec"


class Guest:
    """One program, as a stream of frames (`hrm.model.execution`). Made by `start`."""

    def __init__(
        self, fds: list[int], terminal: bool, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._terminal = terminal
        self._in_fd = fds[0]
        #: Where its output comes out, and which frames that makes.
        self._outs = {fds[0]: FrameKind.STDOUT} if terminal else {fds[1]: FrameKind.STDOUT, fds[2]: FrameKind.STDERR}
        for fd in fds:
            os.set_blocking(fd, False)
        self._reader, self._writer = reader, writer
        self._decoder = FrameDecoder()
        self._ending = asyncio.create_task(self._wait())
        self._told = False
        self._left_bytes = _LAST_WORDS_BYTES
        self._closed = False

    async def _wait(self) -> int:
        """Its exit code; 137 where the shepherd went away, and it with it."""
        line = await self._reader.readline()
        return int(_message(line).get("exited", 137)) if line else 137

    async def read(self) -> bytes:
        while not self._told:
            # Asked before the streams are looked at: what it said before its end is in them.
            over = self._ending.done()
            if data := self._take():
                if over:
                    self._left_bytes -= len(data)
                if self._left_bytes > 0:
                    return data
            if over:
                self._told = True
                return exit_frame(self._ending.result())
            await self._something()
        return b""

    def _take(self) -> bytes:
        for fd, kind in list(self._outs.items()):
            try:
                data = os.read(fd, _PIECE_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                data = b""  # a terminal that nobody holds any more
            if data:
                return frame(kind, data)
            self._forget(fd)
        return b""

    async def _something(self) -> None:
        """Return when there may be output, or its end."""
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        for fd in self._outs:
            loop.add_reader(fd, _resolve, ready)
        try:
            await asyncio.wait({ready, self._ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for fd in self._outs:
                loop.remove_reader(fd)

    async def write(self, data: bytes) -> None:
        """Raises InvalidInput for what are no frames."""
        for kind, payload in self._decoder.feed(data):
            if kind is FrameKind.STDIN:
                await self._type(payload)
            elif kind is FrameKind.RESIZE:
                self._resize(payload)
            elif kind is FrameKind.SIGNAL and payload:
                self._writer.write(wire.encode({"op": "signal_guest", "signum": payload[0]}))

    async def _type(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        while data and self._in_fd >= 0 and not self._ending.done():
            try:
                data = data[os.write(self._in_fd, data) :]
            except BlockingIOError:
                room = loop.create_future()
                loop.add_writer(self._in_fd, _resolve, room)
                try:
                    await asyncio.wait({room, self._ending}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if self._in_fd >= 0:
                        loop.remove_writer(self._in_fd)
            except OSError:
                return  # it reads no more

    def _resize(self, payload: bytes) -> None:
        if self._terminal and self._in_fd >= 0:
            try:
                rows, columns = size_of(payload)
                fcntl.ioctl(self._in_fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            except OSError:
                return  # nobody holds it any more

    async def end(self) -> None:
        if self._terminal:
            await self._type(_END_OF_INPUT)
        elif self._in_fd >= 0:
            os.close(self._in_fd)
            self._in_fd = -1

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for fd in list(self._outs):
            self._forget(fd)
        if self._in_fd >= 0:
            os.close(self._in_fd)
            self._in_fd = -1
        self._writer.close()
        self._ending.cancel()

    def _forget(self, fd: int) -> None:
        """Close it, but not a terminal that is typed to."""
        del self._outs[fd]
        asyncio.get_running_loop().remove_reader(fd)
        if not self._terminal:
            os.close(fd)


async def start(state_dir: Path, container_id: str, spec: ExecSpec) -> Guest:
    """Have a program join a container that runs. Raises NotFound, Conflict and ClusterError."""
    ours, theirs = _terminal(spec) if spec.terminal else _pipes()
    try:
        message = {
            "op": _OP,
            "id": container_id,
            "argv": spec.command,
            "env": dict(spec.env),
            "workdir": spec.workdir,
            "terminal": spec.terminal is not None,
        }
        try:
            connection = await asyncio.to_thread(ask, state_dir, message, theirs)
        except OSError as error:
            raise ClusterError(f"the shepherd of {state_dir} does not answer: {error}") from None
        reader, writer = await asyncio.open_unix_connection(sock=connection, limit=wire.MAX_LINE_BYTES)
        try:
            await _begun(reader)
        except BaseException:
            writer.close()
            raise
    except BaseException:
        _close(ours)
        raise
    finally:
        _close(theirs)
    return Guest(ours, spec.terminal is not None, reader, writer)


async def _begun(reader: asyncio.StreamReader) -> None:
    """Return when it runs. Raises NotFound, Conflict and ClusterError."""
    try:
        line = await asyncio.wait_for(reader.readline(), _START_S)
    except TimeoutError:
        raise ClusterError(f"the program was not started within {_START_S:g} s") from None
    if not line:
        raise ClusterError(
            "the node's shepherd starts no programs in containers that run",
            next_step="it may be of an older HRM: it leaves when its containers have ended, and a new one starts",
        )
    answer = _message(line)
    if (why := answer.get("refused")) is not None:
        if answer.get("code") == _NOT_FOUND:
            raise NotFound(why, next_step="it is looked for by the PATH of the container")
        raise Conflict(why)


def _message(line: bytes) -> dict[str, Any]:
    for message in wire.Decoder().feed(line):
        return message
    return {}


def ask(state_dir: Path, message: dict[str, Any], fds: list[int]) -> socket.socket:
    """Ask the shepherd, on a connection of its own: that one. Raises OSError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connection.settimeout(_START_S)
        # Through the descriptor of its folder, because a socket's name has room for 107 bytes only.
        connection.connect(f"/proc/self/fd/{folder}/{records.SOCKET}")
        line = wire.encode(message)
        if fds:
            socket.send_fds(connection, [line[:1]], fds)
        connection.sendall(line[1:] if fds else line)
    except BaseException:
        connection.close()
        raise
    finally:
        os.close(folder)
    return connection


def _terminal(spec: ExecSpec) -> tuple[list[int], list[int]]:
    assert spec.terminal is not None
    ours, theirs = os.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", spec.terminal.rows, spec.terminal.columns, 0, 0))
    return [ours], [theirs]


def _pipes() -> tuple[list[int], list[int]]:
    in_read, in_write = os.pipe2(os.O_CLOEXEC)
    out_read, out_write = os.pipe2(os.O_CLOEXEC)
    error_read, error_write = os.pipe2(os.O_CLOEXEC)
    return [in_write, out_read, error_read], [in_read, out_write, error_write]


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
