"""What is said to people, apart from the language it is said in: a stable code, and values by name.

A catalogue (`hrm.model.catalogues`) has the sentence of each code, in English and in Chinese, so a sentence stands in
one place for each language. As JSON a phrase is an object with its ``code`` and ``values``, in which phrases may lie
again. Codes and names of values are only ever added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from string import Formatter
from typing import Any, Union

from hrm.model.units import format_duration, format_memory, format_milli

ENGLISH, CHINESE = "en", "zh"
#: Codes of languages, and what each calls itself.
LANGUAGES = {ENGLISH: "English", CHINESE: "中文"}

Item = Union[str, int, float, "Phrase"]
Value = Item | list[Item] | None


@dataclass(frozen=True, slots=True)
class Phrase:
    """One thing said. Amounts are exact integers, as everywhere; the catalogue says how they are written."""

    code: str
    values: dict[str, Value] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"code": self.code, "values": {name: _plain(value) for name, value in self.values.items()}}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Phrase:
        """What `as_dict` gave. Raises KeyError, TypeError or AttributeError for something else."""
        return cls(told["code"], {name: _value(value) for name, value in told["values"].items()})


def phrase(code: str, /, **values: Value) -> Phrase:
    """``phrase("room.free", amount=2000)``."""
    return Phrase(code, values)


def parts(said: Iterable[Phrase]) -> Phrase:
    """Several sentences, one after the other."""
    return Phrase("parts", {"parts": list(said)})


def _plain(value: Value) -> Any:
    if isinstance(value, Phrase):
        return value.as_dict()
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _value(told: Any) -> Any:
    if isinstance(told, Mapping):
        return Phrase.from_dict(told)
    return [_value(one) for one in told] if isinstance(told, list) else told


# ---- saying it


def say(said: Phrase, code: str = ENGLISH, *, moment: Callable[[float], str] = str) -> str:
    """In the language of ``code``; ``moment`` writes epoch seconds. Raises KeyError for what the catalogue lacks."""
    return _phrase(said, sentences(code), moment)


def say_as_told(said: Phrase | None, text: str, code: str = ENGLISH, *, moment: Callable[[float], str] = str) -> str:
    """What another program said, with its English ``text``: that, where this catalogue does not know the phrase."""
    if said is None or code == ENGLISH:
        return text
    try:
        return say(said, code, moment=moment)
    except (KeyError, ValueError, TypeError):
        return text


@cache
def sentences(code: str) -> Mapping[str, str]:
    """A catalogue: a sentence for each code. Raises KeyError for a language that has none."""
    if code == ENGLISH:
        from hrm.model.catalogues.english import SENTENCES
    elif code == CHINESE:
        from hrm.model.catalogues.chinese import SENTENCES
    else:
        raise KeyError(code)
    return SENTENCES


@cache
def _pieces(sentence: str) -> Sequence[tuple[str, str | None, str]]:
    """Text, and the name and form of the value that follows it."""
    return [(text, name, form or "") for text, name, form, _ in Formatter().parse(sentence)]


def names_in(sentence: str) -> set[str]:
    """Names of the values that it wants."""
    return {name for _, name, _ in _pieces(sentence) if name is not None}


def _phrase(said: Phrase, texts: Mapping[str, str], moment: Callable[[float], str]) -> str:
    words: list[str] = []
    for text, name, form in _pieces(texts[said.code]):
        words.append(text)
        if name is not None:
            words.append(_written(said.values[name], form, texts, moment))
    return "".join(words)


def _written(value: Value, form: str, texts: Mapping[str, str], moment: Callable[[float], str]) -> str:
    """One value. Forms: ``memory``, ``milli``, ``duration``, ``moment``; ``one|many`` by a count (``milli one|many``
    by thousandths); ``and``, ``then``, ``also`` for what stands between the members of a list; else Python's own."""
    if isinstance(value, Phrase):
        return _phrase(value, texts, moment)
    if isinstance(value, list):
        return texts[f"between.{form or 'list'}"].join(_written(one, "", texts, moment) for one in value)
    if value is None:
        return ""
    if "|" in form:
        one, _, many = form.removeprefix("milli ").partition("|")
        return one if value == (1000 if form.startswith("milli ") else 1) else many
    if form in _FORMS:
        return _FORMS[form](value)
    return moment(float(value)) if form == "moment" else format(value, form)


_FORMS: Mapping[str, Callable[[Any], str]] = {
    "memory": format_memory,
    "milli": format_milli,
    "duration": format_duration,
}
