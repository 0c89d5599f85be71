"""Aggregated logs as Hadoop's clients read them: a TFile (`org.apache.hadoop.io.file.tfile`) that lies nowhere.

Its length, and which of its bytes come from which log, follow from the logs' names and sizes alone. So it is laid out
first, and what is asked for is read from the logs as they are. Nothing is compressed, and each record is a block.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Source = TypeVar("Source")

_MAGIC = bytes.fromhex("d111d36891b5d7b639df414092bae150")
#: Of the block file and of the TFile in it: 1.0.
_VERSION = struct.pack(">hh", 1, 0)
_UNPACKED = "none"
#: What one chunk of a value holds at most; its length is an int of Java's.
_CHUNK_BYTES = 1 << 30
#: Before how containers' values are written (AggregatedLogFormat.VERSION).
_LOGS_VERSION = struct.pack(">i", 1)
_TEXT_BYTES = 65535


@dataclass(frozen=True, slots=True)
class Piece(Generic[Source]):
    """So many bytes of ``source`` from ``offset`` on."""

    source: Source
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Log(Generic[Source]):
    """One log of a container."""

    name: str
    size: int
    source: Source


class TFile(Generic[Source]):
    """The logs of one node's containers, for ``owner``."""

    def __init__(self, owner: str, containers: Iterable[tuple[str, Sequence[Log[Source]]]]) -> None:
        self._parts: list[bytes | Piece[Source]] = [_MAGIC]
        self.size = len(_MAGIC)
        keys: list[bytes] = []
        regions: list[tuple[int, int]] = []

        def record(key: str, parts: Sequence[bytes | Piece[Source]]) -> None:
            keys.append(_text(key))
            begin = self.size
            self._add(_number(len(keys[-1])) + keys[-1])
            for part in parts:
                length = len(part) if isinstance(part, bytes) else part.size
                # Below zero: more of the value follows.
                self._add(_number(-length))
                self._add(part)
            self._add(_number(0))
            regions.append((begin, self.size - begin))

        record("VERSION", [_LOGS_VERSION])
        record("APPLICATION_OWNER", [_text(owner)])
        for name, logs in containers:
            record(name, [part for log in logs for part in _value(log)])
        self._end(keys, regions)

    def _end(self, keys: Sequence[bytes], regions: Sequence[tuple[int, int]]) -> None:
        first = _number(len(keys[0])) + keys[0]
        entries = [_number(len(key)) + key + _number(1) for key in keys]
        index = b"".join(_number(len(one)) + one for one in (first, *entries))
        metas = {
            "BCFile.index": _string(_UNPACKED) + _number(len(regions)) + b"".join(_region(*one) for one in regions),
            "TFile.index": index,
            # In no order, as they come.
            "TFile.meta": _VERSION + _number(len(keys)) + _string(""),
        }
        table = _number(len(metas))
        for name, data in metas.items():
            table += _string(f"data:{name}") + _string(_UNPACKED) + _region(self.size, len(data))
            self._add(data)
        table_at = self.size
        self._add(table + struct.pack(">q", table_at) + _VERSION + _MAGIC)

    def _add(self, part: bytes | Piece[Source]) -> None:
        size = len(part) if isinstance(part, bytes) else part.size
        if size:
            self._parts.append(part)
            self.size += size

    def read(self, offset: int, size: int) -> Iterator[bytes | Piece[Source]]:
        """What stands there, in order, as bytes and as pieces of logs."""
        end = min(self.size, offset + size)
        at = 0
        for part in self._parts:
            length = len(part) if isinstance(part, bytes) else part.size
            begin, stop = max(offset - at, 0), min(end - at, length)
            if begin < stop:
                if isinstance(part, bytes):
                    yield part[begin:stop]
                else:
                    yield Piece(part.source, part.offset + begin, stop - begin)
            at += length
            if at >= end:
                return


def _value(log: Log[Source]) -> Iterator[bytes | Piece[Source]]:
    """Of one log in its container's value: its name and its length in digits, then what it holds."""
    yield _text(log.name) + _text(str(log.size))
    for offset in range(0, log.size, _CHUNK_BYTES):
        yield Piece(log.source, offset, min(_CHUNK_BYTES, log.size - offset))


def _number(value: int) -> bytes:
    """As `Utils.writeVLong`; readers take more bytes than are needed."""
    if -32 <= value < 128:
        return struct.pack(">b", value)
    if -(1 << 31) <= value < 1 << 31:
        return struct.pack(">bi", -125, value)
    return struct.pack(">bq", -121, value)


def _string(text: str) -> bytes:
    data = text.encode()
    return _number(len(data)) + data


def _text(text: str) -> bytes:
    """As DataOutput.writeUTF; what that writes in another way than UTF-8 does becomes a question mark."""
    data = "".join(char if 0 < ord(char) < 0x10000 else "?" for char in text).encode()[:_TEXT_BYTES]
    return struct.pack(">H", len(data)) + data


def _region(offset: int, size: int) -> bytes:
    """Where a block is, and how long, packed and unpacked."""
    return _number(offset) + _number(size) + _number(size)
