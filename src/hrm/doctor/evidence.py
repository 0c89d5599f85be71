"""Evidence from files and commands: the very line."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hrm.doctor.system import Output, System
from hrm.model.findings import Evidence

#: A line is shown no longer than this.
MAX_CHARACTERS = 300


def line_of(path: str, number: int, text: str) -> Evidence:
    """Line ``number`` (from 1) of a file."""
    return Evidence(path, _short(text), number)


def said(output: Output, pattern: str = "") -> Evidence:
    """The first line that a command printed, errors too, in which ``pattern`` (a regular expression) is found."""
    lines = [line for line in output.text.splitlines() if line.strip()]
    matching = next((line for line in lines if re.search(pattern, line)), lines[0] if lines else "")
    return Evidence(" ".join(output.argv), _short(matching.strip()) or _no_text(output))


def matching_lines(
    system: System, path: str, pattern: str, *, tail: bool = False
) -> Iterator[tuple[Evidence, re.Match[str]]]:
    """Lines of a file in which ``pattern`` is found, with what was found. Raises CannotSee. None where it is absent.

    With ``tail`` only the end of a long file is read; lines are not numbered then.
    """
    for number, line in enumerate((system.read(path, tail=tail) or "").splitlines(), 1):
        if found := re.search(pattern, line):
            yield Evidence(path, _short(line.strip()), None if tail else number), found


def _short(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}…"


def _no_text(output: Output) -> str:
    return "no answer in time" if output.timed_out else f"ended with {output.status}"
