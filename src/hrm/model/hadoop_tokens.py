"""Hadoop's file of tokens: what programs for YARN prove themselves by (``HADOOP_TOKEN_FILE_LOCATION``).

Hadoop's ``Credentials`` in its first form: ``HDTS``, a version byte 0, then a count of tokens (name, identifier,
password, kind, service) and a count of secret keys (name, bytes). Counts and lengths are the variable-length integers
of ``WritableUtils``. The server's tokens are put before the submitter's: those of the same name win.
"""

from __future__ import annotations

from hrm.model.errors import InvalidInput

_MAGIC = b"HDTS"
_WRITABLE = 0
_MOST = 10_000


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        if size < 0 or self.at + size > len(self._data):
            raise InvalidInput("they are cut short, or are none", field="tokens")
        self.at += size
        return self._data[self.at - size : self.at]

    def number(self) -> int:
        """An integer of ``WritableUtils.readVLong``."""
        first = int.from_bytes(self.take(1), "big", signed=True)
        if first >= -112:
            return first
        negative = first < -120
        value = int.from_bytes(self.take((-119 if negative else -111) - first - 1), "big")
        return ~value if negative else value

    def block(self) -> bytes:
        """A length, and so many bytes; with the length."""
        begin = self.at
        self.take(self.number())
        return self._data[begin : self.at]


def _number(value: int) -> bytes:
    """As ``WritableUtils.writeVLong`` writes it; not negative."""
    if value <= 127:
        return bytes([value])
    size = (value.bit_length() + 7) // 8
    return (-112 - size).to_bytes(1, "big", signed=True) + value.to_bytes(size, "big")


def merged(*files: bytes) -> bytes:
    """One file with what all of these hold; of tokens or keys of one name the first. Raises InvalidInput."""
    tokens: dict[bytes, bytes] = {}
    secrets: dict[bytes, bytes] = {}
    for data in files:
        if not data:
            continue
        reader = _Reader(data)
        if reader.take(4) != _MAGIC or (version := reader.take(1)[0]) != _WRITABLE:
            what = f"version {version}" if data.startswith(_MAGIC) else "no file of tokens"
            raise InvalidInput(f"they are not in Hadoop's first form ({what})", field="tokens")
        for _ in range(_count(reader)):
            alias = reader.block()
            tokens.setdefault(alias, b"".join(reader.block() for _ in range(4)))
        for _ in range(_count(reader)):
            alias = reader.block()
            secrets.setdefault(alias, reader.block())
    body = b"".join(
        _number(len(some)) + b"".join(alias + one for alias, one in some.items()) for some in (tokens, secrets)
    )
    return _MAGIC + bytes([_WRITABLE]) + body


def _count(reader: _Reader) -> int:
    count = reader.number()
    if not 0 <= count <= _MOST:
        raise InvalidInput(f"they are none: {count} of them", field="tokens")
    return count
