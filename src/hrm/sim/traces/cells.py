"""Cells that need more than a whole number, and tables that are no CSV: Parquet, and JSON in lines."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from hrm.config.documents import BadDocument, Finding
from hrm.model.errors import InvalidInput
from hrm.model.resources import Resources
from hrm.model.units import parse_memory_mib, parse_milli
from hrm.sim.traces.table import Row, Table

Made = TypeVar("Made")
_MAX_LINE = 1 << 20


def seconds(row: Row, column: str, default: float | None = None) -> float:
    """Zero or more; ``inf`` is a time that never ends. With a default the column may be missing or the cell empty."""
    cell = row.text(column, default=None if default is None else "")
    if not cell:
        return 0.0 if default is None else default
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if math.isnan(number):
        row.wrong(column, f"not a number: {cell!r:.40}")
        return 0.0
    if number < 0:
        row.wrong(column, f"cannot be negative: {cell:.40}")
        return 0.0
    return number


def resources(row: Row, *, cpus: str = "cpus", memory: str = "memory", gpus: str = "gpus") -> Resources:
    """From three columns in human forms (``0.5``, ``4G``); one that is missing or empty asks for nothing of it."""
    amounts: list[int] = []
    for column, parse in ((memory, parse_memory_mib), (cpus, parse_milli), (gpus, parse_milli)):
        cell = row.text(column, default="")
        try:
            amounts.append(parse(cell or 0, field=column))
        except InvalidInput as error:
            row.wrong(column, error.problem)
            amounts.append(0)
    found = Resources(amounts[0], amounts[1], amounts[2])
    if found.gpus_milli > 1000 and found.gpus_milli % 1000:
        row.wrong(gpus, f"a fraction of a GPU lies on one device: {found.gpus_milli / 1000:g}")
        return Resources(found.memory_mib, found.vcores_milli)
    if not found:
        row.wrong(cpus, "the line asks for nothing")
        return Resources(memory_mib=1)
    return found


class OtherTable(Table):
    """Rows that come as mappings from somewhere else than CSV."""

    def __init__(
        self, path: Path, columns: Iterable[str], rows: Callable[[OtherTable], Iterator[tuple[int, Mapping[str, Any]]]]
    ) -> None:
        super().__init__(path, tuple(columns))
        self._numbered = rows

    def read(self, make: Callable[[Row], Made]) -> list[Made]:
        """As of `Table`."""
        made = []
        for line, cells in self._numbered(self):
            missing = [column for column in self._columns if column not in cells]
            if missing:
                raise BadDocument([Finding(str(self._path), line, "", f"has no {', '.join(missing)}")])
            made.append(make(Row(self, line, {name: _cell(value) for name, value in cells.items()})))
        if self._findings:
            raise BadDocument(self._findings)
        if not made:
            raise InvalidInput(f"{self._path} has no rows", next_step="is it whole?")
        return made


def open_table(path: Path, columns: Iterable[str]) -> Table:
    """By the ending of the file's name: ``.parquet``, ``.jsonl``, else CSV."""
    if path.suffix == ".parquet":
        return OtherTable(path, columns, lambda table: _parquet(path))
    if path.suffix in (".jsonl", ".ndjson"):
        return OtherTable(path, columns, lambda table: _json_lines(path, table))
    return Table(path, tuple(columns))


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def _parquet(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise InvalidInput(
            f"{path}: reading Parquet needs pyarrow", next_step="pip install 'hrm[sim]', or convert it to CSV"
        ) from None
    try:
        table = parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise InvalidInput(f"{path}: cannot be read as Parquet: {error!s:.200}") from None
    yield from enumerate(table.to_pylist(), 1)


def _json_lines(path: Path, table: Table) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        with path.open("rb") as stream:
            for line, raw in enumerate(stream, 1):
                if not raw.strip():
                    continue
                try:
                    cells = json.loads(raw[:_MAX_LINE])
                except ValueError:
                    table.wrong(line, "", "no JSON: is the file whole?")
                    continue
                if isinstance(cells, dict):
                    yield line, cells
                else:
                    table.wrong(line, "", "must be an object, with a value for each column")
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}", next_step="name another file") from None
