"""The freezer of version 1, joined by those containers alone that are frozen, and only when they are.

It is a hierarchy of its own, so that processes can be moved into it while they run; whoever enters a cgroup that is
frozen stops. https://docs.kernel.org/admin-guide/cgroup-v1/freezer-subsystem.html (version 2 has ``cgroup.freeze`` in
each cgroup: `hrm.nm.cgroups.v2`.)
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from hrm.nm.cgroups.files import Files
from hrm.nm.cgroups.hierarchies import Hierarchy


class Freezer:
    """One cgroup for each container that is, or was, frozen; named by its id. Methods raise OSError."""

    def __init__(self, base: str, files: Files | None = None) -> None:
        self._files = files or Files()
        self.base = base

    def _path(self, name: str) -> str:
        return f"{self.base}/{name}"

    def knows(self, name: str) -> bool:
        """True iff it was frozen once, and may be still."""
        return self._files.exists(self._path(name))

    def freeze(self, name: str) -> None:
        """Whoever is in it, or comes, stops."""
        self._files.make(self.base)
        self._files.make(self._path(name))
        self._files.write(f"{self._path(name)}/freezer.state", "FROZEN")

    def take_in(self, name: str, pids: Sequence[int]) -> int:
        """Move these in, with all their threads. How many were not there yet."""
        here = set(map(int, self._files.read(f"{self._path(name)}/cgroup.procs").split()))
        moved = 0
        for pid in pids:
            if pid not in here:
                # It may have ended meanwhile.
                with contextlib.suppress(ProcessLookupError):
                    self._files.write(f"{self._path(name)}/cgroup.procs", str(pid))
                    moved += 1
        return moved

    def thaw(self, name: str) -> None:
        """All of it goes on, and stays in it: the next time it stops at once."""
        self._files.write(f"{self._path(name)}/freezer.state", "THAWED")

    def remove(self, name: str) -> None:
        """Its container is over. No error if there is none."""
        self._files.remove(self._path(name))

    def names(self) -> list[str]:
        """Those that are there."""
        return self._files.children(self.base) if self._files.exists(self.base) else []

    def close(self) -> None:
        """Remove the base; no error if somebody is left below it, whom the next shepherd sees to."""
        with contextlib.suppress(OSError):
            self._files.remove(self.base)


def find(hierarchies: Sequence[Hierarchy], key: str, bases: Sequence[str] = ()) -> Freezer | None:
    """That of another shepherd of the same node, if one of ``bases`` is; None where there is no freezer."""
    for hierarchy in hierarchies:
        if hierarchy.version == 1 and "freezer" in hierarchy.controllers:
            earlier = (base for base in bases if base.startswith(f"{hierarchy.top.rstrip('/')}/"))
            return Freezer(next(earlier, f"{hierarchy.own}/hrm-{key}"))
    return None
