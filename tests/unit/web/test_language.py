"""The words of the page: two catalogues that say the same, and which of them a browser gets."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from string import Formatter

import pytest

from hrm.web.language import LANGUAGES, language, preferred

TEMPLATES = Path(str(files("hrm.web") / "templates"))


def names_in(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("code", [code for code in LANGUAGES if code != "en"])
def test_each_catalogue_has_the_keys_of_the_english_one_with_the_same_values_to_fill_in(code: str) -> None:
    english, other = language("en").texts, language(code).texts
    assert list(other) == list(english)
    assert {key: names_in(text) for key, text in other.items()} == {
        key: names_in(text) for key, text in english.items()
    }


@pytest.mark.parametrize("template", sorted(TEMPLATES.glob("*.html")), ids=lambda path: path.name)
def test_a_template_uses_keys_that_are_there_and_has_no_words_of_its_own(template: Path) -> None:
    source = template.read_text()
    for key in re.findall(r"""\bt\("([a-z_]+\.[a-z_]+)"[,)]""", source):
        assert language("en").has(key), key
    visible = re.sub(r"\{%.*?%\}|\{\{.*?\}\}|\{#.*?#\}|<code>.*?</code>|<[^>]*>", " ", source, flags=re.DOTALL)
    assert set(re.findall(r"[A-Za-z]{2,}", visible)) <= {"HRM", "CPU"}


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("fr,en;q=0.5,zh;q=0.4", "en"),
        ("de-DE,zh;q=0.1", "zh"),
        ("zh;q=0", "en"),
        ("zh;q=x, *", "en"),
    ],
)
def test_a_browser_gets_the_language_it_likes_best_of_those_there_are(header: str, code: str) -> None:
    assert preferred(header).code == code


def test_who_chose_a_language_gets_it() -> None:
    assert preferred("en", chosen="zh").code == "zh"
    assert preferred("zh", chosen="xx").code == "zh"
