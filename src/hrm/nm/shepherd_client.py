"""The NodeManager's side of the shepherd's socket: find or start it, send it work, hear its news."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hrm.nm.shepherd
from hrm.model.errors import ClusterError
from hrm.nm.shepherd import records, wire

_START_TIMEOUT_S = 10.0
_RETRY_S = 0.02
_HELD_BY_ANOTHER = 3
#: Launches are cut into lines of about this size: the shepherd reads a line whole before it starts its first.
_LINE_BYTES = 1 << 20


class ShepherdClient:
    """One connection to the shepherd of a state directory, which is started if there is none.

    All on the running loop. ``on_news`` gets each of the shepherd's messages; ``on_lost`` is called once if the
    connection ends without `close`.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._transport: asyncio.Transport | None = None
        self._unsent: list[dict[str, Any]] = []
        self._flush_is_due = False

    async def connect(self, on_news: Callable[[dict[str, Any]], None], on_lost: Callable[[], None]) -> dict[str, Any]:
        """Greet the shepherd; its answer says what runs and what has ended. Raises ClusterError."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _START_TIMEOUT_S
        while True:
            try:
                return await self._greet(on_news, on_lost)
            except (OSError, ConnectionError, wire.WireError) as error:
                # None there, or one that was just about to leave.
                if loop.time() > deadline:
                    raise ClusterError(
                        f"the shepherd of {self._state_dir} does not answer: {error}",
                        next_step=f"see {self._state_dir / records.LOG}",
                    ) from None
            if not await self._start():
                await asyncio.sleep(_RETRY_S)

    async def _greet(self, on_news: Callable[[dict[str, Any]], None], on_lost: Callable[[], None]) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[dict[str, Any]] = loop.create_future()
        folder = os.open(self._state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Through the descriptor of its folder, because a socket's name has room for 107 bytes only.
            path = f"/proc/self/fd/{folder}/{records.SOCKET}"
            transport, _ = await loop.create_unix_connection(lambda: _Connection(answer, on_news, on_lost), path)
        finally:
            os.close(folder)
        transport.write(wire.encode({"op": "hello", "protocol": wire.PROTOCOL}))
        try:
            greeting = await asyncio.wait_for(answer, _START_TIMEOUT_S)
        except BaseException:
            transport.abort()
            raise
        self._transport = transport
        return greeting

    async def _start(self) -> bool:
        """Start the shepherd; True when it is ready, False if another one holds the directory. Raises ClusterError."""
        program = str(Path(hrm.nm.shepherd.__file__).parent)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            program,
            str(self._state_dir),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            cwd="/",
            start_new_session=True,
        )
        _, complaint = await process.communicate()
        if process.returncode == _HELD_BY_ANOTHER:
            return False
        if process.returncode:
            why = complaint.decode(errors="replace").strip() or f"see {self._state_dir / records.LOG}"
            raise ClusterError(f"cannot start the shepherd in {self._state_dir}: {why}")
        return True

    def launch(self, spec: dict[str, Any]) -> None:
        """Start one container. Those asked for in one turn of the loop go out together."""
        self._unsent.append(spec)
        self._flush_soon()

    def send(self, message: dict[str, Any]) -> None:
        """Send a message, after everything sent before. Lost if nobody is connected."""
        self.flush()
        if self._transport:
            self._transport.write(wire.encode(message))

    def flush(self) -> None:
        """Send the launches that wait."""
        self._flush_is_due = False
        specs, self._unsent = self._unsent, []
        if specs and self._transport:
            self._transport.write(wire.encode({"op": "launch", "specs": specs}))

    def _flush_soon(self) -> None:
        if not self._flush_is_due:
            self._flush_is_due = True
            asyncio.get_running_loop().call_soon(self.flush)

    def close(self) -> None:
        """Let go. The shepherd and its containers live on."""
        self.flush()
        if self._transport:
            transport, self._transport = self._transport, None
            protocol = transport.get_protocol()
            assert isinstance(protocol, _Connection)
            protocol.let_go()
            transport.close()


class _Connection(asyncio.Protocol):
    def __init__(
        self,
        answer: asyncio.Future[dict[str, Any]],
        on_news: Callable[[dict[str, Any]], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._decoder = wire.Decoder()
        self._answer = answer
        self._on_news = on_news
        self._on_lost: Callable[[], None] | None = on_lost
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._decoder.feed(data):
                if self._answer.done():
                    self._on_news(message)
                elif "hello" in message:
                    self._answer.set_result(message)
        except wire.WireError:
            # It speaks another language: what runs there is asked for anew.
            if isinstance(self._transport, asyncio.Transport):
                self._transport.abort()

    def let_go(self) -> None:
        self._on_lost = None

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._answer.done():
            self._answer.set_exception(ConnectionResetError("it hung up"))
        elif self._on_lost:
            on_lost, self._on_lost = self._on_lost, None
            on_lost()
