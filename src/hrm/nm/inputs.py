"""Feeding containers: the write ends of their input FIFOs."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

from hrm.model.errors import ClusterError, NotFound
from hrm.nm.shepherd import records


class Inputs:
    """The open inputs of one node's containers."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / records.INPUTS
        self._open: dict[str, _Input] = {}

    async def write(self, container_id: str, data: bytes) -> None:
        """Feed a container; waits while it does not read. What it does not want is swallowed.

        Raises NotFound if it takes no input (any more).
        """
        feed = self._open.get(container_id)
        if feed is None:
            fd = _open_fifo(self._folder / container_id)
            if fd is None:
                return
            feed = self._open[container_id] = _Input(fd)
        await feed.write(data)

    def close(self, container_id: str) -> None:
        """Let go of it; who waits to write to it is let go too."""
        if feed := self._open.pop(container_id, None):
            feed.close()

    def close_all(self) -> None:
        for container_id in list(self._open):
            self.close(container_id)


class _Input:
    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._turn = asyncio.Lock()
        self._room: asyncio.Future[None] | None = None

    async def write(self, data: bytes) -> None:
        async with self._turn:
            while data and self._fd >= 0:
                try:
                    data = data[os.write(self._fd, data) :]
                except BlockingIOError:
                    await self._wait_for_room()
                except BrokenPipeError:
                    return

    async def _wait_for_room(self) -> None:
        loop = asyncio.get_running_loop()
        room = self._room = loop.create_future()
        loop.add_writer(self._fd, _resolve, room)
        try:
            await room
        finally:
            if self._fd >= 0:
                loop.remove_writer(self._fd)

    def close(self) -> None:
        if self._room:
            asyncio.get_running_loop().remove_writer(self._fd)
            _resolve(self._room)
        os.close(self._fd)
        self._fd = -1


def _resolve(room: asyncio.Future[None]) -> None:
    if not room.done():
        room.set_result(None)


def _open_fifo(path: Path) -> int | None:
    """The write end; None if nobody reads the other."""
    try:
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(f"container {path.name} takes no input") from None
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        raise ClusterError(f"cannot write to container {path.name}: {error.strerror}") from None
