"""What holds for every check and every fault."""

from __future__ import annotations

import re
import string
from collections import Counter
from pathlib import Path

import pytest

from hrm.doctor.checks import Check
from hrm.doctor.faults import Fault
from hrm.doctor.registry import all_checks, all_facts, built_in_checks
from hrm.doctor.table import with_table
from hrm.model.findings import Text

DOCS = Path(__file__).parents[3] / "docs" / "doctor.md"
CHECKS = built_in_checks()
FAULTS = {fault.code: fault for check in CHECKS for fault in check.faults}


def names_in(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_no_two_faults_have_one_code() -> None:
    distinct = {(fault.code, fault.title) for check in CHECKS for fault in check.faults}

    assert [code for code, count in Counter(code for code, _ in distinct).items() if count > 1] == []


def test_no_two_checks_and_no_two_facts_have_one_name() -> None:
    names = [check.name for check in all_checks()] + [fact.name for fact in all_facts()]

    assert [name for name, count in Counter(names).items() if count > 1] == []


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_check_has_a_name_a_limit_and_something_to_find(check: Check) -> None:
    assert re.fullmatch(r"[a-z]+\.[a-z0-9-]+", check.name)
    assert 0 < check.timeout_s <= 15
    assert check.faults
    assert check.look.__doc__


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_told_in_both_languages_with_the_same_values(fault: Fault) -> None:
    assert re.fullmatch(r"HRM-[A-Z0-9]+-\d{3}", fault.code)
    for text in (fault.title, fault.why, fault.cure):
        assert isinstance(text, Text)
        assert text.en
        assert re.search(r"[\u4e00-\u9fff]", text.zh)
        assert names_in(text.en) == names_in(text.zh)


def test_the_documentation_has_the_table_of_all_faults() -> None:
    document = DOCS.read_text(encoding="utf-8")

    assert document == with_table(document), "run: python -m hrm.doctor.table docs/doctor.md"
