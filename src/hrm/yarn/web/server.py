"""The HTTP server of YARN's door."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator

import uvicorn

from hrm.serving import PartServer, served
from hrm.yarn.web.site import Site

MAX_CONNECTIONS = 1000


@contextlib.asynccontextmanager
async def serving(site: Site, listening: socket.socket) -> AsyncIterator[PartServer]:
    """Answer while the block runs, at other sockets too that its server is given.

    Raises ClusterError where the port cannot be listened on.
    """
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
    try:
        async with served(config, [listening], name="YARN's REST door") as server:
            yield server
    finally:
        site.close()
