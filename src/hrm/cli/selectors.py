"""Which applications an argument means: a full id, its last number, ranges and lists of those, ``last``, ``all``."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from hrm.model.errors import InvalidInput, NotFound
from hrm.model.ids import ApplicationId
from hrm.model.states import ApplicationState

if TYPE_CHECKING:
    from hrm.sdk.client import Client

ACTIVE = tuple(state for state in ApplicationState if not state.final)
MAX_SELECTED = 10_000
_RANGE = re.compile(r"([0-9]{1,10})-([0-9]{1,10})")

APP_HELP = "An id, its last number (17), a list or range of those (3,5-8), `last` (my newest) or `all` (mine not over)."
AppArgument = Annotated[str, typer.Argument(metavar="APP", help="An id, its last number (17), or `last` (my newest).")]
AppsArgument = Annotated[list[str], typer.Argument(metavar="APP", help=APP_HELP)]


def me() -> str:
    """The user who calls, as the system knows them: LOGNAME and USER could say anything."""
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def select(client: Client, arguments: Sequence[str]) -> list[str]:
    """Full ids, each once, in the order given. Raises InvalidInput for what is no selector, NotFound for no match."""
    selected: dict[str, None] = {}
    timestamp: int | None = None
    for word in (part.strip() for argument in arguments for part in argument.split(",")):
        if word == "all":
            selected.update((app.application_id, None) for app in client.applications(states=ACTIVE, user=me()))
        elif word == "last":
            selected[_last(client)] = None
        elif word.startswith("application_"):
            selected[str(ApplicationId.parse(word))] = None
        else:
            if timestamp is None:
                timestamp = _cluster_timestamp(client, word)
            selected.update((str(ApplicationId(timestamp, seq)), None) for seq in _numbers(word))
        if len(selected) > MAX_SELECTED:
            raise InvalidInput(f"more than {MAX_SELECTED} applications: {word!r}", next_step="ask for fewer at once")
    return list(selected)


def select_one(client: Client, argument: str) -> str:
    """Raises InvalidInput unless exactly one is meant."""
    found = select(client, [argument])
    if len(found) != 1:
        raise InvalidInput(f"{argument!r} means {len(found)} applications", next_step="name one")
    return found[0]


def _last(client: Client) -> str:
    newest = client.applications(user=me(), limit=1)
    if not newest:
        raise NotFound(f"{me()} has submitted nothing yet", next_step="`hrm ps --all` lists all applications")
    return newest[0].application_id


def _cluster_timestamp(client: Client, word: str) -> int:
    newest = client.applications(limit=1)
    if not newest:
        raise NotFound(f"no application {word!r}: nothing was submitted yet", next_step="`hrm submit -- COMMAND`")
    return ApplicationId.parse(newest[0].application_id).cluster_timestamp


def _numbers(word: str) -> range:
    if match := _RANGE.fullmatch(word):
        first, last = int(match.group(1)), int(match.group(2))
        if first > last or last - first >= MAX_SELECTED:
            raise InvalidInput(f"not a range of at most {MAX_SELECTED}: {word!r}", next_step="write for example 5-8")
        return range(first, last + 1)
    if word.isascii() and word.isdigit() and len(word) <= 10:
        return range(int(word), int(word) + 1)
    raise InvalidInput(
        f"not an application: {word!r}", next_step="write an id, its number (17), a range (5-8), `last` or `all`"
    )
