"""Attributes of nodes, and expressions that say which nodes will do.

An attribute is a name with a value: ``os=debian12``; a feature of Slurm's is one whose value is empty. An expression
is of tests joined by ``&``, ``|``, ``!`` and brackets: ``os=debian12 & (ssd | !hdd) & gpu_model!=*T4``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache

from hrm.model.errors import InvalidInput

#: As Kubernetes and YARN have them: a domain may stand before the name, with a slash between.
_NAME = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_VALUE = re.compile(r"[A-Za-z0-9._+:@/,-]{0,255}")
_PATTERN = re.compile(r"[A-Za-z0-9._+:@/,*?-]{0,255}")
_OTHER = re.compile(r"[^A-Za-z0-9._+:@/,]+")
_TOKEN = re.compile(r"\s*(?:(&&?|\|\|?|!=|==?|[!()])|([^\s&|!=()]+))")
#: Tests of one expression, and how deep brackets may lie in each other.
MAX_TESTS = 64
MAX_DEPTH = 8
MAX_CHARS = 4096
#: Attributes that one node may have of each source.
MAX_ATTRIBUTES = 256


def check_name(name: str) -> str:
    """The name of an attribute. Raises InvalidInput."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"not the name of an attribute: {name!r:.80}",
            field="attributes",
            next_step="at most 63 letters, digits and -_., after a domain and / if you like: os, example.org/disk",
        )
    return name


def check_value(value: str, name: str) -> str:
    """The value of the attribute ``name``. Raises InvalidInput."""
    if not _VALUE.fullmatch(value):
        raise InvalidInput(
            f"not a value for {name}: {value!r:.80}",
            field="attributes",
            next_step="at most 255 letters, digits and ._+:@/,- without spaces",
        )
    return value


def as_value(words: str) -> str:
    """Words that a machine says of itself, as a value: ``NVIDIA GeForce RTX 2080 Ti`` with ``-`` for each gap."""
    return _OTHER.sub("-", words).strip("-")[:255]


@dataclass(frozen=True, slots=True)
class AttributeTest:
    """A node has the attribute, with that value where one is named (``*`` and ``?`` match); ``negated``: it has not.

    A node without the attribute passes ``name!=value``, as in YARN and Kubernetes.
    """

    name: str
    #: None iff any.
    value: str | None = None
    negated: bool = False

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.value is not None and not _PATTERN.fullmatch(self.value):
            raise InvalidInput(
                f"not a value for {self.name}: {self.value!r:.80}",
                field="constraint",
                next_step="at most 255 letters, digits and ._+:@/,- with * and ? for anything",
            )

    def meets(self, attributes: Mapping[str, str]) -> bool:
        """True iff a node with these attributes passes."""
        there = attributes.get(self.name)
        has = there is not None and (self.value is None or fnmatchcase(there, self.value))
        return has is not self.negated

    def __str__(self) -> str:
        if self.value is None:
            return f"!{self.name}" if self.negated else self.name
        return f"{self.name}{'!=' if self.negated else '='}{self.value}"


@dataclass(frozen=True, slots=True)
class AllTests:
    """Each of these passes."""

    parts: tuple[AttributeExpression, ...]

    def meets(self, attributes: Mapping[str, str]) -> bool:
        return all(part.meets(attributes) for part in self.parts)

    def __str__(self) -> str:
        return " & ".join(f"({part})" if isinstance(part, AnyTest) else str(part) for part in self.parts)


@dataclass(frozen=True, slots=True)
class AnyTest:
    """One of these passes."""

    parts: tuple[AttributeExpression, ...]

    def meets(self, attributes: Mapping[str, str]) -> bool:
        return any(part.meets(attributes) for part in self.parts)

    def __str__(self) -> str:
        return " | ".join(str(part) for part in self.parts)


AttributeExpression = AttributeTest | AllTests | AnyTest


def conditions_of(expression: AttributeExpression) -> tuple[AttributeExpression, ...]:
    """What a node must meet one by one: for whoever says which of it is missing."""
    return expression.parts if isinstance(expression, AllTests) else (expression,)


