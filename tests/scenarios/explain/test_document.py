"""`docs/explain.md` shows what the program prints, and names every field that it gives."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from hrm.model import evidence, explanations
from hrm.model.evidence import Fact

DOCUMENT = Path(__file__).parents[3] / "docs" / "explain.md"
GOLDEN = Path(__file__).with_name("golden")
_SHOWN = re.compile(r"<!-- golden: (\S+?)(, first part)? -->\n```text\n(.*?)```", re.DOTALL)


def test_every_output_in_the_document_is_what_is_printed() -> None:
    shown = _SHOWN.findall(DOCUMENT.read_text(encoding="utf-8"))

    assert len(shown) >= 12
    for name, only_first, text in shown:
        printed = (GOLDEN / name).read_text(encoding="utf-8")
        assert text == (printed.split("\n\n")[0] + "\n" if only_first else printed), name


@pytest.mark.parametrize("kind", [one for one in vars(explanations).values() if is_dataclass(one)])
def test_every_field_of_an_explanation_is_documented(kind: type) -> None:
    text = DOCUMENT.read_text(encoding="utf-8").partition("## As JSON")[2]

    assert [one.name for one in fields(kind) if f"`{one.name}`" not in text] == []


def test_every_kind_of_evidence_is_documented_with_its_fields() -> None:
    lines = {
        line.split("|")[1].strip(): line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if "|" in line
    }
    kinds = [one for one in vars(evidence).values() if isinstance(one, type) and issubclass(one, Fact)]
    named = [one for one in kinds if "kind" in vars(one)]

    assert len(named) > 15
    for one in named:
        assert [field.name for field in fields(one) if f"`{field.name}`" not in lines[f"`{one.kind}`"]] == []
