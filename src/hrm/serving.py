"""HTTP servers as parts of a process: sockets come open, and signals are the process's own business."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator, Sequence

import uvicorn

from hrm.model.errors import ClusterError


class _PartServer(uvicorn.Server):
    """Leaves signals to the process, which has more than a socket to close."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def served(config: uvicorn.Config, listening: Sequence[socket.socket], *, name: str) -> AsyncIterator[None]:
    """Answer on all the sockets while the block runs. Raises ClusterError where the door ``name`` stays shut."""
    server = _PartServer(config)
    running = asyncio.create_task(server.serve(sockets=[*listening]))
    while not server.started and not running.done():  # noqa: ASYNC110 (uvicorn offers a flag, no event)
        await asyncio.sleep(0.002)
    if running.done():
        running.result()
        raise ClusterError(f"{name} closed while it opened", next_step="see the log")
    try:
        yield
    finally:
        server.should_exit = True
        await running