@lru_cache(maxsize=1024)
def parse_expression(text: str) -> AttributeExpression:
    """An expression as users write it; ``str`` of it is its one canonical form. Raises InvalidInput."""
    return _Parser(text).parse()


def tests_in(expression: AttributeExpression) -> tuple[AttributeTest, ...]:
    """All tests of it, from the left."""
    if isinstance(expression, AttributeTest):
        return (expression,)
    return tuple(test for part in expression.parts for test in tests_in(part))


@dataclass(slots=True)
class _Parser:
    """By recursive descent. ``!`` before brackets goes into them, so that only tests are negated."""

    text: str
    _words: list[tuple[str, bool]] = field(default_factory=list)
    _at: int = 0
    _tests: int = 0

    def parse(self) -> AttributeExpression:
        if len(self.text) > MAX_CHARS:
            raise self._error(f"longer than {MAX_CHARS} characters")
        end = len(self.text.rstrip())
        at = 0
        while at < end:
            found = _TOKEN.match(self.text, at)
            assert found is not None, "each character is a sign or part of a word"
            sign, word = found.groups()
            self._words.append(
                (word, True) if sign is None else (sign[0] if sign in ("&&", "||", "==") else sign, False)
            )
            at = found.end()
        if not self._words:
            raise self._error("is empty")
        expression = self._any(negated=False, depth=0)
        if self._at < len(self._words):
            raise self._error(f"{self._words[self._at][0]!r:.80} is too much")
        return expression

    def _any(self, *, negated: bool, depth: int) -> AttributeExpression:
        if depth > MAX_DEPTH:
            raise self._error(f"brackets lie deeper than {MAX_DEPTH} in each other")
        parts = [self._all(negated=negated, depth=depth)]
        while self._take("|"):
            parts.append(self._all(negated=negated, depth=depth))
        return _joined(parts, every=negated)

    def _all(self, *, negated: bool, depth: int) -> AttributeExpression:
        parts = [self._one(negated=negated, depth=depth)]
        while self._take("&"):
            parts.append(self._one(negated=negated, depth=depth))
        return _joined(parts, every=not negated)

    def _one(self, *, negated: bool, depth: int) -> AttributeExpression:
        while self._take("!"):
            negated = not negated
        if self._take("("):
            inner = self._any(negated=negated, depth=depth + 1)
            if not self._take(")"):
                raise self._error("a ')' is missing")
            return inner
        name = self._word("the name of an attribute")
        self._tests += 1
        if self._tests > MAX_TESTS:
            raise self._error(f"more than {MAX_TESTS} tests")
        value = None
        if self._take("!="):
            negated, value = not negated, self._word(f"a value for {name!r:.80}")
        elif self._take("="):
            value = self._word(f"a value for {name!r:.80}")
        try:
            return AttributeTest(name, value, negated)
        except InvalidInput as error:
            raise self._error(error.problem, error.next_step) from None

    def _take(self, sign: str) -> bool:
        if self._at < len(self._words) and self._words[self._at] == (sign, False):
            self._at += 1
            return True
        return False

    def _word(self, wanted: str) -> str:
        if self._at == len(self._words):
            raise self._error(f"ends where {wanted} should stand")
        word, is_word = self._words[self._at]
        if not is_word:
            raise self._error(f"{word!r} stands where {wanted} should")
        self._at += 1
        return word

    def _error(self, problem: str, next_step: str = "") -> InvalidInput:
        return InvalidInput(
            f"{problem}: {self.text!r:.120}" if self.text.strip() else "is empty",
            field="constraint",
            next_step=next_step or "write for example 'os=debian12 & !(gpu_model=*T4 | hdd)'",
        )


def _joined(parts: list[AttributeExpression], *, every: bool) -> AttributeExpression:
    """Those of one kind in each other become one."""
    if len(parts) == 1:
        return parts[0]
    kind = AllTests if every else AnyTest
    flat: list[AttributeExpression] = []
    for part in parts:
        flat += part.parts if isinstance(part, kind) else [part]
    return kind(tuple(flat))
