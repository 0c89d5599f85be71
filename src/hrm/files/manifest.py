"""What an upload holds: a list of directories, files by their hash, and links, which together have one name.

The name (`upload id`) is the SHA-256 of the list in its one canonical form, so that the same content has the same name
wherever it was made. A list that could write outside of the directory that it is unpacked into is no manifest.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hrm.model.errors import InvalidInput

#: Of entries; the list goes over the wire in one piece.
MAX_ENTRIES = 50_000
MAX_PATH_BYTES = 2048
_MAX_NAME_BYTES = 255
#: At the top of a container's own directory HRM has files whose names begin so.
RESERVED_PREFIX = ".hrm-"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAX_SIZE_BYTES = 1 << 50


class Kind(StrEnum):
    """What stands at a path."""

    DIRECTORY = "d"
    FILE = "f"
    LINK = "l"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One path of an upload, relative to its directory, with ``/`` between names."""

    path: str
    kind: Kind
    #: Of a file: SHA-256 of its content in hex, its size, and whether it may be executed.
    digest: str = ""
    size_bytes: int = 0
    executable: bool = False
    #: Of a link: where it points to, within the upload.
    target: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """Entries in order, each below directories that stand before it. Raises InvalidInput for what is no manifest."""

    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        if len(self.entries) > MAX_ENTRIES:
            raise InvalidInput(
                f"has {len(self.entries)} files and directories, and {MAX_ENTRIES} may be uploaded",
                field="manifest",
                next_step="leave some out by a .hrmignore, or pack them into one file",
            )
        directories = {""}
        last: tuple[str, ...] = ()
        for entry in self.entries:
            parts = _parts(entry.path)
            if parts <= last:
                raise InvalidInput(f"is not in order, or twice there: {entry.path!r:.200}", field="manifest")
            last = parts
            if "/".join(parts[:-1]) not in directories:
                raise InvalidInput(f"has no directory above {entry.path!r:.200}", field="manifest")
            match entry.kind:
                case Kind.DIRECTORY:
                    directories.add(entry.path)
                case Kind.FILE:
                    if not is_digest(entry.digest) or not 0 <= entry.size_bytes <= _MAX_SIZE_BYTES:
                        raise InvalidInput(f"says no hash or size of {entry.path!r:.200}", field="manifest")
                case Kind.LINK:
                    check_link(entry.path, entry.target)

    @property
    def size_bytes(self) -> int:
        """Of all files, as they are unpacked."""
        return sum(entry.size_bytes for entry in self.entries)

    @property
    def files(self) -> int:
        """How many."""
        return sum(entry.kind is Kind.FILE for entry in self.entries)

    @property
    def contents(self) -> dict[str, int]:
        """Size in bytes of each content, by its hash: the same one may stand at several paths."""
        return {entry.digest: entry.size_bytes for entry in self.entries if entry.kind is Kind.FILE}

    def encode(self) -> bytes:
        """The canonical form."""
        return json.dumps(self.as_plain(), separators=(",", ":"), ensure_ascii=False).encode()

    @property
    def upload_id(self) -> str:
        """Its name."""
        return hashlib.sha256(self.encode()).hexdigest()

    def as_plain(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"entries": [_plain(entry) for entry in self.entries]}

    @classmethod
    def of_plain(cls, data: object) -> Manifest:
        """Raises InvalidInput."""
        entries = data.get("entries") if isinstance(data, Mapping) and set(data) == {"entries"} else None
        if not isinstance(entries, list):
            raise InvalidInput("must be an object with a list of entries", field="manifest")
        return cls(tuple(_entry(one, number) for number, one in enumerate(entries)))

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        """Raises InvalidInput."""
        try:
            plain = json.loads(data)
        except (ValueError, RecursionError):
            raise InvalidInput("is not JSON", field="manifest") from None
        return cls.of_plain(plain)


def make(entries: Iterable[Entry]) -> Manifest:
    """Of entries in any order. Raises InvalidInput."""
    return Manifest(tuple(sorted(entries, key=lambda entry: tuple(entry.path.split("/")))))


def is_digest(text: object) -> bool:
    """True iff it is a SHA-256 in lower-case hex: safe as the name of a file."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def check_link(path: str, target: str) -> None:
    """Raises InvalidInput for a link that points out of the upload, where its target would not be."""
    depth = path.count("/")
    outside = not target or target.startswith("/") or "\0" in target or len(target.encode()) > MAX_PATH_BYTES
    for part in target.split("/"):
        depth += -1 if part == ".." else 0 if part in ("", ".") else 1
        outside = outside or depth < 0
    if outside:
        raise InvalidInput(
            f"{path!r:.200} is a link that points out of the directory: {target!r:.200}",
            next_step="upload the directory that holds its target, or leave it out by a .hrmignore",
        )


def _parts(path: str) -> tuple[str, ...]:
    parts = tuple(path.split("/"))
    for part in parts:
        if part in ("", ".", "..") or "\0" in part or len(part.encode()) > _MAX_NAME_BYTES:
            raise InvalidInput(f"has a path that leads elsewhere, or is none: {path!r:.200}", field="manifest")
    if len(path.encode()) > MAX_PATH_BYTES:
        raise InvalidInput(f"has a path longer than {MAX_PATH_BYTES} bytes: {path!r:.80}", field="manifest")
    if parts[0].startswith(RESERVED_PREFIX):
        raise InvalidInput(
            f"{path!r:.200}: names that begin with {RESERVED_PREFIX} are HRM's own there",
            field="manifest",
            next_step="rename it, or leave it out by a .hrmignore",
        )
    return parts


def _plain(entry: Entry) -> list[Any]:
    match entry.kind:
        case Kind.FILE:
            return [str(entry.kind), entry.path, entry.size_bytes, entry.digest, entry.executable]
        case Kind.LINK:
            return [str(entry.kind), entry.path, entry.target]
        case Kind.DIRECTORY:
            return [str(entry.kind), entry.path]


def _entry(data: object, number: int) -> Entry:
    match data:
        case ["f", str(path), int(size_bytes), str(digest), bool(executable)] if not isinstance(size_bytes, bool):
            entry = Entry(path=path, kind=Kind.FILE, size_bytes=size_bytes, digest=digest, executable=executable)
        case ["l", str(path), str(target)]:
            entry = Entry(path=path, kind=Kind.LINK, target=target)
        case ["d", str(path)]:
            entry = Entry(path=path, kind=Kind.DIRECTORY)
        case _:
            raise InvalidInput(
                "must be [d, path], [f, path, size, sha256, executable] or [l, path, target]",
                field=f"manifest.entries[{number}]",
            )
    try:
        f"{entry.path}{entry.target}".encode()
    except UnicodeEncodeError:
        raise InvalidInput("is not valid Unicode", field=f"manifest.entries[{number}]") from None
    return entry
