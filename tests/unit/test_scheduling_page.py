"""docs/scheduling.md names tests for what it says: they are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HOUSE = Path(__file__).parents[2]
PAGE = (HOUSE / "docs" / "scheduling.md").read_text(encoding="utf-8")


def names_of_tests() -> set[str]:
    """Names of modules and of functions."""
    names: set[str] = set()
    for path in (HOUSE / "tests").rglob("test_*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names |= {path.stem, *(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))}
        names |= {node.name for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)}
    return names


def test_every_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))

    assert len(named) > 25
    assert named - names_of_tests() == set()


def test_every_rule_has_its_example() -> None:
    sections = dict(re.findall(r"(?ms)^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE))
    rules = [title for title in sections if title not in ("What is promised", "Where HRM chooses otherwise")]

    assert [title for title in rules if "`test_" not in sections[title]] == []
