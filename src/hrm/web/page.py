"""What a page is: where it stands, what it shows, how often it looks again."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.routing import compile_path

from hrm.api.tokens import Identity
from hrm.web.desk import Desk
from hrm.web.language import Language

#: Below it all pages stand; the cookie of a session goes nowhere else.
ROOT = "/ui"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One look at one page: who looks, in which language, at what."""

    identity: Identity
    language: Language
    path: str
    #: The variable parts of the path.
    params: Mapping[str, str]
    query: Mapping[str, str]
    #: What a form has to send back with it.
    form_word: str = ""


#: What a template needs to know, besides what every template is given (see `hrm.web.rendering`).
Gather = Callable[[Desk, Visit], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of the site."""

    #: As a route names it: ``/ui/queues/{name}``.
    path: str
    template: str
    gather: Gather
    #: The entry of the menu that is current here.
    section: str
    #: How often an open page is drawn anew; 0 for one that does not change by itself.
    period_s: float = 2.0
    #: Names that the query may have. Any other is an error: a misspelt filter must not list everything.
    query: tuple[str, ...] = ()


class Site:
    """All pages, found by the path of a URL."""

    def __init__(self, pages: Sequence[Page]) -> None:
        self.pages = tuple(pages)
        self._patterns: list[tuple[re.Pattern[str], Page]] = [(compile_path(page.path)[0], page) for page in pages]

    def find(self, path: str) -> tuple[Page, dict[str, str]] | None:
        """The page that stands there, and the variable parts of the path."""
        for pattern, page in self._patterns:
            if match := pattern.match(path):
                return page, match.groupdict()
        return None
