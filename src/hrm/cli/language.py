"""The language that a command speaks: English, or what the environment or `--lang` names."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from hrm.model.errors import InvalidInput
from hrm.model.phrases import ENGLISH, LANGUAGES

LanguageOption = Annotated[
    str | None,
    typer.Option("--lang", metavar="LANGUAGE", help=f"{' or '.join(LANGUAGES)} instead of what $LANG says."),
]


def language(chosen: str | None) -> str:
    """The code of a language there is: ``chosen``, else the environment's (POSIX), else English.

    Raises InvalidInput for one that is chosen and not there.
    """
    if chosen is not None:
        if chosen not in LANGUAGES:
            raise InvalidInput(f"not one of {', '.join(LANGUAGES)}: {chosen!r}", field="--lang")
        return chosen
    named = next((value for name in ("LC_ALL", "LC_MESSAGES", "LANG") if (value := os.environ.get(name))), "")
    code = named.partition("_")[0].partition(".")[0].lower()
    return code if code in LANGUAGES else ENGLISH
