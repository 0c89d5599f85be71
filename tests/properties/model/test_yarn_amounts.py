"""What always holds between amounts and the forms in which YARN writes them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hrm.model.errors import InvalidInput
from hrm.model.resources import GPUS, MEMORY, VCORES
from hrm.model.units import LARGEST
from hrm.model.yarn_amounts import Form, YarnAmounts, format_yarn_amounts, parse_yarn_amounts

mebibytes = st.integers(min_value=0, max_value=LARGEST)
whole = st.integers(min_value=0, max_value=LARGEST // 1000).map(lambda count: count * 1000)
parts = st.integers(min_value=0, max_value=10**6).map(lambda number: Fraction(number, 10**4))
others = st.from_regex(r"\A(?:[a-z]{1,8}\.[a-z]{1,3}/)?[a-z][a-z0-9._-]{0,8}\Z").filter(
    lambda name: name not in ("memory", "mb", "memory_mib", "memory-mb", "vcores", "yarn.io/gpu", VCORES, GPUS)
)


def in_order(found: dict[str, object]) -> tuple[tuple[str, object], ...]:
    known = [name for name in (MEMORY, VCORES, GPUS) if name in found]
    return tuple((name, found[name]) for name in (*known, *sorted(set(found) - set(known))))


def chosen(amount: dict[str, st.SearchStrategy[object]], other: st.SearchStrategy[object]):
    """Some of the known resources and some others, at least one of all."""
    known = st.fixed_dictionaries({}, optional=amount)
    unknown = st.dictionaries(others, other, max_size=3)
    return st.builds(lambda left, right: left | right, known, unknown).filter(bool).map(in_order)


plain = st.builds(
    lambda memory, vcores: YarnAmounts(form=Form.PLAIN, amounts=((MEMORY, memory), (VCORES, vcores))), mebibytes, whole
)
named = chosen({MEMORY: mebibytes, VCORES: whole, GPUS: whole}, st.integers(min_value=0, max_value=LARGEST)).map(
    lambda amounts: YarnAmounts(form=Form.NAMED, amounts=amounts)
)
percent = parts.map(lambda part: YarnAmounts(form=Form.PERCENT, percents=(("", part),)))
plain_percent = st.builds(
    lambda memory, cpu: YarnAmounts(form=Form.PLAIN_PERCENT, percents=((MEMORY, memory), (VCORES, cpu))), parts, parts
)
named_percent = chosen({MEMORY: parts, VCORES: parts, GPUS: parts}, parts).map(
    lambda percents: YarnAmounts(form=Form.NAMED_PERCENT, percents=percents)
)
every_form = st.one_of(plain, named, percent, plain_percent, named_percent)


@given(every_form)
def test_amounts_read_back_as_they_were_printed(amounts: YarnAmounts) -> None:
    read = parse_yarn_amounts(format_yarn_amounts(amounts))

    assert (read, read.remarks) == (amounts, ())


@given(every_form, st.sampled_from([str.upper, str.lower, str.title]), st.sampled_from(["", " ", "\n\t"]))
def test_neither_case_nor_spaces_matter_to_what_yarn_names_itself(amounts: YarnAmounts, case, space: str) -> None:
    # Names of other resources are what they are.
    assume(all(name in (MEMORY, VCORES, GPUS, "") for name, _ in (*amounts.amounts, *amounts.percents)))
    text = case(format_yarn_amounts(amounts)).replace(", ", f"{space},{space}").replace("=", f"{space}={space}")

    assert parse_yarn_amounts(f"{space}{text}{space}") == amounts


@given(st.one_of(st.text(max_size=60), st.text(alphabet="0123456789.-%=,; mbvcoreygpuk/K", max_size=40)))
def test_any_text_is_read_or_refused_with_a_next_step(text: str) -> None:
    try:
        amounts = parse_yarn_amounts(text, field="here")
    except InvalidInput as refused:
        assert refused.field == "here"
        assert refused.next_step
    else:
        assert parse_yarn_amounts(format_yarn_amounts(amounts)) == amounts


@given(st.integers(min_value=0, max_value=LARGEST))
def test_what_yarn_cannot_write_is_not_written(amount: int) -> None:
    amounts = YarnAmounts(form=Form.NAMED, amounts=((VCORES, amount),))

    if amount % 1000:
        with pytest.raises(InvalidInput):
            format_yarn_amounts(amounts)
    else:
        assert format_yarn_amounts(amounts) == f"vcores={amount // 1000}"
