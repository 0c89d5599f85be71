"""Server-sent events as they arrive, and going on where a connection broke off."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

from hrm.model.errors import NoServer
from hrm.sdk.transport import CONNECTION_ERRORS

#: How often a broken stream is taken up again without anything having come in between.
_TRIES = 3


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event: its kind, its id ("" if it has none) and its data."""

    kind: str
    event_id: str
    data: bytes


def parse_events(pieces: Iterator[bytes]) -> Iterator[ServerEvent]:
    """Events of a stream in the form the server writes: one ``data`` line each; comments are heartbeats."""
    rest = b""
    for piece in pieces:
        *blocks, rest = (rest + piece).split(b"\n\n")
        for block in blocks:
            fields = dict(line.partition(b": ")[::2] for line in block.split(b"\n") if not line.startswith(b":"))
            if b"data" in fields:
                yield ServerEvent(
                    fields.get(b"event", b"message").decode(), fields.get(b"id", b"").decode(), fields[b"data"]
                )


def resumed(
    first: Generator[bytes, None, None], again: Callable[[str], Generator[bytes, None, None]]
) -> Generator[ServerEvent, None, None]:
    """Events of ``first`` and, each time the stream ends before its last event, of ``again(id of the last one)``.

    The caller closes it at the last event, and the connection with it. Raises NoServer when the server is gone.
    """
    pieces, last_id, tries = first, "", _TRIES
    while True:
        try:
            with closing(pieces):
                for event in parse_events(pieces):
                    tries = _TRIES
                    last_id = event.event_id or last_id
                    yield event
            problem = "ended early"
        except CONNECTION_ERRORS as error:
            problem = f"broke off: {error}"
        tries -= 1
        if tries < 0:
            raise NoServer(f"the stream {problem}, again and again", next_step="`hrm status` shows if the server is up")
        pieces = again(last_id)
