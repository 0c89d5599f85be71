"""CSV files with a header, read so that everything that is wrong is told at once, with file, line and column."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from hrm.config.documents import MAX_FINDINGS, BadDocument, Finding
from hrm.model.errors import InvalidInput
from hrm.model.units import LARGEST

Made = TypeVar("Made")


class Row:
    """One line: its cells by column, each checked when it is asked for."""

    def __init__(self, table: Table, line: int, cells: dict[str, str]) -> None:
        self.line = line
        self._table = table
        self._cells = cells

    def text(self, column: str, default: str | None = None) -> str:
        """As it stands. A column with a default may be missing."""
        if default is not None and column not in self._cells:
            return default
        cell = self._cells[column].strip()
        if not cell and default is None:
            self.wrong(column, "is empty")
        return cell

    def whole(self, column: str, *, least: int = 0, most: int = LARGEST, default: int | None = None) -> int:
        """A whole number in these bounds. With a default the column may be missing, or the cell empty."""
        cell = self._cells.get(column, "").strip()
        if not cell and default is not None:
            return default
        try:
            number = int(cell)
        except ValueError:
            self.wrong(column, f"not a whole number: {cell!r:.40}")
            return least
        if not least <= number <= most:
            bounds = f"between {least} and {most}" if most < LARGEST else f"at least {least}"
            self.wrong(column, f"must be {bounds}: {number}")
            return least
        return number

    def wrong(self, column: str, problem: str) -> None:
        """Note that a cell is wrong; whoever reads goes on."""
        self._table.wrong(self.line, column, problem)


class Table:
    """One CSV file. Findings are gathered while it is read."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        """``columns`` must be there; others may."""
        self._path = path
        self._columns = columns
        self._findings: list[Finding] = []

    def wrong(self, line: int, column: str, problem: str) -> None:
        """Add a finding. Raises BadDocument when there are so many that more would not help."""
        self._findings.append(Finding(str(self._path), line, column, problem))
        if len(self._findings) >= MAX_FINDINGS:
            raise BadDocument(self._findings)

    def read(self, make: Callable[[Row], Made]) -> list[Made]:
        """What ``make`` makes of each line.

        Raises BadDocument with all findings, InvalidInput where the file cannot be read or has no line at all.
        """
        try:
            with self._path.open(encoding="utf-8", newline="") as file:
                made = [make(row) for row in self._rows(file)]
        except OSError as error:
            raise InvalidInput(f"cannot read {self._path}: {error.strerror}", next_step="name another file") from None
        except UnicodeDecodeError:
            raise InvalidInput(f"{self._path} is no text in UTF-8", next_step="a CSV file is wanted") from None
        if self._findings:
            raise BadDocument(self._findings)
        if not made:
            raise InvalidInput(f"{self._path} has no line below its header", next_step="is it whole?")
        return made

    def _rows(self, file: Iterator[str]) -> Iterator[Row]:
        reader = csv.reader(file)
        try:
            header = [name.strip() for name in next(reader, [])]
            if missing := [column for column in self._columns if column not in header]:
                problem = f"has no column {', '.join(missing)}; it begins with {','.join(header)!r:.80}"
                raise BadDocument([Finding(str(self._path), 1, "", problem)])
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(header):
                    last = header[min(len(cells), len(header)) - 1]
                    self.wrong(reader.line_num, last, f"ends here: {len(cells)} cells under {len(header)} columns")
                else:
                    yield Row(self, reader.line_num, dict(zip(header, cells, strict=True)))
        except csv.Error as error:
            self.wrong(reader.line_num, "", f"no CSV: {error}")
