"""Writes ``hrm.yaml`` with a comment beside each key, and remembers from which line of which file each key came."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from hrm.config.keys import KeyPath

_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
#: What YAML, of any version, takes for something else than text.
_WORDS = {"true", "false", "yes", "no", "on", "off", "y", "n", "null", "none", "never"}
_COMMENT_COLUMN = 44


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a key comes from."""

    source: str
    line: int
    #: As findings show it: ``research: maxResources``.
    name: str


@dataclass(slots=True)
class Entry:
    """One key: its value as text, or the block below it."""

    key: str
    value: str = ""
    comment: str = ""
    origin: Origin | None = None
    block: Block | None = None
    #: Lines of a list, each a value as text.
    items: Sequence[str] = ()
    #: True iff it is written as a comment: it does not count.
    off: bool = False


@dataclass(slots=True)
class Block:
    """A mapping, in the order in which its keys were put."""

    entries: list[Entry] = field(default_factory=list)

    def put(self, key: str, value: str, *, comment: str = "", origin: Origin | None = None, off: bool = False) -> None:
        self.entries.append(Entry(key, value, comment, origin, off=off))

    def put_list(self, key: str, items: Sequence[str], *, comment: str = "", origin: Origin | None = None) -> None:
        self.entries.append(Entry(key, "", comment, origin, items=items))

    def below(self, key: str, *, comment: str = "", origin: Origin | None = None) -> Block:
        """The block under a new key."""
        block = Block()
        self.entries.append(Entry(key, "", comment, origin, block=block))
        return block

    def has(self, key: str) -> bool:
        """True iff a key that counts has been put."""
        return any(entry.key == key and not entry.off for entry in self.entries)

    def sort(self, order: Sequence[str]) -> None:
        """Bring the keys into the order of ``order``; what is not in it goes last, as it was put."""
        places = {key: place for place, key in enumerate(order)}
        self.entries.sort(key=lambda entry: places.get(entry.key, len(places)))

    def lines(self, indent: str = "") -> Iterator[str]:
        for entry in self.entries:
            begin = f"{indent}{'# ' if entry.off else ''}{quoted(entry.key)}:"
            if entry.block is not None and not entry.block.entries:
                yield _commented(f"{begin} {{}}", entry.comment)
                continue
            yield _commented(f"{begin} {entry.value}".rstrip(), entry.comment)
            if entry.block is not None:
                yield from entry.block.lines(f"{indent}  ")
            for item in entry.items:
                yield f"{indent}  - {item}"

    def origins(self, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Origin]]:
        """Every key that came from a file, with its path."""
        for entry in self.entries:
            here = (*path, entry.key)
            if entry.origin is not None:
                yield here, entry.origin
            if entry.block is not None:
                yield from entry.block.origins(here)


def quoted(text: str) -> str:
    """``text`` as YAML reads it back: bare where that is safe, else in double quotes."""
    if _BARE.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return '"' + "".join(_escaped(char) for char in text) + '"'


def printable(text: str) -> str:
    """``text`` without characters that would end a line."""
    return "".join(char if char.isprintable() else " " for char in text)


def flow_list(items: Sequence[str]) -> str:
    """``[a, b]``."""
    return f"[{', '.join(quoted(item) for item in items)}]"


def flow_map(pairs: Sequence[tuple[str, str]]) -> str:
    """``{a: 1, b: 2}``; the values are YAML already."""
    return "{" + ", ".join(f"{quoted(key)}: {value}" for key, value in pairs) + "}"


def _escaped(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _commented(line: str, comment: str) -> str:
    if not comment:
        return line
    return f"{line:<{_COMMENT_COLUMN}}  # {printable(comment)}"
