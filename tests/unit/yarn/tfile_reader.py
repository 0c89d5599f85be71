"""Reads a TFile of aggregated logs from its end, as Hadoop's reader does."""

from __future__ import annotations

import io
import struct

MAGIC = bytes.fromhex("d111d36891b5d7b639df414092bae150")
RESERVED = ("VERSION", "APPLICATION_OWNER", "APPLICATION_ACL")


class Bytes(io.BytesIO):
    def unpacked(self, form: str) -> int:
        (value,) = struct.unpack(f">{form}", self.read(struct.calcsize(f">{form}")))
        return int(value)

    def number(self) -> int:
        first = self.unpacked("b")
        if first >= -32:
            return first
        kind = (first + 128) // 8
        if kind >= 7:
            return (first + 52) << 8 | self.unpacked("B")
        if kind >= 3:
            return (first + 88) << 16 | self.unpacked("H")
        if kind >= 1:
            return (first + 112) << 24 | self.unpacked("H") << 8 | self.unpacked("B")
        return int.from_bytes(self.read(first + 129), "big", signed=True)

    def string(self) -> str:
        return self.read(self.number()).decode()

    def text(self) -> str:
        return self.read(self.unpacked("H")).decode()

    def at_end(self) -> bool:
        return self.tell() == len(self.getbuffer())


def logs_of(data: bytes) -> dict[str, dict[str, bytes]]:
    """By container, by name. Raises AssertionError for what is none."""
    assert data.startswith(MAGIC) and data.endswith(MAGIC)
    tail = Bytes(data[-len(MAGIC) - 12 :])
    table = Bytes(data[tail.unpacked("q") :])
    assert (tail.unpacked("h"), tail.unpacked("h")) == (1, 0)
    metas = {}
    for _ in range(table.number()):
        name = table.string()
        assert table.string() == "none"
        metas[name] = Bytes(_region(table, data))
    blocks = metas["data:BCFile.index"]
    assert blocks.string() == "none"
    regions = [_region(blocks, data) for _ in range(blocks.number())]
    about = metas["data:TFile.meta"]
    assert (about.unpacked("h"), about.unpacked("h"), about.number(), about.string()) == (1, 0, len(regions), "")
    index = metas["data:TFile.index"]
    first = Bytes(index.read(index.number()))
    keys = [first.read(first.number())]
    for _ in regions:
        entry = Bytes(index.read(index.number()))
        keys.append(entry.read(entry.number()))
        assert entry.number() == 1 and entry.at_end()
    assert index.at_end() and keys[0] == keys[1]
    found = {}
    for region, key in zip(regions, keys[1:], strict=True):
        block = Bytes(region)
        assert block.read(block.number()) == key
        value = Bytes(_chunks(block))
        assert block.at_end()
        name = Bytes(key).text()
        if name in RESERVED:
            continue
        logs = found[name] = {}
        while not value.at_end():
            log = value.text()
            logs[log] = value.read(int(value.text()))
    return found


def _region(source: Bytes, data: bytes) -> bytes:
    offset, packed, unpacked = source.number(), source.number(), source.number()
    assert packed == unpacked
    return data[offset : offset + packed]


def _chunks(block: Bytes) -> bytes:
    value = b""
    while True:
        size = block.number()
        value += block.read(abs(size))
        if size >= 0:
            return value
