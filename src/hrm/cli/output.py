"""What commands print: tables for people, JSON and YAML for programs.

On a terminal a table is Rich's and fits its width; in a pipe it is plain text with nothing cut off.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any
from unicodedata import east_asian_width

import typer

from hrm.model.resources import GPUS, MEMORY, VCORES
from hrm.model.units import LARGEST, format_duration, format_milli, short_memory

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
#: What is not torn apart where a line is broken: spaces, a word, one character of Chinese; and what begins no line.
_WIDE = r"\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef"
_PIECES = re.compile(rf"\s+|[{_WIDE}]|[^\s{_WIDE}]+")
_NEVER_FIRST = frozenset("，；：。、）")
_GAP = "  "
_MIN_WIDTH = 4
_STYLES = {"RUNNING": "green", "FAILED": "red", "LOST": "red", "UNHEALTHY": "red", "KILLED": "yellow"}


class Output(StrEnum):
    """How a command prints what it has found."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


OutputOption = Annotated[Output, typer.Option("--output", "-o", metavar="FORM", help="table, json or yaml.")]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its title, and how its cell is made from a report."""

    title: str
    value: Callable[[Any], str]
    right: bool = False
    #: True iff it may be cut off where the terminal is narrow.
    shrinks: bool = False
    #: Above 0: left out where the terminal is narrow, the highest first, before anything is cut off.
    leaves: int = 0
    #: True iff on a terminal it has a line of its own below the row, where it says anything ("-" does not).
    below: bool = False


def show(data: Any, output: Output) -> None:
    """Print reports (or anything made of plain values) as JSON or YAML."""
    import msgspec

    if output is Output.YAML:
        import yaml

        print(yaml.safe_dump(msgspec.to_builtins(data), sort_keys=False, allow_unicode=True), end="")
    else:
        print(msgspec.json.format(msgspec.json.encode(data), indent=2).decode())


def show_list(rows: Sequence[Any], columns: Sequence[Column], output: Output) -> None:
    """Print ``rows`` in the form asked for."""
    if output is not Output.TABLE:
        show(rows, output)
        return
    cells = [[clean(column.value(row)) for column in columns] for row in rows]
    if sys.stdout.isatty():
        _show_on_terminal(cells, columns)
    else:
        _show_plain(cells, columns)


def note(text: str) -> None:
    """Say something beside the result: on stderr, so that it never gets into a pipe."""
    print(text, file=sys.stderr)


def clean(text: str) -> str:
    """Without characters that would break a line or steer the terminal: what users and programs wrote is shown."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def cell_width(text: str) -> int:
    """Cells of a terminal that it takes: a character of Chinese takes two."""
    return sum(2 if east_asian_width(one) in "WF" else 1 for one in text)


def wrapped(text: str, width: int, indent: str = "") -> str:
    """In lines of at most ``width`` cells, broken at spaces and around characters of Chinese."""
    lines, line, used, pending = [], "", 0, ""
    for piece in _PIECES.findall(text):
        if piece.isspace() and line.strip():
            pending = piece
            continue
        size = cell_width(pending + piece)
        if line.strip() and used + size > width and piece not in _NEVER_FIRST:
            lines.append(line)
            line, pending, size = indent, "", cell_width(piece)
            used = cell_width(indent)
        line, used, pending = line + pending + piece, used + size, ""
    return "\n".join([*lines, line])


def show_amounts(amounts: Mapping[str, int] | None, *, virtual: bool = False) -> str:
    """``2 cpu 4G 1 gpu``; "-" for nothing, for none and for no limit. ``virtual``: its GPUs are."""
    if amounts is None:
        return "-"
    named = {name: amount for name, amount in amounts.items() if 0 < amount < LARGEST}
    parts = []
    if vcores := named.pop(VCORES, 0):
        parts.append(f"{format_milli(vcores)} cpu")
    if memory := named.pop(MEMORY, 0):
        parts.append(short_memory(memory))
    if gpus := named.pop(GPUS, 0):
        parts.append(f"{format_milli(gpus)} {'virtual gpu' if virtual else 'gpu'}")
    parts += [f"{amount} {name}" for name, amount in named.items()]
    return " ".join(parts) or "-"


