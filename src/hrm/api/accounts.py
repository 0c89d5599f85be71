"""The machine's accounts: who a user id is, whose token a process may bear, and as whom jobs may run.

What the system says is kept for some seconds, and asked for in a thread: where accounts come over the network, one
question may take a while.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import time
from collections.abc import Callable
from typing import TypeVar

from hrm.api.tokens import Identity
from hrm.model.errors import Forbidden

ROOT_UID = 0
_KEPT_S = 10.0
_MAX_KEPT = 10_000
Key = TypeVar("Key", str, int)
Value = TypeVar("Value")


def name_in_system(uid: int) -> str:
    """The user's name; ``uid:N``, which no account can be called, for an id without one."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return f"uid:{uid}"


def uid_in_system(name: str) -> int | None:
    """None iff the machine has no such user. A name that is only similar to an account's (in case) is none."""
    try:
        account = pwd.getpwnam(name)
    except (KeyError, ValueError):
        return None
    return account.pw_uid if account.pw_name == name else None


class Accounts:
    """Those of the system, as a server of ``own_uid`` (None: this process's) sees them."""

    def __init__(
        self,
        *,
        own_uid: int | None = None,
        name_of: Callable[[int], str] = name_in_system,
        uid_of: Callable[[str], int | None] = uid_in_system,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.own_uid = os.geteuid() if own_uid is None else own_uid
        #: The user whose server this is.
        self.own_name = name_of(self.own_uid)
        self._name_of = name_of
        self._uid_of = uid_of
        self._clock = clock
        #: What was asked for, and until when it counts.
        self._names: dict[int, tuple[str, float]] = {}
        self._uids: dict[str, tuple[int | None, float]] = {}

    async def identity(self, uid: int) -> Identity:
        """Who a process of ``uid`` is. Root's and the server's own are admins: they could do it all without asking."""
        if uid == self.own_uid:
            return Identity(user=self.own_name, admin=True)
        return Identity(user=await self._kept(self._names, uid, self._name_of), admin=uid == ROOT_UID)

    async def may_bear_token_of(self, user: str, uid: int) -> bool:
        """Whether a process of ``uid`` may use a token of ``user``: the user's own, root's and the server's may."""
        return uid in (ROOT_UID, self.own_uid) or uid == await self._uid(user)

    async def check_submitter(self, user: str) -> None:
        """Whether jobs of ``user`` may run here: a job runs as whoever submits it. Raises Forbidden."""
        if user == self.own_name:
            return
        if self.own_uid != ROOT_UID:
            raise Forbidden(
                f"only {self.own_name} may submit here: this server is not root's, so every job would run as "
                f"{self.own_name}",
                next_step="use a server of your own (`hrm up`), or one that root runs for all",
            )
        uid = await self._uid(user)
        if uid is None:
            raise Forbidden(
                f"this machine has no user {user!r}, and a job runs as the user who submits it",
                next_step="submit as a user of this machine, or ask its operator for an account",
            )
        if uid == ROOT_UID:
            raise Forbidden(
                f"{user} is another name of root, and only {self.own_name}'s own jobs run as root",
                next_step=f"submit as {self.own_name}, or as an ordinary user",
            )

    async def _uid(self, user: str) -> int | None:
        return await self._kept(self._uids, user, self._uid_of)

    async def _kept(self, kept: dict[Key, tuple[Value, float]], key: Key, ask: Callable[[Key], Value]) -> Value:
        found = kept.get(key)
        if found is not None and self._clock() < found[1]:
            return found[0]
        value = await asyncio.to_thread(ask, key)
        if len(kept) >= _MAX_KEPT:
            kept.clear()
        kept[key] = (value, self._clock() + _KEPT_S)
        return value
