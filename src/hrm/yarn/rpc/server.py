"""One port that speaks Hadoop's RPC."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from collections.abc import Sequence

from hrm.yarn.calls import Service
from hrm.yarn.rpc.connection import Connection
from hrm.yarn.rpc.hub import Authentication, Hub
from hrm.yarn.rpc.limits import RpcLimits

_SWEEP_S = 1.0


class RpcServer:
    """Answers calls of all its services on one port. Make it on the loop that it is to run on."""

    def __init__(
        self,
        services: Sequence[Service],
        authentication: Authentication,
        limits: RpcLimits | None = None,
        *,
        sweep_s: float = _SWEEP_S,
    ) -> None:
        """``sweep_s``: how often it is looked after what has lasted too long."""
        self._loop = asyncio.get_running_loop()
        open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.hub = Hub(services, authentication, (limits or RpcLimits()).within(open_files), self._loop.time)
        self._sweep_s = sweep_s
        self._server: asyncio.Server | None = None
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self, listening: socket.socket) -> None:
        """Take connections from a bound socket, which is this server's to close from now on."""
        self._server = await self._loop.create_server(lambda: Connection(self.hub), sock=listening, backlog=512)
        self._sweeping = asyncio.create_task(self.hub.sweep(self._sweep_s))

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        assert self._server is not None, "it was not started"
        found: tuple[str, int] = self._server.sockets[0].getsockname()[:2]
        return found

    async def close(self) -> None:
        """End all connections and what they asked for."""
        if self._server is None or self._sweeping is None:
            return
        self._server.close()
        self._sweeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._sweeping
        for guest in list(self.hub.guests):
            guest.abort()
        self.hub.kept.close()
        await self._server.wait_closed()
        self._server = None
