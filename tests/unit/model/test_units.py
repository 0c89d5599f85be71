"""The human forms of amounts, one by one."""

from __future__ import annotations

import pytest

from hrm.model.errors import InvalidInput
from hrm.model.units import (
    LARGEST,
    format_duration,
    format_memory,
    format_milli,
    parse_age_s,
    parse_duration_s,
    parse_memory_mib,
    parse_milli,
)


@pytest.mark.parametrize(
    ("text", "mib"),
    [
        ("4G", 4096),
        ("4 GiB", 4096),
        ("4gb", 4096),
        ("512 mb", 512),
        ("512M", 512),
        ("512", 512),
        (512, 512),
        ("1.5G", 1536),
        ("0.5Gi", 512),
        ("2T", 2 * 1024 * 1024),
        ("2048k", 2),
        ("1048576b", 1),
        (" 1 g ", 1024),
        ("0", 0),
    ],
)
def test_memory_is_read_in_the_forms_people_write(text: str | int, mib: int) -> None:
    assert parse_memory_mib(text) == mib


@pytest.mark.parametrize(("text", "mib"), [("1b", 1), ("1k", 1), ("1025k", 2), ("1048577b", 2)])
def test_memory_below_a_mib_is_rounded_up(text: str, mib: int) -> None:
    assert parse_memory_mib(text) == mib


@pytest.mark.parametrize("text", ["", "G", "4X", "four", "4 G B", "1e3", "1,5G", "4G\n4G", "٤G", True, 1.5, None, [4]])
def test_what_is_no_memory_is_refused_with_its_field(text: object) -> None:
    with pytest.raises(InvalidInput, match=r"^tasks\[0\]\.memory: not an amount of memory") as refusal:
        parse_memory_mib(text, field="tasks[0].memory")  # type: ignore[arg-type]
    assert "512M" in refusal.value.next_step


def test_negative_memory_is_refused_with_a_word_about_the_sign() -> None:
    with pytest.raises(InvalidInput, match="cannot be negative"):
        parse_memory_mib("-4G")


@pytest.mark.parametrize(
    "text", ["4503599627370497", "99999999999T", LARGEST + 1, pytest.param(10**5000, id="huge"), "9" * 5000]
)
def test_memory_beyond_any_machine_is_refused(text: str | int) -> None:
    with pytest.raises(InvalidInput) as refusal:
        parse_memory_mib(text)
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize(
    ("text", "milli"),
    [
        ("2", 2000),
        ("0.5", 500),
        (0.5, 500),
        (2, 2000),
        (" 1.25 ", 1250),
        ("1e1", 10_000),
        ("0.001", 1),
        (0, 0),
        (-0.0, 0),
    ],
)
def test_thousandths_are_read_exactly(text: str | int | float, milli: int) -> None:
    assert parse_milli(text, field="cpus") == milli


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("half", "not a number"),
        ("", "not a number"),
        (True, "not a number"),
        (None, "not a number"),
        (float("nan"), "not a number"),
        (float("inf"), "not a number"),
        ("1e999999999", "not a number"),
        ("-1", "cannot be negative"),
        (-0.5, "cannot be negative"),
        ("0.0005", "finer than a thousandth"),
        (0.1 + 0.2, "finer than a thousandth"),
        ("1e300", "larger than any machine"),
        pytest.param(10**5000, "out of all range", id="huge"),
        ("1.0000000000000000000000000000001", "not an amount"),
    ],
)
def test_what_is_no_amount_in_thousandths_is_refused_with_its_field(text: object, problem: str) -> None:
    with pytest.raises(InvalidInput, match=f"^gpus: {problem}"):
        parse_milli(text, field="gpus")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("2h", 7200),
        ("1.5m", 90),
        ("250ms", 0.25),
        ("1d", 86_400),
        ("5min", 300),
        ("30sec", 30),
        ("10", 600),  # Slurm: a bare number is minutes
        ("10:30", 630),
        ("1:30:00", 5400),
        ("1-12", 129_600),
        ("1-12:30", 131_400),
        ("1-12:30:15", 131_415),
        (90, 90),
        (0.5, 0.5),
    ],
)
def test_durations_are_read_in_slurm_s_forms_and_with_units(text: str | float, seconds: float) -> None:
    assert parse_duration_s(text, field="timeout") == seconds


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("soon", "not a duration"),
        ("", "not a duration"),
        ("1:2:3:4", "not a duration"),
        ("1-", "not a duration"),
        ("-5", "not a duration"),
        ("5 m", "not a duration"),
        (True, "not a duration"),
        (None, "not a duration"),
        ([90], "not a duration"),
        ("0s", "must be above zero"),
        ("0", "must be above zero"),
        (0, "must be above zero"),
        (-1, "must be above zero"),
        (float("nan"), "must be above zero"),
        (float("inf"), "longer than any run"),
        ("999999999999999999d", "longer than any run"),
        pytest.param(10**400, "out of all range", id="beyond-float"),
        ("9" * 5000, "not an amount"),
    ],
)
def test_what_is_no_duration_is_refused_with_its_field(text: object, problem: str) -> None:
    with pytest.raises(InvalidInput, match=f"^groups\\[0\\].timeout: {problem}"):
        parse_duration_s(text, field="groups[0].timeout")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mib", "text"),
    [(0, "0M"), (512, "512M"), (1024, "1G"), (1536, "1.5G"), (1025, "1025M"), (10 * 1024, "10G"), (1 << 20, "1T")],
)
def test_memory_is_printed_in_its_shortest_exact_form(mib: int, text: str) -> None:
    assert format_memory(mib) == text


@pytest.mark.parametrize(
    ("milli", "text"), [(0, "0"), (500, "0.5"), (2000, "2"), (1250, "1.25"), (-500, "-0.5"), (7, "0.007")]
)
def test_thousandths_are_printed_without_needless_zeros(milli: int, text: str) -> None:
    assert format_milli(milli) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0s"),
        (0.42, "0.4s"),
        (9.97, "10s"),
        (12.3, "12s"),
        (59.7, "1m00s"),
        (185, "3m05s"),
        (3599.8, "1h00m"),
        (7800, "2h10m"),
        (86_399.9, "1d00h"),
        (273_600, "3d04h"),
    ],
)
def test_durations_are_printed_for_people(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(("text", "seconds"), [("0", 0.0), ("0s", 0.0), (0, 0.0), ("7d", 604_800.0), (90, 90.0)])
def test_an_age_is_a_duration_or_nothing(text: str | int, seconds: float) -> None:
    assert parse_age_s(text, field="age") == seconds


@pytest.mark.parametrize("text", ["-1s", "soon", "", False])
def test_what_is_no_age_is_refused(text: str | bool) -> None:
    with pytest.raises(InvalidInput):
        parse_age_s(text, field="age")
