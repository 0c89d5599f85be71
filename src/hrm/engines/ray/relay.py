"""A port on a machine of the cluster that leads to the server: for programs that look for it where they run."""

from __future__ import annotations

import asyncio

from hrm.model.errors import ClusterError

#: Connections at a time; the server has limits of its own.
MAX_OPEN = 1000
_CONNECT_S = 30.0
_PIECE_BYTES = 64 << 10


class Relay:
    """The agent's. It stays at its port while the agent lives, wherever the server is meanwhile."""

    def __init__(self) -> None:
        self._to = ("", 0)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def open(self, host: str, to: tuple[str, int]) -> tuple[str, int]:
        """Listen at ``host``, an address of this machine's, and pass on to ``to`` from now on; where it listens.

        Raises ClusterError.
        """
        self._to = to
        if self._server is None:
            try:
                self._server = await asyncio.start_server(self._accept, host, 0)
            except OSError as error:
                raise ClusterError(f"cannot listen on {host}: {error.strerror or error}") from None
        listening: tuple[str, int] = self._server.sockets[0].getsockname()[:2]
        return listening

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= MAX_OPEN:
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None, "it runs in one"
        self._open.add(task)
        try:
            async with asyncio.timeout(_CONNECT_S):
                theirs, ours = await asyncio.open_connection(*self._to)
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
