"""Phrases are said in each language by its catalogue: the same codes, and values that there are."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

import hrm
from hrm.model.phrases import CHINESE, ENGLISH, LANGUAGES, Phrase, names_in, parts, phrase, say, say_as_told, sentences

SOURCES = Path(hrm.__file__).parent
USED = re.compile(r"""(?:phrase|Phrase|words)\(\s*(f?)"([a-z_.{}/0-9]+)\"""")


@pytest.mark.parametrize("code", [code for code in LANGUAGES if code != ENGLISH])
def test_each_catalogue_has_the_codes_of_the_english_one_in_its_order(code: str) -> None:
    assert list(sentences(code)) == list(sentences(ENGLISH))


@pytest.mark.parametrize("code", [code for code in LANGUAGES if code != ENGLISH])
def test_each_catalogue_fills_in_only_what_the_english_one_does(code: str) -> None:
    english = sentences(ENGLISH)

    assert {one: names_in(text) - names_in(english[one]) for one, text in sentences(code).items()} == {
        one: set() for one in english
    }


def test_every_phrase_that_is_made_has_a_sentence() -> None:
    made = [found for path in SOURCES.rglob("*.py") for found in USED.findall(path.read_text(encoding="utf-8"))]

    assert len(made) > 100
    for formatted, code in made:
        pattern = re.sub(r"\\\{[^}]*\\\}", "[a-z_]+", re.escape(code)) if formatted else re.escape(code)
        assert any(re.fullmatch(pattern, one) for one in sentences(ENGLISH)), code


def test_amounts_counts_and_lists_are_written_as_the_sentence_says() -> None:
    one, two = phrase("amount.gpus_milli", amount=1000), phrase("amount.gpus_milli", amount=1500)

    assert (say(one), say(two)) == ("1 GPU", "1.5 GPUs")
    assert say(two, CHINESE) == "1.5 块 GPU"
    assert say(phrase("names.more", names=["n1", "n2"], more=3)) == "n1, n2 and 3 more"
    assert say(parts([one, phrase("room.none_free")])) == "1 GPU; none is free"
    assert say(phrase("end.after", seconds=65.0)) == " after 1m05s"


def test_a_phrase_is_read_back_from_json_as_it_was() -> None:
    said = parts([phrase("forecast.room", node="n1"), phrase("names", names=["a", "b"]), phrase("queue", queue="a")])

    assert msgspec.json.decode(msgspec.json.encode(said), type=Phrase) == said
    assert Phrase.from_dict(said.as_dict()) == said


def test_what_another_program_says_and_nobody_knows_here_stays_english() -> None:
    newer = phrase("of.next_year", amount=1)

    assert say_as_told(newer, "something new", CHINESE) == "something new"
    assert say_as_told(None, "something old", CHINESE) == "something old"
    assert say_as_told(phrase("room.none_free"), "none is free", CHINESE) == "没有空闲"
