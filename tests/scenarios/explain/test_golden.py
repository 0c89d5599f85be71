"""What people and programs are told for each real reason, word for word: `golden/<history>.txt` and `.json`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hrm.cli.explain import show_explanation
from hrm.model.explanations import Explanation
from tests.golden import compare
from tests.scenarios.explain.histories import HISTORIES

GOLDEN = Path(__file__).with_name("golden")


@pytest.mark.usefixtures("in_utc")
@pytest.mark.parametrize("name", HISTORIES)
def test_each_reason_is_told_as_the_golden_table_says(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    show_explanation(HISTORIES[name]())

    compare(GOLDEN / f"{name}.txt", capsys.readouterr().out)


@pytest.mark.parametrize("name", HISTORIES)
def test_each_reason_is_told_as_the_golden_json_says(name: str) -> None:
    explanation = HISTORIES[name]()

    written = msgspec.json.encode(explanation)
    short = msgspec.json.encode(_with_codes_alone(msgspec.json.decode(written)))
    compare(GOLDEN / f"{name}.json", msgspec.json.format(short, indent=2).decode() + "\n")
    assert msgspec.json.decode(written, type=Explanation) == explanation


def _with_codes_alone(written: Any) -> Any:
    """Phrases without their values: those stand in the text beside them."""
    if isinstance(written, list):
        return [_with_codes_alone(one) for one in written]
    if not isinstance(written, dict):
        return written
    if written.keys() == {"code", "values"}:
        return written["code"] if written["code"] != "parts" else _with_codes_alone(written["values"]["parts"])
    return {name: _with_codes_alone(value) for name, value in written.items()}


@pytest.mark.parametrize("name", HISTORIES)
def test_each_reason_is_told_in_chinese_without_a_word_of_english_sentences(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show_explanation(HISTORIES[name](), "zh")

    words = re.findall(r"(?<![a-z_])[a-z]{4,}(?![a-z_])", capsys.readouterr().out)
    assert not {"waits", "that", "with", "free", "when", "more", "would", "have"}.intersection(words)


def test_the_histories_have_different_reasons() -> None:
    reasons = {name: history().reason for name, history in HISTORIES.items()}

    assert len(set(reasons.values())) >= 14, reasons


def test_no_golden_file_is_left_of_a_history_that_is_not_there() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} <= set(HISTORIES)
