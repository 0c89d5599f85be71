"""Rows of `hrm.rm.records` to the columns of their tables, and back.

How a field is written follows from its type, so a new field needs a column and a revision but nothing here.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from dataclasses import replace as dataclass_replace
from enum import StrEnum
from functools import partial
from operator import attrgetter
from typing import Any, Generic, TypeVar

import msgspec
import sqlalchemy as sa
from msgspec.structs import fields, replace

from hrm.model.containers import Preemption
from hrm.model.resources import Resources
from hrm.rm.records import Row
from hrm.rm.store.schema import TABLES

R = TypeVar("R", bound=Row)
_Convert = Callable[[Any], Any]

_RESOURCE_COLUMNS = ("memory_mib", "vcores_milli", "gpus_milli", "other_resources")
_encode_json = msgspec.json.Encoder().encode


class Codec(Generic[R]):
    """Of one row type. ``key`` gives a row's key: a tuple, or the value itself where the key is one column."""

    def __init__(self, row_type: type[R], table: sa.Table) -> None:
        self.row_type = row_type
        self.table = table
        hints = typing.get_type_hints(row_type)
        self._names = tuple(field.name for field in fields(row_type))
        self._values = attrgetter(*self._names)
        self.key: Callable[[R], Any] = attrgetter(*(column.name for column in table.primary_key))
        self._resources_at: int | None = None
        self._encoders: list[tuple[int, _Convert]] = []
        self._decoders: list[tuple[int, _Convert]] = []
        columns: list[str] = []
        for at, name in enumerate(self._names):
            if hints[name] is Resources:
                self._resources_at = at
                columns += _RESOURCE_COLUMNS
                continue
            columns.append(name)
            if conversion := _conversion(hints[name]):
                self._encoders.append((at, conversion[0]))
                self._decoders.append((at, conversion[1]))
        #: In the order of `encode`.
        self.columns = tuple(columns)

    def encode(self, row: R) -> Sequence[Any]:
        """Values in the order of ``columns``."""
        values = list(self._values(row))
        for at, convert in self._encoders:
            if (value := values[at]) is not None:
                values[at] = convert(value)
        if (at_resources := self._resources_at) is not None:
            resources: Resources = values[at_resources]
            values[at_resources : at_resources + 1] = (
                resources.memory_mib,
                resources.vcores_milli,
                resources.gpus_milli,
                _to_json(resources.others) if resources.others else None,
            )
        return values

    def decode(self, columns: Sequence[Any]) -> R:
        """The row whose columns these are, in the order of ``columns``."""
        values = list(columns)
        if (at_resources := self._resources_at) is not None:
            memory_mib, vcores_milli, gpus_milli, others = values[at_resources : at_resources + 4]
            named = tuple((name, amount) for name, amount in msgspec.json.decode(others)) if others else ()
            values[at_resources : at_resources + 4] = (Resources(memory_mib, vcores_milli, gpus_milli, named),)
        for at, convert in self._decoders:
            if (value := values[at]) is not None:
                values[at] = convert(value)
        return self.row_type(**dict(zip(self._names, values, strict=True)))

    def selection(self) -> list[sa.Column[Any]]:
        """The columns to select for `decode`."""
        return [self.table.c[name] for name in self.columns]


def _conversion(hint: Any) -> tuple[_Convert, _Convert] | None:
    """How to write and read a field of this type; None if as it is. What is None stays None."""
    if isinstance(hint, types.UnionType):
        hint = next(member for member in typing.get_args(hint) if member is not type(None))
    origin = typing.get_origin(hint)
    if origin is tuple:
        return _to_json, _tuple_from_json
    if origin is dict:
        return _to_json, msgspec.json.decode
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return attrgetter("value"), hint
    if is_dataclass(hint):
        return _to_json, partial(msgspec.json.decode, type=hint)
    return None


def without_unwritable(row: R) -> R:
    """The row with what no database can hold as text (lone surrogates, NUL) written as escapes (``\\udc80``)."""
    return replace(row, **{name: _writable(getattr(row, name)) for name in (field.name for field in fields(row))})


def _writable(value: Any) -> Any:
    match value:
        case StrEnum():
            return value
        case str():
            return value.replace("\0", "\\x00").encode(errors="backslashreplace").decode()
        case dict():
            return {_writable(key): _writable(inner) for key, inner in value.items()}
        case Preemption():
            names = [field.name for field in dataclass_fields(value)]
            return dataclass_replace(value, **{name: _writable(getattr(value, name)) for name in names})
        case tuple() | list():
            return type(value)(map(_writable, value))
        case _:
            return value


def _to_json(value: Any) -> str:
    return _encode_json(value).decode()


def _tuple_from_json(text: str) -> tuple[Any, ...]:
    return tuple(msgspec.json.decode(text))


#: By row type, in the order in which rows are written.
CODECS: dict[type[Any], Codec[Any]] = {row_type: Codec(row_type, table) for row_type, table in TABLES.items()}


def codec_of(row_type: type[R]) -> Codec[R]:
    return CODECS[row_type]
