"""The form in which contents travel, from clients to the server and on to nodes: one after another, each with its hash.

A pack is a row of pieces: 32 bytes of SHA-256, 8 bytes of length (big-endian), then so many bytes. Nothing but
`BlobStore.receiver` believes what it says: there the hash is worked out anew.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO

from hrm.files.manifest import is_digest
from hrm.model.errors import InvalidInput

_HEADER = struct.Struct(">32sQ")
#: Bytes that are read and passed on at a time.
PIECE_BYTES = 1 << 20


def pack(contents: Iterable[tuple[str, int, Callable[[], AbstractContextManager[BinaryIO]]]]) -> Iterator[bytes]:
    """Of (hash, size, how it is opened). Small ones are put together, so that a thousand do not take a thousand sends.

    Raises OSError, and InvalidInput where a file is not as long any more.
    """
    waiting = bytearray()
    for digest, size_bytes, open_content in contents:
        waiting += _HEADER.pack(bytes.fromhex(digest), size_bytes)
        left = size_bytes
        with open_content() as file:
            while left:
                data = file.read(min(PIECE_BYTES, left))
                if not data:
                    raise InvalidInput(f"content {digest[:12]} became shorter while it was read")
                left -= len(data)
                waiting += data
                if len(waiting) >= PIECE_BYTES:
                    yield bytes(waiting)
                    waiting.clear()
    if waiting:
        yield bytes(waiting)


class Unpacker:
    """Takes a pack apart as it comes: ``begin(hash, size)``, ``more(bytes)`` and ``end()`` are called in turn."""

    def __init__(
        self, begin: Callable[[str, int], None], more: Callable[[bytes], None], end: Callable[[], None]
    ) -> None:
        self._begin, self._more, self._end = begin, more, end
        self._header = bytearray()
        #: Of the content that is under way; None before its header is whole.
        self._left: int | None = None

    def feed(self, data: bytes) -> None:
        """The next bytes. Raises what the three raise."""
        view = memoryview(data)
        while view:
            if self._left is None:
                taken = view[: _HEADER.size - len(self._header)]
                self._header += taken
                view = view[len(taken) :]
                if len(self._header) < _HEADER.size:
                    return
                digest, self._left = _HEADER.unpack(self._header)
                self._header.clear()
                assert is_digest(digest.hex())
                self._begin(digest.hex(), self._left)
            else:
                taken = view[: self._left]
                self._more(bytes(taken))
                self._left -= len(taken)
                view = view[len(taken) :]
            if self._left == 0:
                self._left = None
                self._end()

    def finish(self) -> None:
        """Nothing follows. Raises InvalidInput in the middle of a content."""
        if self._left is not None or self._header:
            raise InvalidInput("the upload broke off", next_step="upload it again: what came is kept")
