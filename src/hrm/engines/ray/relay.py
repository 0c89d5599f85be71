"""Ports on a machine of the cluster that lead to the server: for programs that look for it where they run."""

from __future__ import annotations

import asyncio
from functools import partial

from hrm.model.errors import ClusterError

#: Connections at a time; the server has limits of its own.
MAX_OPEN = 1000
_CONNECT_S = 30.0
_PIECE_BYTES = 64 << 10


class Relay:
    """The agent's. It stays at its ports while the agent lives, wherever the server is meanwhile."""

    def __init__(self) -> None:
        self._to: dict[str, tuple[str, int]] = {}
        self._servers: dict[str, asyncio.Server] = {}
        self._open: set[asyncio.Task[None]] = set()

    async def open(self, host: str, to: tuple[str, int], purpose: str = "rpc") -> tuple[str, int]:
        """Listen at ``host``, an address of this machine's, and pass on to ``to`` from now on; where it listens.

        A port for each ``purpose``. Raises ClusterError.
        """
        self._to[purpose] = to
        if purpose not in self._servers:
            try:
                self._servers[purpose] = await asyncio.start_server(partial(self._accept, purpose), host, 0)
            except OSError as error:
                raise ClusterError(f"cannot listen on {host}: {error.strerror or error}") from None
        listening: tuple[str, int] = self._servers[purpose].sockets[0].getsockname()[:2]
        return listening

    async def _accept(self, purpose: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= MAX_OPEN:
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None, "it runs in one"
        self._open.add(task)
        try:
            async with asyncio.timeout(_CONNECT_S):
                theirs, ours = await asyncio.open_connection(*self._to[purpose])
        except (OSError, TimeoutError):
            writer.close()
        else:
            try:
                await asyncio.gather(_pump(reader, ours), _pump(theirs, writer))
            finally:
                ours.close()
                writer.close()
        finally:
            self._open.discard(task)


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """All bytes of one direction, and its end. Where one side is gone the other is ended."""
    try:
        while data := await source.read(_PIECE_BYTES):
            target.write(data)
            await target.drain()
        target.write_eof()
    except OSError:
        target.close()