def show_used(used: Mapping[str, int], total: Mapping[str, int], name: str) -> str:
    """``1.5/4``: how much of one resource is used; "-" where there is none of it."""
    whole = total.get(name, 0)
    if not whole:
        return "-"
    show_one = short_memory if name == MEMORY else format_milli
    return f"{show_one(used.get(name, 0))}/{show_one(whole)}"


def show_time(at: float | None) -> str:
    """``14:03:07`` today, ``11-23 14:03`` on another day; "-" for none."""
    if at is None:
        return "-"
    then, now = time.localtime(at), time.localtime()
    return time.strftime("%H:%M:%S" if then[:3] == now[:3] else "%m-%d %H:%M", then)


def show_span(started_at: float | None, ended_at: float | None) -> str:
    """How long something ran, or has been running; "-" if it has not begun."""
    if started_at is None:
        return "-"
    return format_duration(max(0.0, (time.time() if ended_at is None else ended_at) - started_at))


def _show_plain(cells: list[list[str]], columns: Sequence[Column]) -> None:
    titles = [column.title for column in columns]
    widths = [max(cell_width(row[i]) for row in [titles, *cells]) for i in range(len(columns))]
    for row in [titles, *cells]:
        padded = []
        for text, width, column in zip(row, widths, columns, strict=True):
            space = " " * (width - cell_width(text))
            padded.append(space + text if column.right else text + space)
        print(_GAP.join(padded).rstrip())


def _show_on_terminal(cells: list[list[str]], columns: Sequence[Column]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    titles = [Text(column.title, style="bold") for column in columns]
    rows = [[Text(text, style=_STYLES.get(text, "")) for text in row] for row in cells]
    natural = [max(row[i].cell_len for row in [titles, *rows]) for i in range(len(columns))]
    in_line = [index for index, column in enumerate(columns) if not column.below]
    shown = _with_room([(index, natural[index], columns[index].leaves) for index in in_line], console.width)
    available = console.width - len(_GAP) * (len(shown) - 1)
    widths = fitted([natural[i] for i in shown], [columns[i].shrinks for i in shown], available)
    for row in [titles, *rows]:
        for index, width in zip(shown, widths, strict=True):
            row[index].truncate(width, overflow="ellipsis")
            row[index].align("right" if columns[index].right else "left", width)
        line = Text(_GAP).join(row[index] for index in shown)
        line.rstrip()
        console.print(line)
        for index, column in enumerate(columns):
            if column.below and row is not titles and row[index].plain != "-":
                console.print(Text(_GAP * 2) + row[index])
    if left_out := [columns[index].title for index in in_line if index not in shown]:
        note(f"for want of width without {', '.join(left_out)}: -o json has all")


def _with_room(columns: list[tuple[int, int, int]], width: int) -> list[int]:
    """Those that stay, of (index, width, when it leaves): one after the other goes until nothing must be cut off."""
    staying = list(columns)
    while sum(one[1] + len(_GAP) for one in staying) - len(_GAP) > width:
        last = max(staying, key=lambda one: one[2])
        if not last[2]:
            break
        staying.remove(last)
    return [index for index, _, _ in staying]


def fitted(widths: Sequence[int], shrinks: Sequence[bool], available: int) -> list[int]:
    """Widths that together fit: the widest column that may shrink does, down to `_MIN_WIDTH`."""
    fitting = list(widths)
    candidates = [index for index, may in enumerate(shrinks) if may]
    while candidates and sum(fitting) > available:
        widest = max(candidates, key=fitting.__getitem__)
        if fitting[widest] <= _MIN_WIDTH:
            break
        fitting[widest] -= 1
    return fitting
