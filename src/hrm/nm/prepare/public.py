"""``python -I …/hrm/nm/prepare/public.py``: make one copy that all users of the node may read.

Run by root, once for a copy. What is PUBLIC is what anybody may read: so it is fetched by a child without any rights
(the user nobody), which also keeps a user from having root ask for something in their place. What the child brought
is copied and unpacked by root, so that no other user can change it afterwards.
"""

from __future__ import annotations

import os
import sys

# What runs as a file finds nothing of ours by itself. Last in the path: the standard library comes first.
sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))))

import json
import resource as limits
import shutil
import stat
from pathlib import Path
from typing import Any

from hrm.model.launch_contexts import LocalResource, ResourceKind, Visibility
from hrm.nm.prepare import archives, sources
from hrm.nm.prepare.cache import MAX_BYTES
from hrm.nm.prepare.errors import PrepareError

_FETCHED = "fetched"
#: Of memory, for an archive may say that a name of its has gigabytes; and of time for what it makes the program do.
_MAX_MEMORY_BYTES = 4 << 30
_MAX_CPU_S = 1800


def main() -> int:
    """What is to be done comes as one JSON object on stdin; what went wrong goes to stderr."""
    order = json.load(sys.stdin)
    os.umask(0o022)
    try:
        make(resource_of(order["resource"]), Path(order["entry"]), Path(order["incoming"]), order["uid"], order["gid"])
    except (PrepareError, OSError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


def order_of(resource: LocalResource) -> dict[str, Any]:
    """As JSON holds it."""
    return {
        "url": resource.url,
        "timestamp_ms": resource.timestamp_ms,
        "kind": resource.kind.value,
        "pattern": resource.pattern,
    }


def resource_of(order: dict[str, Any]) -> LocalResource:
    return LocalResource(
        url=order["url"],
        timestamp_ms=order["timestamp_ms"],
        kind=ResourceKind(order["kind"]),
        pattern=order["pattern"],
        visibility=Visibility.PUBLIC,
    )


def make(resource: LocalResource, entry: Path, incoming: Path, uid: int, gid: int) -> None:
    """The copy's folder is ``entry`` once this returns. It is the last that this process does.

    Raises PrepareError, OSError.
    """
    for folder in (incoming, new := entry.with_name(f".{entry.name}")):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
    try:
        os.chown(incoming, uid, gid)
        _fetch(resource, incoming, uid, gid)
        name = sources.file_name(resource)
        packed = new / f".{name}"
        _take(incoming / _FETCHED, packed)
        limits.setrlimit(limits.RLIMIT_AS, (_MAX_MEMORY_BYTES, _MAX_MEMORY_BYTES))
        limits.setrlimit(limits.RLIMIT_CPU, (_MAX_CPU_S, _MAX_CPU_S))
        if resource.kind is ResourceKind.FILE:
            packed.rename(new / name)
        elif resource.kind is ResourceKind.ARCHIVE:
            archives.unpack(packed, new / name, name)
            packed.unlink()
        else:
            archives.unpack(packed, new / name, name, pattern=resource.pattern or ".*")
            packed.rename(new / name / name)
        _open_to_all(new)
        new.rename(entry)
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
        shutil.rmtree(new, ignore_errors=True)


def _fetch(resource: LocalResource, incoming: Path, uid: int, gid: int) -> None:
    """In a child that has no rights. Raises PrepareError with its words."""
    words_fd, their_fd = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(words_fd)
        code = 1
        try:
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            os.chdir(incoming)
            sources.fetch(resource, Path(_FETCHED), max_bytes=MAX_BYTES, folders=False)
            code = 0
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            os.write(their_fd, str(error).encode(errors="replace")[:4096])
        finally:
            os._exit(code)
    os.close(their_fd)
    with open(words_fd, "rb") as words:
        said = words.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    if status:
        raise PrepareError(said or f"resource {resource.url} cannot be had")


def _take(fetched: Path, target: Path) -> None:
    """It was in another user's hands: no link is followed, and only a file that has no other name is read."""
    fd = os.open(fetched, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as source:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise PrepareError("a folder is no copy for all")
        with target.open("xb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
    target.chmod(0o755 if found.st_mode & 0o111 else 0o644)


def _open_to_all(folder: Path) -> None:
    folder.chmod(0o755)
    for above, folders, files in os.walk(folder):
        for name in folders:
            if not os.path.islink(path := os.path.join(above, name)):
                os.chmod(path, 0o755)
        for name in files:
            if not os.path.islink(path := os.path.join(above, name)):
                os.chmod(path, 0o755 if os.lstat(path).st_mode & 0o111 else 0o644)


if __name__ == "__main__":
    sys.exit(main())
