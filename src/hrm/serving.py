"""HTTP servers as parts of a process: sockets come open, and signals are the process's own business."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import uvicorn

from hrm.model.errors import ClusterError


class PartServer(uvicorn.Server):
    """Leaves signals to the process, which has more than a socket to close."""

    async def listen(self, listening: socket.socket) -> None:
        """Answer on one more socket from now on; it is closed with the others."""

        def protocol() -> asyncio.Protocol:
            kind: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
            return kind(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

        loop = asyncio.get_running_loop()
        self.servers.append(await loop.create_server(protocol, sock=listening, backlog=self.config.backlog))

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def served(config: uvicorn.Config, listening: Sequence[socket.socket], *, name: str) -> AsyncIterator[PartServer]:
    """Answer on all the sockets while the block runs. Raises ClusterError where the door ``name`` stays shut."""
    server = PartServer(config)
    running = asyncio.create_task(server.serve(sockets=[*listening]))
    while not server.started and not running.done():  # noqa: ASYNC110 (uvicorn offers a flag, no event)
        await asyncio.sleep(0.002)
    if running.done():
        running.result()
        raise ClusterError(f"{name} closed while it opened", next_step="see the log")
    try:
        yield server
    finally:
        server.should_exit = True
        await running
