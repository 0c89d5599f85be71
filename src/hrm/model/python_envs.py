"""The Python environment that a job wants: what is to be in it, and how that is told to the program that builds it."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

from hrm.model.errors import InvalidInput, TooLarge

REQUIREMENTS, PROJECT, LOCK = "requirements.txt", "pyproject.toml", "uv.lock"
MAX_BYTES = 2 << 20
_VARIABLE = "HRM_PYTHON_ENV_"
#: Linux takes no variable longer than 128 KiB.
_PIECE_CHARS = 96 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonEnv:
    """By the text of ``requirements.txt``, or of ``pyproject.toml`` (its dependencies), with ``uv.lock`` or without.

    Raises InvalidInput for other files, TooLarge beyond `MAX_BYTES`.
    """

    files: Mapping[str, str]

    def __post_init__(self) -> None:
        if set(self.files) not in ({REQUIREMENTS}, {PROJECT}, {PROJECT, LOCK}):
            raise InvalidInput(
                f"must be {REQUIREMENTS}, or {PROJECT} with or without {LOCK}: {sorted(self.files)!r:.80}",
                field="python_env",
            )
        try:
            size_bytes = sum(len(text.encode()) for text in self.files.values())
        except UnicodeEncodeError:
            raise InvalidInput("is not valid Unicode", field="python_env") from None
        if size_bytes > MAX_BYTES:
            raise TooLarge(f"python_env: larger than {MAX_BYTES} bytes", next_step="name fewer packages")

    @property
    def is_locked(self) -> bool:
        """True iff it says each package's version and hash."""
        return LOCK in self.files


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonSources:
    """Where packages come from, as the operator says; what is None is as pip and uv are set up for the user."""

    index_url: str | None = None
    extra_index_url: str | None = None
    #: A directory or page of packages besides.
    find_links: str | None = None
    #: True iff no index is asked: only ``find_links`` counts.
    no_index: bool = False

    @property
    def arguments(self) -> list[str]:
        """As pip and uv take them."""
        named = {
            "--index-url": self.index_url,
            "--extra-index-url": self.extra_index_url,
            "--find-links": self.find_links,
        }
        words = [word for option, value in named.items() if value is not None for word in (option, value)]
        return words + (["--no-index"] if self.no_index else [])


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the building program is told."""

    env: PythonEnv
    sources: PythonSources
    #: Of all that the user's environments hold on the node.
    cache_bytes: int


def put_into(environ: MutableMapping[str, str], order: Order) -> None:
    """Into variables of its program, in pieces."""
    plain = {
        "files": dict(order.env.files),
        "sources": [
            order.sources.index_url,
            order.sources.extra_index_url,
            order.sources.find_links,
            order.sources.no_index,
        ],
        "cache_bytes": order.cache_bytes,
    }
    text = base64.b64encode(zlib.compress(json.dumps(plain).encode())).decode()
    for number, at in enumerate(range(0, len(text), _PIECE_CHARS)):
        environ[f"{_VARIABLE}{number}"] = text[at : at + _PIECE_CHARS]


def taken_from(environ: MutableMapping[str, str]) -> Order:
    """What `put_into` put there, which is gone then."""
    pieces: list[str] = []
    while (piece := environ.pop(f"{_VARIABLE}{len(pieces)}", None)) is not None:
        pieces.append(piece)
    plain = json.loads(zlib.decompress(base64.b64decode("".join(pieces))))
    index_url, extra_index_url, find_links, no_index = plain["sources"]
    return Order(
        env=PythonEnv(files=plain["files"]),
        sources=PythonSources(
            index_url=index_url, extra_index_url=extra_index_url, find_links=find_links, no_index=no_index
        ),
        cache_bytes=plain["cache_bytes"],
    )
