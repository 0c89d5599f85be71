"""What always holds between amounts and their human forms."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm.model.errors import InvalidInput
from hrm.model.units import (
    LARGEST,
    format_duration,
    format_memory,
    format_milli,
    parse_duration_s,
    parse_memory_mib,
    parse_milli,
)

amounts = st.integers(min_value=0, max_value=LARGEST)
#: What a file or a client may hold where an amount belongs.
anything = st.one_of(
    st.text(max_size=60),
    st.text(alphabet="0123456789.eE+-:_ dhmsgGkKiIbBnaNinf", max_size=40),
    st.integers(),
    st.integers(min_value=4000, max_value=6000).map(lambda digits: 10**digits),
    st.floats(),
    st.booleans(),
    st.none(),
)


@given(amounts)
def test_memory_reads_back_as_it_was_printed(mib: int) -> None:
    assert parse_memory_mib(format_memory(mib)) == mib


@given(amounts)
def test_thousandths_read_back_as_they_were_printed(milli: int) -> None:
    assert parse_milli(format_milli(milli), field="cpus") == milli


@given(st.integers(min_value=-LARGEST, max_value=LARGEST))
def test_printed_thousandths_say_the_exact_amount_also_of_a_difference(milli: int) -> None:
    assert Decimal(format_milli(milli)) * 1000 == milli


@given(st.integers(min_value=0, max_value=10**9), st.sampled_from(["b", "k", "m", "g", "t"]))
def test_memory_is_rounded_up_to_the_next_mib_and_never_further(number: int, unit: str) -> None:
    size_bytes = number * {"b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}[unit]
    if size_bytes > LARGEST * 2**20:
        with pytest.raises(InvalidInput):
            parse_memory_mib(f"{number}{unit}")
    else:
        mib = parse_memory_mib(f"{number}{unit}")
        assert (mib - 1) * 2**20 < size_bytes <= mib * 2**20 or (mib == size_bytes == 0)


@given(st.integers(0, 10**4), st.integers(0, 10**15 - 1))
def test_a_long_fraction_of_a_large_unit_is_not_rounded_down(whole: int, decimals: int) -> None:
    text = f"{whole}.{decimals:015d}T"
    exact_mib = Fraction(f"{whole}.{decimals:015d}") * 2**20
    mib = parse_memory_mib(text)
    assert mib - 1 < exact_mib <= mib


@given(anything)
def test_whatever_stands_where_memory_belongs_is_an_amount_or_a_named_refusal(value: object) -> None:
    try:
        mib = parse_memory_mib(value, field="tasks[1].memory")  # type: ignore[arg-type]
    except InvalidInput as refusal:
        assert refusal.field == "tasks[1].memory"
        assert str(refusal).startswith("tasks[1].memory: ")
        assert refusal.next_step
    else:
        assert 0 <= mib <= LARGEST


@given(anything)
def test_whatever_stands_where_a_number_belongs_is_an_amount_or_a_named_refusal(value: object) -> None:
    try:
        milli = parse_milli(value, field="cpus")  # type: ignore[arg-type]
    except InvalidInput as refusal:
        assert refusal.field == "cpus"
        assert refusal.next_step
    else:
        assert Fraction(str(value).strip()) * 1000 == milli


@given(anything)
def test_whatever_stands_where_a_duration_belongs_is_seconds_or_a_named_refusal(value: object) -> None:
    try:
        seconds = parse_duration_s(value, field="timeout")  # type: ignore[arg-type]
    except InvalidInput as refusal:
        assert refusal.field == "timeout"
        assert refusal.next_step
    else:
        assert 0 < seconds <= LARGEST


@given(st.integers(0, 400), st.integers(0, 23), st.integers(0, 59), st.integers(1, 59))
def test_slurm_s_long_form_adds_its_parts(days: int, hours: int, minutes: int, seconds: int) -> None:
    expected = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    assert parse_duration_s(f"{days}-{hours:02d}:{minutes:02d}:{seconds:02d}", field="timeout") == expected
    assert parse_duration_s(f"{days * 24 + hours}:{minutes:02d}:{seconds:02d}", field="timeout") == expected
    assert parse_duration_s(f"{expected}s", field="timeout") == expected


@given(st.floats(min_value=0, max_value=1e9))
def test_a_printed_duration_is_short_and_has_two_units_at_most(seconds: float) -> None:
    text = format_duration(seconds)
    assert len(text) <= 9
    assert sum(character.isalpha() for character in text) <= 2
