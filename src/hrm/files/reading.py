"""Pieces that a worker thread makes, as a connection on the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator


class PieceStream:
    """A `hrm.model.streams.ByteStream` that is only read: of ``pieces``, each made in a thread.

    ``close`` is called in a thread, once, whatever came before.
    """

    def __init__(self, pieces: Iterator[bytes], close: Callable[[], None] = lambda: None) -> None:
        self._pieces = pieces
        self._on_close = close
        self._turn = asyncio.Lock()
        self._closed = False

    async def read(self) -> bytes:
        """Raises what making a piece raises."""
        async with self._turn:
            return b"" if self._closed else await asyncio.to_thread(next, self._pieces, b"")

    async def write(self, data: bytes) -> None:
        """Nobody hears it."""

    async def end(self) -> None:
        """Nothing was to be written."""

    async def close(self) -> None:
        # A piece that is under way may hold what is let go of.
        async with self._turn:
            if not self._closed:
                self._closed = True
                await asyncio.to_thread(self._on_close)
