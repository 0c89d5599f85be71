"""Rows to columns and back, by the types of their fields."""

from __future__ import annotations

import typing
from dataclasses import is_dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields

from hrm.model.phrases import Phrase
from hrm.model.resources import Resources
from hrm.model.states import ContainerState
from hrm.rm import records
from hrm.rm.store.codec import CODECS, codec_of

INTEGERS = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
#: Phrases have phrases within: these have none.
PHRASES = st.builds(
    Phrase,
    TEXTS,
    st.dictionaries(TEXTS, TEXTS | INTEGERS | st.floats(allow_nan=False, allow_infinity=False) | st.none(), max_size=3),
)
BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    int: INTEGERS,
    float: st.floats(allow_nan=False),
    str: TEXTS,
    Phrase: PHRASES,
    dict[str, Any]: st.dictionaries(TEXTS, JSON_VALUES, max_size=4),
    tuple[str, ...]: st.lists(TEXTS, max_size=4).map(tuple),
    Resources: st.builds(
        Resources,
        INTEGERS,
        INTEGERS,
        INTEGERS,
        st.dictionaries(TEXTS, INTEGERS, max_size=3).map(lambda named: tuple(sorted(named.items()))),
    ),
}


#: What is written as JSON has no word for infinity.
IN_JSON = {**BY_TYPE, float: st.floats(allow_nan=False, allow_infinity=False)}


def values_of(hint: Any, by_type: dict[Any, st.SearchStrategy[Any]] = BY_TYPE) -> st.SearchStrategy[Any]:
    members = typing.get_args(hint) if type(None) in typing.get_args(hint) else (hint,)
    return st.one_of(*(by_type[member] if member in by_type else values_of_type(member) for member in members))


def values_of_type(member: Any) -> st.SearchStrategy[Any]:
    if not is_dataclass(member):
        return st.from_type(member)
    hints = typing.get_type_hints(member)
    return st.builds(member, **{name: values_of(hint, IN_JSON) for name, hint in hints.items()})


def any_row(row_type: type[records.Row]) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(row_type)
    return st.builds(row_type, **{field.name: values_of(hints[field.name]) for field in fields(row_type)})


@pytest.mark.parametrize("row_type", list(CODECS), ids=lambda row_type: row_type.__name__)
def test_every_row_comes_back_as_it_went(row_type: type[records.Row]) -> None:
    codec = CODECS[row_type]

    @given(any_row(row_type))
    def comes_back(row: Any) -> None:
        columns = codec.encode(row)
        assert all(type(column) in (int, float, str, bool, type(None)) for column in columns)
        assert codec.decode(columns) == row

    comes_back()


def test_every_kind_of_row_has_a_codec() -> None:
    assert set(CODECS) == set(typing.get_args(records.Row))


@pytest.mark.parametrize("codec", CODECS.values(), ids=lambda codec: codec.table.name)
def test_a_table_has_the_columns_of_its_codec_in_order(codec: Any) -> None:
    assert codec.columns == tuple(column.name for column in codec.table.columns)


def test_resources_are_columns_that_accounting_can_sum() -> None:
    row = records.ContainerRow(
        container_id="c",
        application_seq=1,
        attempt_number=1,
        node_id="box",
        resources=Resources(memory_mib=512, vcores_milli=1500, gpus_milli=250, others=(("licences", 2),)),
        device_ids=("gpu0",),
        priority=0,
        state=ContainerState.RUNNING,
        allocated_at=1.0,
    )
    codec = codec_of(records.ContainerRow)

    columns = dict(zip(codec.columns, codec.encode(row), strict=True))

    assert columns["memory_mib"] == 512
    assert columns["vcores_milli"] == 1500
    assert columns["gpus_milli"] == 250
    assert columns["other_resources"] == '[["licences",2]]'
    assert columns["device_ids"] == '["gpu0"]'
    assert columns["state"] == "RUNNING"
