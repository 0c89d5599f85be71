"""Users of this machine: what a process needs to become one, looked up without holding the loop."""

from __future__ import annotations

import asyncio
import os
import pwd
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

#: A directory service may change its mind; a container a moment later need not ask it again.
_REMEMBERED_S = 60.0
ROOT = "root"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user, or why containers cannot run as it."""

    name: str
    uid: int = -1
    gid: int = -1
    #: The supplementary ones, ``gid`` among them.
    groups: tuple[int, ...] = ()
    home: str = ""
    shell: str = ""
    #: "" iff containers may run as it.
    refused: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """Who and where one is."""
        return {"HOME": self.home, "USER": self.name, "LOGNAME": self.name, "SHELL": self.shell or "/bin/sh"}

    def as_fields(self) -> dict[str, Any]:
        """For the shepherd."""
        if self.refused:
            return {"refused": self.refused}
        return {"name": self.name, "uid": self.uid, "gid": self.gid, "groups": list(self.groups)}


def look_up(name: str) -> Account:
    """Ask the machine, and its directory service if it has one: may take long."""
    try:
        entry = pwd.getpwnam(name)
        groups = os.getgrouplist(name, entry.pw_gid)
    except (KeyError, ValueError, OSError):
        return Account(name=name, refused=f"this machine has no user {name!r:.80}")
    if entry.pw_uid == 0:
        return Account(name=name, refused=f"user {name!r:.80} has root's rights; only root itself runs as root")
    return Account(
        name=name,
        uid=entry.pw_uid,
        gid=entry.pw_gid,
        groups=tuple(groups),
        home=entry.pw_dir,
        shell=entry.pw_shell,
    )


class Accounts:
    """Remembers for a while who was looked up."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, Account]] = {}

    def unknown(self, names: Collection[str]) -> set[str]:
        """Those to be learnt before `get` can be asked."""
        now = time.monotonic()
        return {name for name in names if name not in self._known or now - self._known[name][0] > _REMEMBERED_S}

    async def learn(self, names: Collection[str]) -> None:
        for name in names:
            self._known[name] = time.monotonic(), await asyncio.to_thread(look_up, name)

    def get(self, name: str) -> Account:
        """One that was learnt."""
        return self._known[name][1]
