"""Where something stands in a document, and what a wrong word was probably meant to be."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

KeyPath = tuple[str | int, ...]
_PART = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def show_path(path: KeyPath) -> str:
    """``queues.research.weight``, ``groups[2].cpus``."""
    shown = ""
    for part in path:
        if isinstance(part, int):
            shown += f"[{part}]"
        else:
            shown += f".{part}" if shown else str(part)
    return shown


def read_path(shown: str) -> KeyPath:
    """The path that `show_path` shows so; what has no brackets and dots of its own is one key."""
    return tuple(int(number) if number else key for key, number in _PART.findall(shown))


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that ``word`` was probably meant to be; None iff none is near."""
    found = difflib.get_close_matches(word.lower(), list(choices), n=1, cutoff=0.6)
    return found[0] if found else None


def suggest(word: str, choices: Iterable[str]) -> str:
    """A next step for a word that is none of ``choices``."""
    known = list(choices)
    if near := nearest(word, known):
        return f"did you mean {near!r}?"
    return f"one of {', '.join(known)}" if known else ""
