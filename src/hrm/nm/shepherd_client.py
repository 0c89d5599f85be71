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
from hrm.model.isolation import IsolationMode
from hrm.nm.shepherd import faults, records, wire

_START_TIMEOUT_S = 10.0
_RETRY_S = 0.02
_HELD_BY_ANOTHER = 3
#: Launches go out in lines of about this size: the shepherd reads a line whole before it starts its first.
_LINE_BYTES = 1 << 20

OnMessage = Callable[[dict[str, Any]], None]


class ShepherdClient:
    """One connection to the shepherd of a state directory, which is started if there is none.

    All on the running loop. ``on_news`` gets each of the shepherd's messages; ``on_lost`` is called once if the
    connection ends without `close`.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        isolation: IsolationMode = IsolationMode.NONE,
        pinning: bool = False,
        may_start: bool = True,
    ) -> None:
        """``isolation`` tells the shepherd whether to have cgroups ready, ``pinning`` whether cpusets among them.

        ``may_start`` is False where a service manager starts it: then it is waited for.
        """
        self._state_dir = state_dir
        self._may_start = may_start
        self._hello = {"op": "hello", "protocol": wire.PROTOCOL, "isolation": isolation, "pinning": pinning}
        self._transport: asyncio.Transport | None = None
        #: Launches of this turn of the loop.
        self._launches: list[dict[str, Any]] = []
        self._flush_is_due = False
        #: What was sent while nobody was connected.
        self._held: list[dict[str, Any]] = []
        #: Until when the containers may run; None iff nobody ever said.
        self._lease: float | None = None

    async def connect(self, on_greeting: OnMessage, on_news: OnMessage, on_lost: Callable[[], None]) -> None:
        """Greet the shepherd. Raises ClusterError.

        ``on_greeting`` gets its answer, which says what runs and what has ended, before any news. What was sent
        meanwhile goes out then, but for launches: who asked for one finds out from the answer that it does not run,
        and asks for another.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _START_TIMEOUT_S
        while True:
            try:
                await self._greet(on_greeting, on_news, on_lost)
                return
            except (OSError, wire.WireError) as error:
                # None there, or one that was just about to leave.
                if loop.time() > deadline:
                    raise ClusterError(
                        f"the shepherd of {self._state_dir} does not answer: {error}",
                        next_step=f"see {self._state_dir / records.LOG}"
                        if self._may_start
                        else "the service manager should have started it: `hrm service status`",
                    ) from None
            if not (self._may_start and await self._start()):
                await asyncio.sleep(_RETRY_S)

    async def _greet(self, on_greeting: OnMessage, on_news: OnMessage, on_lost: Callable[[], None]) -> None:
        def greeted(transport: asyncio.Transport, greeting: dict[str, Any]) -> None:
            theirs = greeting["hello"]["protocol"]
            if not wire.OLDEST <= theirs <= wire.PROTOCOL:
                raise ClusterError(
                    f"the shepherd of {self._state_dir} speaks protocol {theirs}, this server {wire.OLDEST} to "
                    f"{wire.PROTOCOL}",
                    next_step="run the version of HRM that started it until its containers have ended; it then leaves",
                )
            self._launches.clear()
            self._transport = transport
            if self._lease is not None:
                # Before anything else: a successor knows nothing of it.
                self.send({"op": "lease", "until": self._lease})
            on_greeting(greeting)
            held, self._held = self._held, []
            for message in held:
                self.send(message)

        def lost() -> None:
            self._transport = None
            on_lost()

        loop = asyncio.get_running_loop()
        folder = os.open(self._state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Through the descriptor of its folder, because a socket's name has room for 107 bytes only.
            path = f"/proc/self/fd/{folder}/{records.SOCKET}"
            transport, connection = await loop.create_unix_connection(
                lambda: _Connection(self._hello, greeted, on_news, lost), path
            )
        finally:
            os.close(folder)
        try:
            await asyncio.wait_for(connection.greeted, _START_TIMEOUT_S)
        except BaseException:
            transport.abort()
            raise

    async def _start(self) -> bool:
        """Start the shepherd; True when it is ready, False if another one holds the directory. Raises ClusterError."""
        program = str(Path(hrm.nm.shepherd.__file__).parent)
        try:
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
        except OSError as error:
            raise ClusterError(f"cannot start the shepherd in {self._state_dir}: {error}") from None
        try:
            _, complaint = await asyncio.wait_for(process.communicate(), _START_TIMEOUT_S)
        except TimeoutError:
            process.kill()
            raise ClusterError(
                f"the shepherd of {self._state_dir} was not ready within {_START_TIMEOUT_S:g} s",
                next_step="see whether the file system answers",
            ) from None
        if process.returncode == _HELD_BY_ANOTHER or (process.returncode or 0) < 0:
            # Another one has the directory, or ended this one because it was about to.
            return False
        if process.returncode:
            why = complaint.decode(errors="replace").strip() or f"see {self._state_dir / records.LOG}"
            raise ClusterError(f"cannot start the shepherd in {self._state_dir}: {why}")
        return True

    def launch(self, spec: dict[str, Any]) -> None:
        """Start one container. Those asked for in one turn of the loop go out together."""
        self._launches.append(spec)
        if not self._flush_is_due:
            self._flush_is_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def send(self, message: dict[str, Any]) -> None:
        """Send a message, after everything sent before."""
        self._flush()
        if self._transport:
            self._transport.write(wire.encode(message))
        else:
            self._held.append(message)

    def _flush(self) -> None:
        self._flush_is_due = False
        specs, self._launches = self._launches, []
        if self._transport:
            line, size = [], 0
            for spec in specs:
                line.append(wire.encode(spec)[:-1])
                size += len(line[-1])
                if size > _LINE_BYTES:
                    self._transport.write(_launch_line(line))
                    line, size = [], 0
            if line:
                self._transport.write(_launch_line(line))
                faults.point("node.sent")

    def lease(self, until: float, *, at_most: bool) -> None:
        """As `NodeManager.lease`; what was extended, also for another shepherd that takes over meanwhile."""
        if not at_most:
            self._lease = until
        if self._transport:
            self.send({"op": "lease", "until": until, "at_most": at_most})

    @property
    def is_connected(self) -> bool:
        return self._transport is not None

    def close(self) -> None:
        """Let go. The shepherd and its containers live on."""
        self._flush()
        if self._transport:
            transport, self._transport = self._transport, None
            protocol = transport.get_protocol()
            assert isinstance(protocol, _Connection)
            protocol.let_go()
            transport.close()


def _launch_line(specs: list[bytes]) -> bytes:
    return b'{"op":"launch","specs":[' + b",".join(specs) + b"]}\n"


class _Connection(asyncio.Protocol):
    def __init__(
        self,
        hello: dict[str, Any],
        on_greeting: Callable[[asyncio.Transport, dict[str, Any]], None],
        on_news: OnMessage,
        on_lost: Callable[[], None],
    ) -> None:
        self.greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hello = hello
        self._decoder = wire.Decoder()
        self._on_greeting = on_greeting
        self._on_news = on_news
        self._on_lost: Callable[[], None] | None = on_lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(wire.encode(self._hello))

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._decoder.feed(data):
                if self.greeted.done():
                    self._on_news(message)
                elif "hello" in message:
                    self._greet(message)
        except wire.WireError:
            # What it said is lost, and so is what we know: all is asked for anew on the next connection.
            self._transport.abort()

    def _greet(self, message: dict[str, Any]) -> None:
        try:
            self._on_greeting(self._transport, message)
        except ClusterError as error:
            self._on_lost = None
            self.greeted.set_exception(error)
        else:
            self.greeted.set_result(None)

    def let_go(self) -> None:
        self._on_lost = None

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.greeted.done():
            self.greeted.set_exception(ConnectionResetError("it hung up"))
        elif self._on_lost:
            on_lost, self._on_lost = self._on_lost, None
            on_lost()
