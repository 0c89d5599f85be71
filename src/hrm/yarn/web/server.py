"""The HTTP server of YARN's door."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn

from hrm.model.errors import ClusterError
from hrm.yarn.web.site import Site

MAX_CONNECTIONS = 1000


class _Uvicorn(uvicorn.Server):
    """Leaves signals to the process, which has more than a socket to close."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(site: Site, listening: socket.socket) -> AsyncIterator[None]:
    """Answer while the block runs. Raises ClusterError where the port cannot be listened on."""
    listening.listen(512)
    config = uvicorn.Config(
        site.app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        # Who asks is told by the socket; a header that says otherwise is the caller's word.
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=2,
    )
    server = _Uvicorn(config)
    running = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started and not running.done():  # noqa: ASYNC110 (uvicorn offers a flag, no event)
        await asyncio.sleep(0.002)
    if running.done():
        running.result()
        raise ClusterError("YARN's REST door closed while it opened", next_step="see the log")
    try:
        yield
    finally:
        server.should_exit = True
        await running
        site.close()
