"""Which cgroup hierarchies are mounted, and where in each of them we are."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

_ESCAPED = re.compile(r"\\([0-7]{3})")


class Hierarchy(NamedTuple):
    """One mounted tree."""

    #: 1 or 2.
    version: int
    #: Of version 1: those mounted here. Of version 2: those that our own cgroup could hand on.
    controllers: frozenset[str]
    #: Directory of the mount, the highest cgroup that can be seen.
    top: str
    #: Directory of our own cgroup.
    own: str

    @property
    def name(self) -> str:
        return f"cgroup v{self.version}"


def find_hierarchies(mountinfo: str, own_cgroups: str) -> list[Hierarchy]:
    """From the texts of ``/proc/self/mountinfo`` and ``/proc/self/cgroup``.

    A mount of which only a part is visible (a container's) counts from what is visible.
    """
    paths: dict[str, str] = {}
    for line in own_cgroups.splitlines():
        number, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if colon and number.isdigit():
            # Version 2's line names no controller.
            paths.update(dict.fromkeys(controllers.split(","), path))
    found: list[Hierarchy] = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        root, top = _plain(fields[3]), _plain(fields[4])
        if kind[0] == "cgroup":
            mounted = frozenset(kind[2].split(",")) & paths.keys()
            if mounted:
                found.append(Hierarchy(1, mounted, top, _below(top, root, paths[min(mounted)])))
        elif kind[0] == "cgroup2" and "" in paths:
            own = _below(top, root, paths[""])
            found.append(Hierarchy(2, _available(own), top, own))
    return found


def here() -> list[Hierarchy]:
    """Those of this process. Raises OSError where there is no ``/proc``."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        mountinfo = file.read()
    with open("/proc/self/cgroup", encoding="utf-8", errors="replace") as file:
        return find_hierarchies(mountinfo, file.read())


def _plain(text: str) -> str:
    """A blank in a path is written ``\\040``."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), text)


def _below(top: str, root: str, path: str) -> str:
    """Directory of the cgroup ``path`` where ``root`` of its hierarchy is mounted on ``top``."""
    if path == root or path.startswith(root.rstrip("/") + "/"):
        own = os.path.normpath(f"{top}/{path[len(root.rstrip('/')) :]}")
        if os.path.isdir(own):
            return own
    return top


def _available(own: str) -> frozenset[str]:
    try:
        with open(f"{own}/cgroup.controllers", encoding="ascii") as file:
            return frozenset(file.read().split())
    except OSError:
        return frozenset()
