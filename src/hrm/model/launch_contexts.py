"""What a container finds when its program begins (YARN's ContainerLaunchContext): files, variables, tokens, commands.

Most containers need none of it: they run a program that is there. Where a launch has a context, the node runs `PROGRAM`
in its place, which prepares the container from within, as the container's user, and then becomes what it is to run.
The context travels in the environment, because nobody but the user can read that of a process: it holds tokens.
"""

from __future__ import annotations

import base64
import json
import urllib.parse
import zlib
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hrm.model.errors import InvalidInput
from hrm.model.retrying import RetryPolicy

#: The node knows this name: it is no program of the machine's.
PROGRAM = "hrm-container"
#: Variables ``HRM_LAUNCH_0``, ``HRM_LAUNCH_1`` …: the kernel takes no more than 128 KiB in one.
_VARIABLE = "HRM_LAUNCH_"
_PIECE_CHARS = 96 * 1024
#: In base64: tokens in Hadoop's form that the server adds to those of the context.
TOKENS_VARIABLE = "HRM_TOKENS"
#: By name, as JSON: texts of the files that Hadoop's programs read to find the server.
HADOOP_CONF_VARIABLE = "HRM_HADOOP_CONF"
MAX_LOCAL_RESOURCES = 10_000


class ResourceKind(StrEnum):
    """What becomes of a file that a container needs (YARN's LocalResourceType)."""

    FILE = "FILE"  #: it is there as it is
    ARCHIVE = "ARCHIVE"  #: it is unpacked, and the folder is there
    PATTERN = "PATTERN"  #: an archive of which only what fits a pattern is unpacked; the archive is there as well


class Visibility(StrEnum):
    """Who may share the node's copy (YARN's LocalResourceVisibility)."""

    PUBLIC = "PUBLIC"
    PRIVATE = "PRIVATE"
    APPLICATION = "APPLICATION"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalResource:
    """A file that a container needs in its directory."""

    url: str
    #: As its file system had it when it was submitted, epoch milliseconds: another version is refused.
    timestamp_ms: int
    size_bytes: int = 0
    kind: ResourceKind = ResourceKind.FILE
    visibility: Visibility = Visibility.APPLICATION
    #: A regular expression; for PATTERN only.
    pattern: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchContext:
    """See the module. Values of variables and commands may say ``{{NAME}}``, ``<LOG_DIR>`` and ``<CPS>`` as in YARN."""

    #: Pieces of a shell's line, to be joined by blanks.
    commands: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    #: By the name under which each is found in the container's directory; it may have slashes.
    local_resources: Mapping[str, LocalResource] = field(default_factory=dict)
    #: In Hadoop's form for files (``HDTS``); b"" iff there are none.
    tokens: bytes = b""
    #: When the container is started again in place; None iff never.
    retry: RetryPolicy | None = None

    def __post_init__(self) -> None:
        if not any(part.strip() for part in self.commands):
            raise InvalidInput("is empty", field="command", next_step="say what the container is to run")
        for name in self.environment:
            if not name or any(char in name for char in "=\0"):
                raise InvalidInput(f"not a variable: {name!r:.80}", field="environment")
        if any("\0" in text for text in (*self.commands, *self.environment.values())):
            raise InvalidInput("has a NUL byte", field="command")
        if len(self.local_resources) > MAX_LOCAL_RESOURCES:
            raise InvalidInput(f"more than {MAX_LOCAL_RESOURCES} files", field="local_resources")
        for link, resource in self.local_resources.items():
            if not link or link.startswith("/") or "\0" in link or {"", ".", ".."} & set(link.split("/")):
                raise InvalidInput(
                    f"not a name inside the container's directory: {link!r:.80}", field="local_resources"
                )
            try:
                urllib.parse.urlsplit(resource.url)
            except ValueError as error:
                raise InvalidInput(
                    f"{link!r:.80} is at {resource.url!r:.120}, which is no address: {error}", field="local_resources"
                ) from None

    @property
    def command(self) -> tuple[str, ...]:
        """What the node is told to run."""
        return (PROGRAM,)

    def variables(self) -> dict[str, str]:
        """The context as variables for `taken_from`."""
        text = json.dumps(
            {
                "commands": self.commands,
                "environment": dict(self.environment),
                "local_resources": {
                    link: [one.url, one.timestamp_ms, one.size_bytes, one.kind, one.visibility, one.pattern]
                    for link, one in self.local_resources.items()
                },
                "tokens": base64.b64encode(self.tokens).decode(),
                **({"retry": _retry_fields(self.retry)} if self.retry else {}),
            },
            separators=(",", ":"),
        )
        packed = base64.b64encode(zlib.compress(text.encode())).decode()
        return {
            f"{_VARIABLE}{number}": packed[begin : begin + _PIECE_CHARS]
            for number, begin in enumerate(range(0, len(packed), _PIECE_CHARS))
        }


def taken_from(environ: MutableMapping[str, str]) -> LaunchContext:
    """The context that these variables hold; they are taken away. Raises InvalidInput if there is none."""
    pieces: list[str] = []
    while (piece := environ.pop(f"{_VARIABLE}{len(pieces)}", None)) is not None:
        pieces.append(piece)
    if not pieces:
        raise InvalidInput(f"no context for a launch in {_VARIABLE}0", next_step=f"{PROGRAM} is run by HRM alone")
    fields = json.loads(zlib.decompress(base64.b64decode("".join(pieces))))
    return LaunchContext(
        commands=tuple(fields["commands"]),
        environment=fields["environment"],
        local_resources={
            link: LocalResource(
                url=url,
                timestamp_ms=timestamp_ms,
                size_bytes=size_bytes,
                kind=ResourceKind(kind),
                visibility=Visibility(visibility),
                pattern=pattern,
            )
            for link, (url, timestamp_ms, size_bytes, kind, visibility, pattern) in fields["local_resources"].items()
        },
        tokens=base64.b64decode(fields["tokens"]),
        retry=_retry_of(fields["retry"]) if "retry" in fields else None,
    )


def _retry_fields(retry: RetryPolicy) -> list[Any]:
    codes = None if retry.exit_codes is None else sorted(retry.exit_codes)
    return [codes, retry.max_retries, retry.interval_s, retry.validity_s]


def _retry_of(fields: list[Any]) -> RetryPolicy:
    codes, max_retries, interval_s, validity_s = fields
    return RetryPolicy(
        exit_codes=None if codes is None else frozenset(codes),
        max_retries=max_retries,
        interval_s=interval_s,
        validity_s=validity_s,
    )
