"""What people and programs are told for each real reason, word for word: `golden/<history>.txt` and `.json`."""

from __future__ import annotations

from pathlib import Path

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
    compare(GOLDEN / f"{name}.json", msgspec.json.format(written, indent=2).decode() + "\n")
    assert msgspec.json.decode(written, type=Explanation) == explanation


def test_the_histories_have_different_reasons() -> None:
    reasons = {name: history().reason for name, history in HISTORIES.items()}

    assert len(set(reasons.values())) >= 14, reasons


def test_no_golden_file_is_left_of_a_history_that_is_not_there() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} <= set(HISTORIES)
