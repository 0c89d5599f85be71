"""A connection as the rooms hand it on: bytes both ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class ByteStream(Protocol):
    """One connection to a program. One task reads, one writes. Raises ClusterError where its node is out of reach."""

    async def read(self) -> bytes:
        """Some of what it says, as soon as there is any; b"" when it has said everything, or is gone."""

    async def write(self, data: bytes) -> None:
        """Waits while the program does not read. What a program that is gone leaves unread is dropped."""

    async def end(self) -> None:
        """Nothing more will be written; what it says is still read."""

    async def close(self) -> None:
        """Let go of it. No error if that was done before."""


class ContentSource(Protocol):
    """Where a node gets the contents of uploads from."""

    async def contents(self, user: str, digests: Sequence[str]) -> ByteStream:
        """Those of ``user``'s with these SHA-256 (or upload ids, for manifests), as a pack (`hrm.files.pack`).

        Raises NotFound and ClusterError, and so may its `read`.
        """
