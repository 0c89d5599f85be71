"""The words of the page, in English and Chinese: one catalogue of each, by key.

What the ResourceManager says (`hrm.model.phrases`) has its own catalogues, which are used here and by commands.

Catalogues are TOML files of the same keys in tables; a key is ``table.name``. A text may have ``{names}`` that are
filled in. A test holds the catalogues, and the keys that templates use, together.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from hrm.model.explanations import Explanation
from hrm.model.phrases import ENGLISH, LANGUAGES, Phrase, say, say_as_told, sentences
from hrm.model.reports import ApplicationReport
from hrm.web.moments import moment


@dataclass(frozen=True, slots=True)
class Language:
    """One catalogue."""

    code: str
    texts: Mapping[str, str]

    def __call__(self, key: str, **values: object) -> str:
        """The text under ``key`` with ``values`` filled in. Raises KeyError for a key that no catalogue has."""
        return self.texts[key].format(**values)

    def told(self, said: Phrase | None, text: str) -> str:
        """What the ResourceManager says, with its English ``text``."""
        return say_as_told(said, text, self.code, moment=moment)

    def say(self, said: Phrase) -> str:
        """What is said here by a sentence of `hrm.model.catalogues`."""
        return say(said, self.code, moment=moment)

    def why(self, one: ApplicationReport | Explanation) -> str:
        """Why it waits or how it ended; of others' applications the reason alone, without its message."""
        if one.message:
            return self.told(one.said, one.message)
        return self.reason(one.reason, "")

    def reason(self, reason: str, text: str) -> str:
        """A reason's code in words; ``text`` where this program does not know it."""
        code = f"reason.{reason}"
        return self.say(Phrase(code)) if code in sentences(self.code) else text

    def has(self, key: str) -> bool:
        return key in self.texts

    def __hash__(self) -> int:
        return hash(self.code)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Language) and other.code == self.code


@cache
def language(code: str) -> Language:
    """The catalogue of ``code``, one of `LANGUAGES`."""
    text = (files("hrm.web") / "catalogues" / f"{code}.toml").read_text(encoding="utf-8")
    tables: dict[str, dict[str, str]] = tomllib.loads(text)
    texts = {f"{table}.{name}": words for table, entries in tables.items() for name, words in entries.items()}
    return Language(code, texts)


def preferred(accept_language: str, chosen: str | None = None) -> Language:
    """The language somebody ``chosen`` here, else the best of an Accept-Language header (RFC 9110, 12.5.4)."""
    if chosen in LANGUAGES:
        return language(chosen)
    ranked: list[tuple[float, str]] = []
    for part in accept_language[:1000].split(","):
        tag, _, parameter = part.strip().partition(";")
        weight = 1.0
        if parameter.strip().startswith("q="):
            try:
                weight = float(parameter.strip()[2:])
            except ValueError:
                continue
        ranked.append((weight, tag.split("-")[0].lower()))
    for weight, code in sorted(ranked, key=lambda each: -each[0]):
        if weight > 0 and code in LANGUAGES:
            return language(code)
    return language(ENGLISH)
