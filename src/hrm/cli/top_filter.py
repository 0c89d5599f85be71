"""Which rows `hrm top` shows and where it jumps: what is typed after ``/`` and ``:``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from hrm.cli.top_view import Row

Matches = Callable[[Row], bool]


def row_filter(text: str) -> Matches:
    """A regular expression found anywhere in a row, in whichever case; ``!`` before it inverts.

    What is no regular expression (yet, while it is typed) is taken as it stands.
    """
    inverts = text.startswith("!")
    wanted = text[inverts:]
    if not wanted:
        return lambda row: True
    try:
        found = re.compile(wanted, re.IGNORECASE)
    except re.error:
        found = re.compile(re.escape(wanted), re.IGNORECASE)
    return lambda row: (found.search(" ".join(row.cells)) is None) is inverts


def jump_target(text: str, tabs: Sequence[tuple[str, Sequence[Row]]]) -> tuple[str, str | None] | None:
    """A tab by the beginning of its name, or else the row whose name is, or begins with, what was typed.

    Rows of the first tab in ``tabs`` come first. None iff there is nothing of that name.
    """
    wanted = text.strip().lower()
    if not wanted:
        return None
    if (tab := next((name for name, _ in tabs if name.startswith(wanted)), None)) is not None:
        return tab, None
    for same in (str.__eq__, str.startswith):
        for name, rows in tabs:
            for row in rows:
                if any(same(known.lower(), wanted) for known in (row.key, row.cells[0].strip())):
                    return name, row.key
    return None
