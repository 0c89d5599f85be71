"""Amounts in YARN's words: every form it has, and what is wrong with others."""

from __future__ import annotations

from fractions import Fraction

import pytest

from hrm.model.errors import InvalidInput
from hrm.model.resources import GPUS, MEMORY, VCORES, Resources
from hrm.model.units import LARGEST
from hrm.model.yarn_amounts import Form, parse_yarn_amounts

PLAIN = ((MEMORY, 1024), (VCORES, 2000))


@pytest.mark.parametrize(
    "text",
    [
        "1024 mb, 2 vcores",
        "2 vcores, 1024 mb",
        "1024mb,2vcores",
        "  1024 MB ,  2 VCores ",
        "1024 mb 2 vcores",
        "1024 mb; 2 vcores,",
        "1024.0 mb, 2. vcores",
        "\n  1024 mb,\n  2 vcores\n",
    ],
)
def test_the_plain_form_has_any_order_case_and_spaces(text: str) -> None:
    read = parse_yarn_amounts(text)

    assert (read.form, read.amounts, read.remarks) == (Form.PLAIN, PLAIN, ())


def test_the_plain_form_drops_decimals_as_yarn_does_and_says_so() -> None:
    read = parse_yarn_amounts("1024.9 mb, 2.5 vcores")

    assert read.amounts == PLAIN
    assert read.remarks == ("YARN drops the decimals of 1024.9 mb", "YARN drops the decimals of 2.5 vcores")


@pytest.mark.parametrize(
    ("text", "amounts"),
    [
        ("memory-mb=1024, vcores=2, yarn.io/gpu=2", (*PLAIN, (GPUS, 2000))),
        ("vcores=2,memory-mb=1024", PLAIN),
        ("VCORES = 2 , Memory-MB = 1024", PLAIN),
        ("memory-mb=1Gi, vcores=2", PLAIN),
        ("memory-mb=1 G, vcores=2", PLAIN),
        ("yarn.io/gpu=1", ((GPUS, 1000),)),
        ("example.com/fpga=3", (("example.com/fpga", 3),)),
        ("disk=2Gi, ssd=3k", (("disk", 2 << 30), ("ssd", 3000))),
    ],
)
def test_the_named_form_names_any_resource(text: str, amounts: tuple[tuple[str, int], ...]) -> None:
    read = parse_yarn_amounts(text)

    assert (read.form, read.amounts) == (Form.NAMED, amounts)


@pytest.mark.parametrize(
    ("text", "form", "percents"),
    [
        ("50%", Form.PERCENT, (("", 50),)),
        (" 33.3 % ", Form.PERCENT, (("", Fraction("33.3")),)),
        ("150%", Form.PERCENT, (("", 150),)),
        ("50% memory, 20% cpu", Form.PLAIN_PERCENT, ((MEMORY, 50), (VCORES, 20))),
        ("20% CPU,50%Memory", Form.PLAIN_PERCENT, ((MEMORY, 50), (VCORES, 20))),
        ("vcores=50%, memory-mb=20%", Form.NAMED_PERCENT, ((MEMORY, 20), (VCORES, 50))),
        ("yarn.io/gpu=12.5%", Form.NAMED_PERCENT, ((GPUS, Fraction("12.5")),)),
    ],
)
def test_percentages_are_kept_as_written(text: str, form: Form, percents: tuple[tuple[str, Fraction], ...]) -> None:
    read = parse_yarn_amounts(text)

    assert (read.form, read.percents, read.is_percent) == (form, percents, True)


def test_a_single_percentage_with_a_name_counts_for_all_resources_and_says_so() -> None:
    read = parse_yarn_amounts("50% memory")

    assert (read.form, read.percents) == (Form.PERCENT, (("", 50),))
    assert "every resource" in read.remarks[0]


def test_what_the_plain_form_does_not_name_is_nothing_and_what_the_named_form_does_not_name_is_open() -> None:
    plain = parse_yarn_amounts("1024 mb, 2 vcores").resources(missing=LARGEST)
    named = parse_yarn_amounts("memory-mb=1024").resources(missing=LARGEST)

    assert (plain, named) == (Resources(1024, 2000, 0), Resources(1024, LARGEST, LARGEST))


def test_a_part_of_the_cluster_is_no_amount() -> None:
    with pytest.raises(InvalidInput, match="part of the cluster"):
        parse_yarn_amounts("50%").resources()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("1024", "cannot be read from '1024' on"),
        ("1024 mb", "says nothing of vcores"),
        ("2 vcores", "says nothing of mb"),
        ("1 gb, 2 vcores", "unknown unit 'gb'"),
        ("1024 mb, 2 vcores, 1 gpu", "unknown unit 'gpu'"),
        ("1024 mb, 2048 mb, 2 vcores", "names mb twice"),
        ("-1024 mb, 2 vcores", "mb cannot be negative: -1024"),
        ("1024 mb, two vcores", "cannot be read from 'two vcores' on"),
        ("1024 mb and 2 vcores", "cannot be read from 'and 2 vcores' on"),
        ("9999999999999999 mb, 1 vcores", "larger than any machine: 9999999999999999"),
        ("memory-mb=1024, vcores", "not name=value: 'vcores'"),
        ("memory-mb=1024,", "not name=value: ''"),
        ("memory=1024", "unknown resource 'memory'"),
        ("memory_mib=1024", "unknown resource 'memory_mib'"),
        ("vcores_milli=1", "not the name of a resource: 'vcores_milli'"),
        ("vcores=two", "vcores is not a whole number: 'two'"),
        ("vcores=-2", "vcores cannot be negative: -2"),
        ("vcores=1.5", "vcores is not a whole number: '1.5'"),
        ("vcores=2k", "vcores has no unit 'k'"),
        ("disk=2Xi", "disk has no unit 'Xi'"),
        ("vcores=50%, memory-mb=20", "not a percentage: '20'"),
        ("vcores=1, vcores=2", "names vcores twice"),
        ("-5%", "a percentage cannot be negative: -5%"),
        ("fifty%", "not a percentage: 'fifty%'"),
        ("50% memory, 20% disk", "unknown resource 'disk'"),
        ("50% memory, 20% memory", "names memory twice"),
        ("50% memory, 3 cpu", "cannot be read from '3 cpu' on"),
        ("50% memory,", "says nothing of cpu"),
        ("9" * 2000, "too long for an amount"),
    ],
)
def test_anything_else_says_what_is_wrong_and_what_to_write(text: str, problem: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_yarn_amounts(text, field="maxResources")

    assert refused.value.field == "maxResources"
    assert refused.value.problem.startswith(problem)
    assert refused.value.next_step
