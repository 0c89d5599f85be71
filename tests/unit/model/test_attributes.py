"""Expressions on attributes of nodes: what they mean, how they are written, what is wrong with them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm.model.attributes import (
    AllTests,
    AnyTest,
    AttributeExpression,
    AttributeTest,
    as_value,
    check_name,
    check_value,
    conditions_of,
    parse_expression,
)
from hrm.model.errors import InvalidInput

BOX = {"os": "debian12", "gpu_model": "NVIDIA-A100", "ssd": "", "example.org/rack": "r1"}


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("os=debian12", True),
        ("os=debian11", False),
        ("os==debian12", True),
        ("os=debian*", True),
        ("os=debian?2", True),
        ("os!=debian11", True),
        ("os!=debian12", False),
        ("ssd", True),
        ("hdd", False),
        ("!hdd", True),
        ("hdd!=7200", True),
        ("example.org/rack=r1", True),
        ("os=debian12 & ssd", True),
        ("os=debian12 && hdd", False),
        ("hdd | ssd", True),
        ("hdd || os=debian11", False),
        ("os=debian11 & ssd | gpu_model=*A100", True),
        ("os=debian11 & (ssd | gpu_model=*A100)", False),
        ("!(hdd | os=debian11)", True),
        ("!(ssd & os=debian12)", False),
        ("!!ssd", True),
    ],
)
def test_a_node_meets_an_expression_or_does_not(text: str, met: bool) -> None:
    assert parse_expression(text).meets(BOX) is met


def test_what_is_negated_in_brackets_is_written_without_them() -> None:
    assert str(parse_expression("!(hdd|os=debian11)&( ssd )")) == "!hdd & os!=debian11 & ssd"


def test_conditions_are_told_one_by_one() -> None:
    parts = conditions_of(parse_expression("os=debian12 & (ssd | hdd) & !virtual"))

    assert [str(part) for part in parts] == ["os=debian12", "ssd | hdd", "!virtual"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("os=", "ends where a value for 'os' should stand"),
        ("os=debian12 &", "ends where the name of an attribute should stand"),
        ("& os", "'&' stands where the name of an attribute should"),
        ("(os", "a ')' is missing"),
        ("os)", "')' is too much"),
        ("os=a os=b", "'os' is too much"),
        ("-os", "not the name of an attribute: '-os'"),
        ("os=ä", "not a value for os: 'ä'"),
        ("&".join(["a"] * 65), "more than 64 tests"),
        ("(" * 9 + "a" + ")" * 9, "brackets lie deeper than 8 in each other"),
        ("a" * 5000, "longer than 4096 characters"),
    ],
)
def test_what_is_no_expression_is_refused_and_says_why(text: str, problem: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_expression(text)

    assert refused.value.field == "constraint"
    assert problem in refused.value.problem
    assert refused.value.next_step


@pytest.mark.parametrize("name", ["", "a b", "x" * 64, "Example.org/a", "/a", "a/", "-a"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="not the name of an attribute"):
        check_name(name)


@pytest.mark.parametrize("value", ["a b", "x" * 256, "a*", "ä", "a\n"])
def test_what_is_no_value_is_refused(value: str) -> None:
    with pytest.raises(InvalidInput, match="not a value for os"):
        check_value(value, "os")


def test_words_of_a_machine_become_a_value() -> None:
    assert as_value("NVIDIA GeForce RTX 2080 Ti (rev. a1)") == "NVIDIA-GeForce-RTX-2080-Ti-rev.-a1"
    assert check_value(as_value("ÄÖ x" * 200), "os")


NAMES = st.sampled_from(["os", "ssd", "example.org/rack"])
TESTS = st.builds(AttributeTest, NAMES, st.sampled_from([None, "a", "b*"]), st.booleans())
EXPRESSIONS = st.recursive(
    TESTS,
    lambda inner: st.builds(
        lambda kind, parts: kind(tuple(parts)),
        st.sampled_from([AllTests, AnyTest]),
        st.lists(inner, min_size=2, max_size=3),
    ),
    max_leaves=12,
)


@given(EXPRESSIONS, st.dictionaries(NAMES, st.sampled_from(["", "a", "b", "bc"])))
def test_the_canonical_form_is_read_as_it_was_meant(
    expression: AttributeExpression, attributes: dict[str, str]
) -> None:
    again = parse_expression(str(expression))

    assert again.meets(attributes) is expression.meets(attributes)
    assert str(parse_expression(str(again))) == str(again)


@given(EXPRESSIONS, st.dictionaries(NAMES, st.sampled_from(["", "a", "b", "bc"])))
def test_a_negated_expression_is_met_where_the_expression_is_not(
    expression: AttributeExpression, attributes: dict[str, str]
) -> None:
    assert parse_expression(f"!({expression})").meets(attributes) is not expression.meets(attributes)
