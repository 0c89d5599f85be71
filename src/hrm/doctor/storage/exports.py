"""``/etc/exports`` as exportfs reads it (exports(5)), and what is mistyped in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from hrm.doctor.evidence import line_of
from hrm.doctor.system import System
from hrm.model.findings import Evidence

EXPORTS = "/etc/exports"
_MORE = "/etc/exports.d"
#: What the server has applied.
ETAB = "/var/lib/nfs/etab"
#: Clients that are everybody.
_WORLD = ("*", "", "0.0.0.0/0", "::/0", "*.*.*.*")
_OPTIONS = frozenset(
    [
        "rw",
        "ro",
        "sync",
        "async",
        "secure",
        "insecure",
        "wdelay",
        "no_wdelay",
        "hide",
        "nohide",
        "crossmnt",
        "nocrossmnt",
        "subtree_check",
        "no_subtree_check",
        "auth_nlm",
        "no_auth_nlm",
        "secure_locks",
        "insecure_locks",
        "mp",
        "mountpoint",
        "acl",
        "no_acl",
        "noacl",
        "pnfs",
        "no_pnfs",
        "root_squash",
        "no_root_squash",
        "all_squash",
        "no_all_squash",
        "rdirplus",
        "nordirplus",
        "security_label",
        "replicas",
    ]
)
_WITH_VALUE = frozenset(["mp", "mountpoint", "fsid", "refer", "replicas", "sec", "xprtsec", "anonuid", "anongid"])
#: What a Chinese keyboard types instead, and braces, which nothing there has.
_ASCII = {
    **dict(zip(map(ord, "\uff08\uff09\uff0c\u3002\u3000\uff1d\uff0a"), "(),. =*", strict=True)),
    **dict.fromkeys(map(ord, "{}"), ""),
}


@dataclass(frozen=True, slots=True)
class Client:
    """Whom a directory is exported to."""

    #: A host, a network, ``@netgroup`` or ``*``; "" where only options stand there, which means everybody.
    name: str
    options: tuple[str, ...]

    @property
    def is_world(self) -> bool:
        """Whether everybody is meant."""
        return self.name in _WORLD


@dataclass(frozen=True, slots=True)
class Export:
    """One line: a directory and its clients, as they are meant."""

    path: str
    clients: tuple[Client, ...]
    evidence: Evidence
    #: The line, and as it is probably meant; the same where nothing is mistyped.
    written: str
    meant: str
    #: Words in it that exportfs does not know.
    unknown: tuple[str, ...] = field(default=())


def exports(system: System) -> list[Export]:
    """All lines of all files. Raises CannotSee."""
    files = [EXPORTS, *(f"{_MORE}/{name}" for name in system.list(_MORE) if name.endswith(".exports"))]
    return [one for path in files for one in parse_exports(path, system.read(path) or "")]


def parse_exports(path: str, content: str) -> Iterator[Export]:
    """From the text of a file. What is mistyped is read as it is meant, as far as that is plain."""
    number = 0
    lines = iter(content.splitlines())
    for line in lines:
        number += 1
        first = number
        while line.endswith("\\"):
            number += 1
            line = line[:-1] + next(lines, "")
        written = line.partition("#")[0].strip()
        if written:
            yield _export(written, line_of(path, first, written))


def applied(system: System) -> frozenset[str] | None:
    """Directories that the kernel's server exports now; None where it says nothing. Raises CannotSee."""
    content = system.read(ETAB)
    return None if content is None else frozenset(_split_path(line)[0] for line in content.splitlines() if line.strip())


def corrected(content: str, wrong: Sequence[Export]) -> str:
    """The text of a file with the lines of ``wrong`` as they are meant."""
    for one in wrong:
        content = content.replace(one.written, one.meant, 1)
    return content


def _export(written: str, evidence: Evidence) -> Export:
    plain = written.translate(_ASCII)
    path, rest = _split_path(plain)
    rest = re.sub(r"(?<=[^\s()])\s+\(", "(", rest)
    meant = plain[: len(plain) - len(_split_path(plain)[1])] + rest
    clients, defaults = [], ("",)
    for word in re.findall(r"[^\s(]+\([^)]*\)?|\([^)]*\)?|\S+", rest):
        if word.startswith("-"):
            defaults = tuple(word[1:].split(","))
            continue
        name, _, options = word.partition("(")
        given = tuple(option.strip() for option in options.rstrip(")").split(",") if option.strip())
        clients.append(Client(name, (*(option for option in defaults if option), *given)))
    # As exportfs sees them: what was not mended.
    as_written = [option.strip() for inside in re.findall(r"\(([^)]*)\)?", written) for option in inside.split(",")]
    unknown = tuple(option for option in as_written if option and not _is_known(option))
    if written.count("(") != written.count(")"):
        unknown = (*unknown, written[written.rfind("(") :] if "(" in written else ")")
    if any(ord(char) > 127 for char in written.translate({ord(char): None for char in path})):
        unknown = (*unknown, *(word for word in written.split()[1:] if not word.isascii()))
    return Export(path, tuple(clients), evidence, written, meant, tuple(dict.fromkeys(unknown)))


def _is_known(option: str) -> bool:
    name, equals, _ = option.partition("=")
    return name in (_WITH_VALUE if equals else _OPTIONS)


def _split_path(line: str) -> tuple[str, str]:
    """The directory, which may be in quotes and have blanks as ``\\040``, and the rest."""
    quoted = re.match(r'"([^"]*)"\s*', line)
    path, rest = (quoted[1], line[quoted.end() :]) if quoted else [*line.split(None, 1), ""][:2]
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path).rstrip("/") or "/", rest
