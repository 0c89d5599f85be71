"""The agent's end of what comes of uploads from the server, by the mailbox that is there.

The agent tells what it wants and of whom; the server sends it, piece by piece, each after the one before was taken. A
new session begins with neither: what waits for files is asked for anew then.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence

from hrm.model.errors import ClusterError
from hrm.model.streams import ByteStream

#: Pieces that wait to be taken.
_AHEAD = 2
#: How long a piece waits to be taken before its transfer is given up.
_TAKEN_S = 60.0


class Wanted:
    """The agent's end (`hrm.model.streams.ContentSource`)."""

    def __init__(self, tell: Callable[[int, str, list[str]], None]) -> None:
        self._tell = tell
        self._numbers = itertools.count(1)
        self._coming: dict[int, _Coming] = {}

    async def contents(self, user: str, digests: Sequence[str]) -> ByteStream:
        number = next(self._numbers)
        coming = self._coming[number] = _Coming(lambda: self._coming.pop(number, None))
        self._tell(number, user, [*digests])
        return coming

    async def supply(self, number: int, data: bytes, problem: str) -> bool:
        """The next piece, b"" at the end; ``problem`` says that no more comes, and why. False: it is not wanted."""
        coming = self._coming.get(number)
        if coming is None:
            return False
        try:
            async with asyncio.timeout(_TAKEN_S):
                await coming.pieces.put(ClusterError(problem) if problem else data)
        except TimeoutError:
            return False
        return number in self._coming

    def forget(self) -> None:
        """Nothing more comes of what was wanted."""
        for coming in [*self._coming.values()]:
            coming.break_off()


class _Coming:
    def __init__(self, forget: Callable[[], object]) -> None:
        self.pieces: asyncio.Queue[bytes | ClusterError] = asyncio.Queue(_AHEAD)
        self._forget = forget
        self._broken = asyncio.Event()

    async def read(self) -> bytes:
        """Raises ClusterError."""
        taking = asyncio.ensure_future(self.pieces.get())
        broken = asyncio.ensure_future(self._broken.wait())
        try:
            await asyncio.wait({taking, broken}, return_when=asyncio.FIRST_COMPLETED)
            if not taking.done():
                raise ClusterError("the line to the server broke off")
            piece = taking.result()
        finally:
            taking.cancel()
            broken.cancel()
        if isinstance(piece, ClusterError):
            raise piece
        return piece

    async def write(self, data: bytes) -> None:
        """Nobody hears it."""

    async def end(self) -> None:
        """Nothing was to be written."""

    async def close(self) -> None:
        self._forget()

    def break_off(self) -> None:
        self._broken.set()
        self._forget()
