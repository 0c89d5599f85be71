"""Hadoop's Writables, as far as credentials need them: numbers of changing length, texts, byte strings.

A number from -112 to 127 is one byte. For others the first byte says how many follow, and their sign: -113 to -120 for
one to eight bytes of a number above, -121 to -128 of the complement of one below zero (Hadoop's `WritableUtils`).
"""

from __future__ import annotations

_SMALLEST_OF_ONE_BYTE = -112
_NEGATIVE = -120


class BadWritable(ValueError):
    """Bytes that end too early, or mean nothing."""


class Reader:
    """Takes values from the beginning of ``data``, in order. What is left at the end is nobody's business."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def rest(self) -> bytes:
        return self._data[self._at :]

    def take(self, length: int) -> bytes:
        """Raises BadWritable where there are not so many bytes, as all of these do."""
        end = self._at + length
        if length < 0 or end > len(self._data):
            raise BadWritable(f"{length} bytes are needed at {self._at}, and there are {len(self._data) - self._at}")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def number(self) -> int:
        first = int.from_bytes(self.take(1), "big", signed=True)
        if first >= _SMALLEST_OF_ONE_BYTE:
            return first
        below_zero = first < _NEGATIVE
        value = int.from_bytes(self.take(_NEGATIVE - first if below_zero else _SMALLEST_OF_ONE_BYTE - first), "big")
        return ~value if below_zero else value

    def count(self) -> int:
        number = self.number()
        if number < 0:
            raise BadWritable(f"a count below zero: {number}")
        return number

    def data(self) -> bytes:
        return self.take(self.count())

    def text(self) -> str:
        try:
            return self.data().decode("utf-8")
        except UnicodeDecodeError:
            raise BadWritable("a text that is no UTF-8") from None


def write_number(value: int) -> bytes:
    """Raises OverflowError beyond 64 bits."""
    if _SMALLEST_OF_ONE_BYTE <= value <= 127:
        return value.to_bytes(1, "big", signed=True)
    first, magnitude = (_SMALLEST_OF_ONE_BYTE, value) if value >= 0 else (_NEGATIVE, ~value)
    length = (magnitude.bit_length() + 7) // 8
    return (first - length).to_bytes(1, "big", signed=True) + magnitude.to_bytes(length, "big")


def write_data(value: bytes) -> bytes:
    return write_number(len(value)) + value


def write_text(value: str) -> bytes:
    return write_data(value.encode("utf-8"))
