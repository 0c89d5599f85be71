"""Takes what a server sends of a task's directory apart, as it comes."""

from __future__ import annotations

import io
from collections.abc import Generator, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from hrm.files.archive import Extracted, extract
from hrm.model.errors import ClusterError


def fetch(pieces: Generator[bytes, None, None], folder: Path, *, overwrite: bool) -> Extracted:
    """See `hrm.sdk.client.Client.fetch`."""
    with closing(pieces):
        try:
            return extract(io.BufferedReader(_Pieces(pieces), 1 << 20), folder, overwrite=overwrite)
        except OSError as error:
            raise ClusterError(f"cannot write below {folder}: {error.strerror or error}") from None


class _Pieces(io.RawIOBase):
    """Pieces as a file."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._left = self._left or next(self._pieces, b"")
        taken = self._left[: len(buffer)]
        buffer[: len(taken)] = taken
        self._left = self._left[len(taken) :]
        return len(taken)
